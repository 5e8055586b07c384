"""A client that repeats itself is read by a shortcut: nobody can tell, and nobody gets past anything by it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tundish.core.errors import TundishError
from tundish.http.limits import Limits
from tundish.http.message import HttpRequest
from tundish.http.reader import BodyMemory, RequestReader

LIMITS = Limits(target_bytes=100, head_bytes=1000, headers=10, body_bytes=500, all_bodies_bytes=2000)
HEADS = (
    b"POST /v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: %b\r\nX-A: b\r\n",
    b"POST /v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: %b\r\nX-A: c\r\n",
    b"POST /v1/a HTTP/1.1\r\nHost: h\r\ncontent-length:%b\r\n",
    b"POST /v1/a HTTP/1.1\r\nHost: h\r\ncontent-length: %b\r\nConnection: close\r\n",
    b"POST /v1/a HTTP/1.1\r\nHost: h\r\ncontent-length: %b\r\nExpect: 100-continue\r\n",
    b"POST /v1/a HTTP/1.1\r\nHost: h\r\ncontent-length: %b\r\nTransfer-Encoding: chunked\r\n",
    b"POST /v1/a HTTP/1.1\r\nHost: h\r\ncontent-length: %b\r\ncontent-length: 3\r\n",
    b"POST /v1/a HTTP/1.1\r\nHost: h\r\nX-Content-Length: %b\r\nContent-Length: 3\r\n",
)
LENGTHS = st.sampled_from(
    [b"0", b"1", b"3", b"4", b"03", b"600", b"-3", b"+3", b"3 ", b" 3", b"3,3", b"0x3", b"\xb2", b""]
)
BODIES = st.sampled_from([b"", b"x", b"abc", b"\r\n\r", b"abcd", b"abcGET / HTTP/1.1\r\nHost: h\r\n\r\n", b"a" * 600])


def reader(admit: object = None) -> RequestReader:
    return RequestReader(LIMITS, BodyMemory(LIMITS.all_bodies_bytes), "10.0.0.1", admit)  # type: ignore[arg-type]


def shown(found: HttpRequest | TundishError) -> HttpRequest | str:
    return found if isinstance(found, HttpRequest) else str(found)


def by_llhttp_alone(pieces: list[bytes]) -> list[HttpRequest | str]:
    """What a reader says that never sees a whole request at once."""
    parser = reader()
    for piece in pieces:
        for at in range(len(piece)):
            parser.feed(piece[at : at + 1])
    return [shown(found) for found in parser.ready]


@given(st.sampled_from(HEADS), st.lists(BODIES, max_size=3), st.sampled_from(HEADS), st.none() | LENGTHS, BODIES)
def test_nobody_can_tell(known: bytes, before: list[bytes], head: bytes, length: bytes | None, body: bytes) -> None:
    sent = [(known, str(len(first)).encode(), first) for first in before]
    sent.append((head, str(len(body)).encode() if length is None else length, body))
    pieces = [head % length + b"\r\n" + body for head, length, body in sent]
    parser = reader()
    for piece in pieces:
        parser.feed(piece)
    # Of an error only that there is one: what llhttp calls it depends on where the network has cut.
    found, expected = [shown(one) for one in parser.ready], by_llhttp_alone(pieces)
    assert [one for one in found if isinstance(one, HttpRequest)] == [
        one for one in expected if isinstance(one, HttpRequest)
    ]
    assert [isinstance(one, str) for one in found] == [isinstance(one, str) for one in expected]


def request(length: int, head: bytes = HEADS[0]) -> bytes:
    return head % str(length).encode() + b"\r\n" + b"x" * length


def test_a_head_is_admitted_once_and_its_admission_goes_with_those_that_are_the_same() -> None:
    asked: list[HttpRequest] = []

    def admit(head: HttpRequest) -> object:
        asked.append(head)
        return f"admitted {len(asked)}"

    parser = reader(admit)
    for piece in (request(3), request(3), request(40), request(3, HEADS[1]), request(3)):
        parser.feed(piece)
    requests = [one for one in parser.ready if isinstance(one, HttpRequest)]
    assert [one.admission for one in requests] == [f"admitted {number}" for number in (1, 1, 1, 2, 3)]
    assert [one.headers["content-length"] for one in requests] == ["3", "3", "40", "3", "3"]
    assert [len(one.body) for one in requests] == [3, 3, 40, 3, 3]
    assert parser.messages == 5


def test_what_is_admitted_for_once_is_asked_about_again() -> None:
    asked: list[HttpRequest] = []
    parser = reader(asked.append)
    for _ in range(3):
        parser.feed(request(3))
    assert len(asked) == 3


def test_the_memory_for_bodies_is_as_bounded() -> None:
    memory = BodyMemory(LIMITS.all_bodies_bytes)
    parser = RequestReader(LIMITS, memory, "10.0.0.1")
    for _ in range(4):
        parser.feed(request(500))
    assert memory.held == 2000
    parser.feed(request(500))
    assert isinstance(parser.ready[-1], TundishError)
    while isinstance(first := parser.ready.popleft(), HttpRequest):
        parser.release(first)
    assert memory.held == 0


@pytest.mark.parametrize("body", [501, 600])
def test_too_long_a_body_is_refused_behind_a_known_head(body: int) -> None:
    parser = reader()
    parser.feed(request(500))
    parser.feed(request(body))
    assert isinstance(parser.ready[-1], TundishError)
