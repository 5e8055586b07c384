"""The client against peers that do what they like with their bytes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tundish.http.client import HttpClient, Origin, Timeouts
from tundish.http.errors import ConnectFailed, ConnectionLost, HttpError, ResponseInvalid, ResponseTimeout
from tundish.http.server import Exchange, HttpRequest

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Peer:
    """A server whose every byte is ours: each connection is talked to by `talk`."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests: list[bytes] = []
        self.open: set[asyncio.StreamWriter] = set()
        self.gone = asyncio.Event()
        """Set when a client has closed its connection."""
        self.talk: Talk = self.answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        self.port = 0

    def client(self, **timeouts: float) -> HttpClient:
        return HttpClient(Origin.of(f"http://127.0.0.1:{self.port}"), timeouts=Timeouts(**timeouts))

    async def request(self, reader: asyncio.StreamReader) -> bytes:
        """The next request, without a body."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head)
        return head

    def answering(self, *pieces: bytes, pause_s: float = 0.0, hang: bool = False) -> Talk:
        """Answer each request with `pieces`; keep the connection open, or say nothing more (`hang`)."""

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await self.request(reader)
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(pause_s)
                    if reader.at_eof() or writer.transport.is_closing():
                        return
                if hang:
                    await reader.read()
                    return

        return talk

    def once(self, answer: bytes, *, reset: bool = False) -> Talk:
        """Answer one request, then end the connection."""

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self.request(reader)
            writer.write(answer)
            await writer.drain()
            if reset:
                await asyncio.sleep(0.05)  # so that the client has read what came
                linger = b"\x01\0\0\0" if sys.platform == "win32" else b"\x01\0\0\0\0\0\0\0"
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()

        return talk

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.add(writer)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, OSError):
                await self.talk(reader, writer)
            if reader.at_eof() or reader.exception() is not None or writer.transport.is_closing():
                self.gone.set()
        finally:
            writer.close()
            self.open.discard(writer)


@pytest.fixture
async def peer(until) -> AsyncIterator[Peer]:
    peer = Peer()
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    peer.port = server.sockets[0].getsockname()[1]
    yield peer
    server.close()
    for writer in peer.open:
        writer.transport.abort()
    await until(lambda: not peer.open)
    await asyncio.sleep(0)


# --- what is understood ---


@pytest.mark.parametrize(
    ("pieces", "body"),
    [
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"], b"hello"),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", b"he", b"llo"], b"hello"),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"], b""),
        ([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"], b"hello"),
        ([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhe", b"llo\r", b"\n0\r\nT: x\r\n\r\n"], b"hello"),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], b""),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"], b"ok"),
        ([b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"], b"ok"),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx: " + b"a" * 60_000 + b"\r\n\r\nok"], b"ok"),
        ([b"H", b"TTP/1.1 200", b" OK\r\ncontent-le", b"ngth: 2\r", b"\n\r\n", b"ok"], b"ok"),
    ],
)
async def test_it_is_read_and_the_connection_used_again(peer: Peer, pieces: list[bytes], body: bytes) -> None:
    peer.talk = peer.answering(*pieces, pause_s=0.005 if len(pieces) > 1 else 0)
    client = peer.client()
    for _ in range(3):
        status, got = await client.request("GET", "/")
        assert (status // 100, got) == (2, body)
    assert peer.connections == 1
    client.close()


async def test_what_is_sent(peer: Peer) -> None:
    client = peer.client()
    await client.request("GET", "/a?b", headers={"x": "ä"})
    await client.request("DELETE", "/a")
    assert peer.requests == [
        f"GET /a?b HTTP/1.1\r\nhost: 127.0.0.1:{peer.port}\r\nx: ä\r\n\r\n".encode("latin-1"),
        f"DELETE /a HTTP/1.1\r\nhost: 127.0.0.1:{peer.port}\r\ncontent-length: 0\r\n\r\n".encode(),
    ]
    client.close()


@pytest.mark.parametrize(
    ("path", "headers"), [("/a b", {}), ("/\r\nx: y", {}), ("/", {"x": "a\nb"}), ("/", {"x": "日"})]
)
async def test_what_cannot_be_sent_is_refused_before_connecting(peer: Peer, path: str, headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"."):
        await peer.client().request("GET", path, headers=headers)
    assert peer.connections == 0


async def test_repeated_headers_are_joined_and_trailers_are_none(peer: Peer) -> None:
    peer.talk = peer.answering(
        b"HTTP/1.1 200 OK\r\nA: 1\r\na: 2 \r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nA: 3\r\n\r\n"
    )
    client = peer.client()
    async with client.stream("GET", "/") as response:
        await response.read()
        assert response.headers["a"] == "1, 2"
    client.close()


async def test_a_body_without_a_length_ends_with_the_connection(peer: Peer) -> None:
    peer.talk = peer.once(b"HTTP/1.1 200 OK\r\n\r\nall of it")
    client = peer.client()
    for _ in range(2):
        assert await client.request("GET", "/") == (200, b"all of it")
    assert peer.connections == 2


async def test_head_has_no_body_whatever_its_headers_say(peer: Peer) -> None:
    peer.talk = peer.answering(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    client = peer.client()
    for _ in range(2):
        assert await client.request("HEAD", "/") == (200, b"")
    assert peer.connections == 1
    client.close()


async def test_a_peer_that_says_close_is_not_asked_again(peer: Peer) -> None:
    peer.talk = peer.answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
    client = peer.client()
    for _ in range(2):
        assert await client.request("GET", "/") == (200, b"ok")
    assert peer.connections == 2


async def test_chunks_are_handed_on_as_they_come(peer: Peer) -> None:
    pieces = [b"5\r\ntok%02d\r\n" % number for number in range(5)]
    peer.talk = peer.answering(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", *pieces, b"0\r\n\r\n", pause_s=0.02
    )
    client = peer.client()
    async with client.stream("GET", "/") as response:
        assert [chunk async for chunk in response.body()] == [b"tok%02d" % number for number in range(5)]
    client.close()


# --- what is not ---


@pytest.mark.parametrize(
    "answer",
    [
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 two OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcdef\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 300_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000,
    ],
)
async def test_what_is_not_http_is_said_to_be_none(peer: Peer, answer: bytes) -> None:
    peer.talk = peer.answering(answer, hang=True)
    client = peer.client()
    with pytest.raises(ResponseInvalid):
        await client.request("GET", "/")
    await peer.gone.wait()
    assert not client._idle


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhe",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ],
)
@pytest.mark.parametrize("reset", [False, True])
async def test_an_answer_that_is_cut_is_not_taken_for_complete(peer: Peer, answer: bytes, reset: bool) -> None:
    peer.talk = peer.once(answer, reset=reset)
    with pytest.raises(ConnectionLost):
        await peer.client().request("GET", "/")
    assert peer.connections == 1


async def test_a_reset_is_no_end_of_a_body_without_a_length(peer: Peer) -> None:
    peer.talk = peer.once(b"HTTP/1.1 200 OK\r\n\r\nhalf of", reset=True)
    with pytest.raises(ConnectionLost):
        await peer.client().request("GET", "/")


async def test_what_came_before_the_cut_is_handed_on(peer: Peer) -> None:
    peer.talk = peer.once(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
    async with peer.client().stream("GET", "/") as response:
        body = response.body()
        assert await anext(body) == b"hello"
        with pytest.raises(ConnectionLost):
            await anext(body)


@pytest.mark.parametrize("extra", [b"HTTP/1.1 500 Injected\r\ncontent-length: 0\r\n\r\n", b"surplus"])
async def test_an_answer_that_nobody_asked_for_reaches_nobody(peer: Peer, extra: bytes) -> None:
    peer.talk = peer.answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok" + extra)
    client = peer.client()
    for _ in range(2):
        assert await client.request("GET", "/") == (200, b"ok")
    assert peer.connections == 2
    client.close()


async def test_an_answer_to_an_idle_connection_closes_it(peer: Peer, until) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await asyncio.sleep(0.02)
        writer.write(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
        await reader.read()

    peer.talk = talk
    client = peer.client()
    for number in range(2):
        assert await client.request("GET", "/") == (200, b"ok")
        await peer.gone.wait()
        peer.gone.clear()
        assert peer.connections == number + 1


async def test_a_body_larger_than_allowed_is_not_kept(peer: Peer) -> None:
    peer.talk = peer.answering(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n", b"x" * 100_000, hang=True)
    with pytest.raises(ResponseInvalid, match="larger than 50000"):
        async with peer.client().stream("GET", "/") as response:
            await response.read(50_000)
    await peer.gone.wait()


# --- time ---


async def test_a_peer_that_does_not_answer(peer: Peer) -> None:
    peer.talk = peer.answering(hang=True)
    with pytest.raises(ResponseTimeout, match=r"within 0\.1 s"):
        await peer.client(first_byte_s=0.1).request("GET", "/")
    await peer.gone.wait()


async def test_a_peer_that_drips_its_head(peer: Peer) -> None:
    peer.talk = peer.answering(*([b"HTTP/1.1 200 OK\r\n"] + [b"x: y\r\n"] * 1000), pause_s=0.02)
    with pytest.raises(ResponseTimeout):
        await peer.client(first_byte_s=0.1).request("GET", "/")
    await peer.gone.wait()


async def test_a_peer_that_goes_silent(peer: Peer) -> None:
    peer.talk = peer.answering(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe", hang=True)
    with pytest.raises(ResponseTimeout, match=r"for 0\.1 s"):
        await peer.client(between_bytes_s=0.1).request("GET", "/")
    await peer.gone.wait()


async def test_a_peer_that_takes_its_time_is_not_silent(peer: Peer) -> None:
    pieces = [b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n"] + [b"x"] * 20
    peer.talk = peer.answering(*pieces, pause_s=0.02)
    assert await peer.client(between_bytes_s=0.3).request("GET", "/") == (200, b"x" * 20)


# --- connections ---


async def test_nobody_there(unused_tcp_port: int) -> None:
    with pytest.raises(ConnectFailed, match=f"127.0.0.1:{unused_tcp_port} cannot be reached"):
        await HttpClient(Origin.of(f"http://127.0.0.1:{unused_tcp_port}")).request("GET", "/")


async def test_tls_that_is_none(peer: Peer) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    peer.talk = talk
    with pytest.raises(ConnectFailed):
        await HttpClient(Origin.of(f"https://127.0.0.1:{peer.port}")).request("GET", "/")


@pytest.mark.parametrize("url", ["ftp://h", "h:80", "http://", "http://h:port", "http://[::1", "http://h:99999"])
def test_what_is_no_origin(url: str) -> None:
    with pytest.raises(ConnectFailed):
        Origin.of(url)


async def test_a_connection_that_was_closed_while_idle_is_replaced(peer: Peer) -> None:
    peer.talk = peer.once(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    client = peer.client()
    for number in range(5):
        # With and without the time in which the client would notice.
        await asyncio.sleep(0.01 * (number % 2))
        assert await client.request("POST", "/") == (200, b"ok")
    assert peer.connections == 5


async def test_a_connection_that_closes_as_it_is_used_again_is_replaced(peer: Peer) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await peer.request(reader)

    peer.talk = talk
    client = peer.client()
    assert await client.request("POST", "/") == (200, b"ok")
    # The second request is taken and not answered: as close as a test can get to an idle close that crosses it.
    assert await client.request("POST", "/") == (200, b"ok")
    assert peer.connections == 2
    client.close()


@pytest.mark.parametrize("part", [b"HTTP/1.1 200 OK\r\n", None])
async def test_a_request_that_may_have_been_worked_on_is_not_sent_twice(peer: Peer, part: bytes | None) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await peer.request(reader)
        if part is None:
            await asyncio.sleep(1.1)
        else:
            writer.write(part)

    peer.talk = talk
    client = peer.client()
    assert await client.request("POST", "/") == (200, b"ok")
    with pytest.raises(ConnectionLost):
        await client.request("POST", "/")
    assert len(peer.requests) == 2


async def test_leaving_early_tells_the_peer(peer: Peer) -> None:
    peer.talk = peer.answering(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", *[b"1\r\nx\r\n"] * 1000, pause_s=0.01
    )
    client = peer.client()
    async with client.stream("GET", "/") as response:
        async for _ in response.body():
            break
    await peer.gone.wait()
    assert not client._idle


@pytest.mark.parametrize("waiting_for", ["head", "body"])
async def test_a_cancelled_request_tells_the_peer(peer: Peer, until, waiting_for: str) -> None:
    pieces = [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx"] if waiting_for == "body" else []
    peer.talk = peer.answering(*pieces, hang=True)
    client = peer.client()
    task = asyncio.ensure_future(client.request("GET", "/"))
    await until(lambda: peer.requests)
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await peer.gone.wait()
    assert not client._idle


async def test_a_body_that_is_not_read_is_not_collected(peer: Peer) -> None:
    sent = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await peer.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
        for _ in range(1000):
            writer.write(bytes(100_000))
            await writer.drain()
            sent += 100_000

    peer.talk = talk
    client = peer.client()
    async with client.stream("GET", "/") as response:
        await asyncio.sleep(0.3)
        held = sent
        await asyncio.sleep(0.1)
        assert sent == held < 40_000_000  # the systems' buffers and a little of our own
        size = 0
        async for chunk in response.body():
            size += len(chunk)
        assert size == 100_000_000
    client.close()


async def test_a_complete_body_that_nobody_read_does_not_block_the_next(peer: Peer) -> None:
    peer.talk = peer.answering(b"HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n" + bytes(3_000_000))
    client = peer.client()
    for _ in range(3):
        async with client.stream("GET", "/") as response:
            assert response.status == 200
            await asyncio.sleep(0.02)
    async with client.stream("GET", "/") as response:
        assert len(await response.read()) == 3_000_000
    client.close()


async def test_many_at_once_use_a_connection_each_and_a_bounded_number_is_kept(peer: Peer) -> None:
    peer.talk = peer.answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", b"ok", pause_s=0.02)
    client = HttpClient(Origin.of(f"http://127.0.0.1:{peer.port}"), idle_connections=3)
    assert await asyncio.gather(*(client.request("GET", "/") for _ in range(10))) == [(200, b"ok")] * 10
    assert peer.connections == 10
    assert len(client._idle) == 3
    client.close()


async def test_after_close_nothing_is_kept(peer: Peer) -> None:
    client = peer.client()
    async with client.stream("GET", "/") as response:
        client.close()
        assert await response.read() == b"ok"
    await peer.gone.wait()
    assert not client._idle


async def test_our_client_and_our_server_understand_each_other(serve) -> None:
    async def handler(request: HttpRequest, exchange: Exchange) -> None:
        if request.path == "/cut":
            exchange.start(200, [])
            exchange.write(b"half")
            exchange.abort()
        elif request.path == "/stream":
            exchange.start(200, [])
            for at in range(0, len(request.body), 1000):
                exchange.write(request.body[at : at + 1000])
                await exchange.drain()
            exchange.finish()
        else:
            exchange.respond(200, [], request.body)

    async with serve(handler) as running:
        client = HttpClient(Origin.of(f"http://127.0.0.1:{running.port}"))
        body = bytes(range(256)) * 4000
        for path in ("/", "/stream", "/", "/stream"):
            assert await client.request("POST", path, body=body) == (200, body)
        assert running.server.connections == 1
        with pytest.raises(HttpError):
            await client.request("GET", "/cut")
        client.close()
