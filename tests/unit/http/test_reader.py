"""Bytes in, requests out: the same ones however the network cuts them, and no others."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tundish.core.errors import RequestTooLarge, TundishError, Unavailable
from tundish.http.errors import RequestRefused
from tundish.http.limits import Limits
from tundish.http.message import HttpRequest
from tundish.http.reader import BodyMemory, Phase, RequestReader

LIMITS = Limits(target_bytes=100, head_bytes=1000, headers=10, body_bytes=500, all_bodies_bytes=2000)


def reader(limits: Limits = LIMITS, memory: BodyMemory | None = None) -> RequestReader:
    return RequestReader(limits, memory or BodyMemory(limits.all_bodies_bytes), "10.0.0.1")


def read(*pieces: bytes, limits: Limits = LIMITS) -> list[HttpRequest | TundishError]:
    parser = reader(limits)
    for piece in pieces:
        parser.feed(piece)
    return list(parser.ready)


def refusal(*pieces: bytes, limits: Limits = LIMITS) -> TundishError:
    (error,) = read(*pieces, limits=limits)
    assert isinstance(error, TundishError)
    return error


def test_a_request_is_read_whole() -> None:
    (request,) = read(
        b"POST /v1/a%20b/%C3%A4?x=%20&y HTTP/1.1\r\nHost: h:1\r\nAccept: a\r\nACCEPT: b\t \r\n"
        b"X-Latin: \xe4\r\nContent-Length: 2\r\n\r\n{}"
    )
    assert request == HttpRequest(
        method="POST",
        target="/v1/a%20b/%C3%A4?x=%20&y",
        path="/v1/a b/ä",
        query="x=%20&y",
        headers={"host": "h:1", "accept": "a, b", "x-latin": "ä", "content-length": "2"},
        body=b"{}",
        peer="10.0.0.1",
        version="1.1",
        keep_alive=True,
    )


# --- however it is cut ---

_TOKEN = st.text("abcdefghijklmnopqrstuvwxyzABC-_", min_size=1, max_size=12)
_VALUE = st.text([chr(c) for c in [*range(0x21, 0x7F), 0x20, 0xE4]], max_size=30).map(str.strip)


@dataclasses.dataclass(frozen=True)
class Sent:
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    chunks: tuple[int, ...] | None

    def encode(self) -> bytes:
        lines = [f"{self.method} {self.target} HTTP/1.1", "Host: h"]
        lines += [f"X-{index}{name}: {value}" for index, (name, value) in enumerate(self.headers)]
        if self.chunks is None:
            lines.append(f"Content-Length: {len(self.body)}")
            body = self.body
        else:
            lines.append("Transfer-Encoding: chunked")
            cuts = sorted({min(cut, len(self.body)) for cut in self.chunks} | {0, len(self.body)})
            pieces = [self.body[a:b] for a, b in itertools.pairwise(cuts)]
            body = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
            body += b"0\r\nTrailer-One: x\r\n\r\n"
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


sent = st.builds(
    Sent,
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "OPTIONS"]),
    st.text("abc/%?=&.~", max_size=30).map(lambda text: f"/{text}"),
    st.lists(st.tuples(_TOKEN, _VALUE), max_size=4).map(tuple),
    st.binary(max_size=60),
    st.none() | st.lists(st.integers(1, 60), max_size=5).map(tuple),
)


@given(st.lists(sent, min_size=1, max_size=4), st.data())
def test_any_cut_of_pipelined_requests_gives_the_same_requests(requests: list[Sent], data: st.DataObject) -> None:
    stream = b"".join(request.encode() for request in requests)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=30))
    edges = [0, *sorted(cuts), len(stream)]
    got = read(*(stream[a:b] for a, b in itertools.pairwise(edges)))
    assert got == read(stream)
    assert [(r.method, r.target, r.body) for r in got if isinstance(r, HttpRequest)] == [
        (r.method, r.target, r.body) for r in requests
    ]
    for request, ours in zip(requests, got, strict=True):
        assert isinstance(ours, HttpRequest)
        for index, (name, value) in enumerate(request.headers):
            assert ours.headers[f"x-{index}{name}".lower()] == value


_BROKEN = st.one_of(
    st.binary(max_size=80),
    st.lists(sent, min_size=1, max_size=2).map(lambda rs: b"".join(r.encode() for r in rs)),
)


@given(st.lists(_BROKEN, min_size=1, max_size=6), st.data())
def test_no_bytes_make_it_raise_or_keep_memory(parts: list[bytes], data: st.DataObject) -> None:
    memory = BodyMemory(LIMITS.all_bodies_bytes)
    parser = reader(memory=memory)
    stream = b"".join(parts)
    edges = [0, *sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8))), len(stream)]
    for a, b in itertools.pairwise(edges):
        parser.feed(stream[a:b])
    errors = [item for item in parser.ready if isinstance(item, TundishError)]
    assert len(errors) <= 1
    assert not errors or parser.ready[-1] is errors[0]
    parser.close()
    assert memory.held == 0


# --- what two servers in a row could understand differently ---

_HEAD = b"POST /a HTTP/1.1\r\nHost: h\r\n"
_CHUNKED = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("stream", "status"),
    [
        (_HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (_HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n", 400),
        (_HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na", 400),
        (_HEAD + b"Content-Length: 1, 1\r\n\r\na", 400),
        (_HEAD + b"Content-Length: +1\r\n\r\na", 400),
        (_HEAD + b"Content-Length: -1\r\n\r\na", 400),
        (_HEAD + b"Content-Length: 0x1\r\n\r\na", 400),
        (_HEAD + b"Content-Length: \r\n\r\na", 400),
        (_HEAD + b"Content-Length: 99999999999999999999999\r\n\r\na", 400),
        (_HEAD + b"Content-Length : 1\r\n\r\na", 400),
        (_HEAD + b"Transfer-Encoding: gzip\r\n\r\n", 501),
        (_HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
        (_HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
        (_HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (_HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (_HEAD + b"Host: other\r\n\r\n", 400),
        (_HEAD + b"Authorization: a\r\nAuthorization: b\r\n\r\n", 400),
        (_HEAD + b"X: a\r\n folded\r\n\r\n", 400),
        (_HEAD + b"X: a\r\n\tfolded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n Host: h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: h\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHo st: h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n: h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost\r\n\r\n", 400),
        (_CHUNKED + b"xyz\r\n", 400),
        (_CHUNKED + b"0x1\r\na\r\n0\r\n\r\n", 400),
        (_CHUNKED + b"-1\r\na\r\n0\r\n\r\n", 400),
        (_CHUNKED + b"fffffffffffffffff\r\na", 400),
        (_CHUNKED + b"1 \r\na\r\n0\r\n\r\n", 400),
        (_CHUNKED + b"1\na\r\n0\r\n\r\n", 400),
        (_CHUNKED + b"1\r\naX0\r\n\r\n", 400),
        (_CHUNKED + b"1;a\na\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 505),
        (b"GET / HTTP/0.9\r\n\r\n", 505),
        (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
        (b"GET / HTTP/1.2\r\nHost: h\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"get / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"BREW / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: h\r\n\r\n", 501),
        (b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET /\xc3\xa4 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET a HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET http://user@h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET http:/// HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (_HEAD + b"Expect: a-cake\r\nContent-Length: 1\r\n\r\na", 417),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ],
)
def test_it_is_refused(stream: bytes, status: int) -> None:
    error = refusal(stream)
    assert isinstance(error, RequestRefused)
    assert error.status == status
    assert len(error.message) > 20
    byte_by_byte = refusal(*(stream[at : at + 1] for at in range(len(stream))))
    assert isinstance(byte_by_byte, RequestRefused)
    assert byte_by_byte.status == status


def test_requests_before_the_broken_one_count_and_those_behind_it_do_not() -> None:
    good = b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\n"
    first, error = read(good + b"broken\r\n\r\n" + good, good)
    assert isinstance(first, HttpRequest)
    assert isinstance(error, RequestRefused)


def test_nothing_is_read_behind_the_last_request() -> None:
    last = b"GET /1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    parser = reader()
    parser.feed(last + b"GET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
    parser.feed(b"nonsense")
    (request,) = parser.ready
    assert isinstance(request, HttpRequest)
    assert not request.keep_alive
    assert parser.ended


@pytest.mark.parametrize(
    ("version", "connection", "keep_alive"),
    [
        ("1.1", None, True),
        ("1.1", "close", False),
        ("1.1", "keep-alive, Close", False),
        ("1.0", None, False),
        ("1.0", "keep-alive", True),
    ],
)
def test_whether_the_client_stays(version: str, connection: str | None, keep_alive: bool) -> None:
    header = "" if connection is None else f"Connection: {connection}\r\n"
    (request,) = read(f"GET / HTTP/{version}\r\nHost: h\r\n{header}\r\n".encode())
    assert isinstance(request, HttpRequest)
    assert request.keep_alive is keep_alive
    assert request.version == version


def test_the_host_of_a_whole_url_is_the_one_that_counts() -> None:
    (request,) = read(b"GET http://evil.example:8/v1/models?x HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert isinstance(request, HttpRequest)
    assert (request.headers["host"], request.path, request.query) == ("evil.example:8", "/v1/models", "x")


# --- an Upgrade that is ignored ---

_UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
_NEXT = b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.mark.parametrize(
    ("rest", "body"),
    [
        (b"Content-Length: 5\r\n\r\nhello", b"hello"),
        (b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", b"hello"),
        (b"\r\n", b""),
    ],
)
def test_a_body_behind_an_offered_upgrade_is_not_lost(rest: bytes, body: bytes) -> None:
    stream = b"PUT /a HTTP/1.1\r\nHost: h\r\n" + _UPGRADE + rest + _NEXT
    for pieces in ([stream], [stream[at : at + 1] for at in range(len(stream))]):
        first, following = read(*pieces)
        assert isinstance(first, HttpRequest)
        assert (first.method, first.path, first.body) == ("PUT", "/a", body)
        assert first.headers["upgrade"] == "h2c"
        assert isinstance(following, HttpRequest)
        assert following.path == "/next"


# --- bounds ---


def test_a_long_url_is_refused() -> None:
    error = refusal(b"GET /" + b"a" * 100 + b" HTTP/1.1\r\nHost: h\r\n\r\n")
    assert isinstance(error, RequestRefused)
    assert error.status == 414


def test_many_headers_are_refused_even_when_they_are_the_same() -> None:
    head = b"GET / HTTP/1.1\r\nHost: h\r\n"
    assert isinstance(read(head + b"A: b\r\n" * 9 + b"\r\n")[0], HttpRequest)
    error = refusal(head + b"A: b\r\n" * 10 + b"\r\n")
    assert isinstance(error, RequestRefused)
    assert error.status == 431


@pytest.mark.parametrize(
    "header", [b"A: " + b"b" * 1000 + b"\r\n", b"a" * 1000 + b": b\r\n", b"A: " + b"b" * 600 + b"\r\nB: " + b"b" * 600]
)
def test_large_headers_are_refused(header: bytes) -> None:
    error = refusal(b"GET / HTTP/1.1\r\nHost: h\r\n" + header + b"\r\n\r\n")
    assert isinstance(error, RequestRefused)
    assert error.status == 431


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nHost: h\r\nA: ", b"GET / HTTP/1.1\r\nA", b"GET /"])
def test_a_head_without_an_end_is_refused_soon(start: bytes) -> None:
    parser = reader()
    parser.feed(start)
    fed = 0
    while not parser.ready:
        parser.feed(b"a" * 50)
        fed += 50
        assert fed <= LIMITS.head_bytes + 50
    assert parser.ended


@pytest.mark.parametrize("start", [b"0\r\nT: ", b"0\r\nT", b"1;", b"1;a=", b"000000"])
def test_chunk_framing_without_an_end_is_refused_soon(start: bytes) -> None:
    parser = reader()
    parser.feed(_CHUNKED)
    parser.feed(start)
    fed = 0
    while not parser.ready:
        parser.feed(b"0" * 50)
        fed += 50
        assert fed <= LIMITS.head_bytes + 100
    assert isinstance(parser.ready[0], RequestRefused)


def test_a_trailer_is_no_header() -> None:
    (request,) = read(_CHUNKED + b"1\r\na\r\n0\r\nAuthorization: x\r\nHost: y\r\n\r\n")
    assert isinstance(request, HttpRequest)
    assert request.headers == {"host": "h", "transfer-encoding": "chunked"}


def test_a_body_is_refused_by_its_announced_length() -> None:
    error = refusal(_HEAD + b"Content-Length: 501\r\n\r\n")
    assert isinstance(error, RequestTooLarge)
    assert error.limit_bytes == 500


def test_a_chunked_body_is_refused_when_it_has_become_too_large() -> None:
    assert isinstance(read(_CHUNKED + b"1f4\r\n" + b"a" * 500 + b"\r\n0\r\n\r\n")[0], HttpRequest)
    assert isinstance(refusal(_CHUNKED + b"fa\r\n" + b"a" * 250 + b"\r\nfb\r\n" + b"a" * 251), RequestTooLarge)


def test_all_bodies_together_are_bounded() -> None:
    memory = BodyMemory(800)
    request = _HEAD + b"Content-Length: 500\r\n\r\n" + b"a" * 500
    first, second = reader(memory=memory), reader(memory=memory)
    first.feed(request)
    second.feed(request)
    assert isinstance(second.ready[0], Unavailable)
    assert memory.held == 500
    done = first.ready.popleft()
    assert isinstance(done, HttpRequest)
    first.release(done)
    assert memory.held == 0
    third = reader(memory=memory)
    third.feed(request)
    assert isinstance(third.ready[0], HttpRequest)


def test_one_body_of_the_largest_size_always_fits() -> None:
    memory = BodyMemory(10)
    parser = reader(memory=memory)
    parser.feed(_HEAD + b"Content-Length: 500\r\n\r\n" + b"a" * 500)
    assert isinstance(parser.ready[0], HttpRequest)


def test_how_far_it_is() -> None:
    parser = reader()
    assert (parser.phase, parser.messages) == (Phase.IDLE, 0)
    parser.feed(b"\r\n\r\n")
    assert (parser.phase, parser.messages) == (Phase.IDLE, 0)
    parser.feed(b"P")
    assert (parser.phase, parser.messages) == (Phase.HEAD, 1)
    parser.feed(b"OST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n\r\n")
    assert parser.phase is Phase.BODY
    assert parser.expects_continue
    parser.feed(b"a")
    assert (parser.phase, parser.body_bytes, parser.expects_continue) == (Phase.BODY, 1, False)
    parser.feed(b"a")
    assert (parser.phase, parser.body_bytes, len(parser.ready)) == (Phase.IDLE, 0, 1)
