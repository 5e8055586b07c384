"""The client's bounds: time for each part of an answer, a fairly shared pool, and an end for everybody at once."""

from __future__ import annotations

import asyncio

import pytest

from tundish.core.errors import BackendStopped
from tundish.http.client import HttpClient, Origin, Timeouts, with_body
from tundish.http.errors import PoolFull, ResponseTimeout

from .conftest import pytest_asyncio_loop_factories, until

__all__ = ["pytest_asyncio_loop_factories"]

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Peer:
    """Answers each request with `pieces`, and pauses between them."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = [WHOLE]
        self.pause_s = 0.0
        self.requests: list[bytes] = []
        self.connections = 0
        self.open: set[asyncio.StreamWriter] = set()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.add(writer)
        try:
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                for piece in self.pieces:
                    writer.write(piece)
                    await asyncio.sleep(self.pause_s)
                    if writer.transport.is_closing():
                        return
                if self.pieces and self.pieces[0] is HEAD:
                    await reader.read()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.transport.abort()
            self.open.discard(writer)

    def client(self, *, max_connections: int | None = None, max_waiting: int = 0, **limits: float) -> HttpClient:
        return HttpClient(
            Origin.of(self.url),
            timeouts=Timeouts(**limits),
            max_connections=max_connections,
            max_waiting=max_waiting,
        )


@pytest.fixture
async def peer():
    made = Peer()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield made
    server.close()
    for writer in made.open:
        writer.transport.abort()
    await until(lambda: not made.open)


async def test_the_first_byte_of_the_body_has_its_own_limit(peer: Peer) -> None:
    peer.pieces = [HEAD]
    with pytest.raises(ResponseTimeout, match=r"begin its answer within 0\.1 s"):
        await peer.client(first_body_byte_s=0.1, between_bytes_s=60).request("GET", "/")


async def test_silence_counts_only_after_it(peer: Peer) -> None:
    peer.pieces, peer.pause_s = [HEAD, b"1\r\nx\r\n"], 0.2
    with pytest.raises(ResponseTimeout, match=r"sent nothing for 0\.05 s"):
        await peer.client(first_body_byte_s=60, between_bytes_s=0.05).request("GET", "/")
    assert len(peer.requests) == 1


async def test_a_drip_is_cut_by_the_limit_of_the_whole(peer: Peer) -> None:
    peer.pieces, peer.pause_s = [HEAD, *[b"1\r\nx\r\n"] * 1000], 0.02
    with pytest.raises(ResponseTimeout, match=r"complete within 0\.3 s"):
        await peer.client(first_byte_s=10, between_bytes_s=10, total_s=0.3).request("GET", "/")


async def test_the_limit_of_the_whole_counts_from_the_queue(peer: Peer) -> None:
    peer.pieces = [HEAD]
    client = peer.client(max_connections=1, max_waiting=1, total_s=0.2)
    async with client.stream("GET", "/"):
        with pytest.raises(PoolFull, match="became free"):
            await client.request("GET", "/")
    assert client.running == 0


async def test_limits_of_one_exchange_do_not_outlive_it(peer: Peer) -> None:
    client = peer.client(first_byte_s=0.3, total_s=0.3)
    await client.request("GET", "/")
    await asyncio.sleep(0.4)  # its timer fires on an idle connection
    peer.pieces, peer.pause_s = [WHOLE[:10], WHOLE[10:]], 0.05
    assert await client.request("GET", "/") == (200, b"ok")
    assert peer.connections == 1


async def test_an_exchange_may_bring_its_own_limits(peer: Peer) -> None:
    peer.pieces = []
    client = peer.client()
    request = with_body(client.prepare("POST", "/", {}), b"")
    with pytest.raises(ResponseTimeout):
        await client.open(request, timeouts=Timeouts(first_byte_s=0.05))
    assert client.running == 0


async def test_a_connection_that_was_idle_for_long_is_not_trusted(peer: Peer) -> None:
    client = HttpClient(Origin.of(peer.url), idle_s=0.05)
    await client.request("GET", "/")
    await client.request("GET", "/")
    assert peer.connections == 1
    await asyncio.sleep(0.1)
    await client.request("GET", "/")
    assert peer.connections == 2
    client.close()


async def test_an_abort_ends_those_who_read_wait_and_connect(peer: Peer) -> None:
    peer.pieces = [HEAD, b"1\r\nx\r\n"]
    client = peer.client(max_connections=2, max_waiting=9)
    tasks = [asyncio.ensure_future(client.request("GET", "/")) for _ in range(6)]
    await until(lambda: len(peer.requests) == 2)
    assert (client.running, client.waiting) == (2, 4)
    client.abort(BackendStopped("over"))
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in done] == [BackendStopped] * 6
    assert (client.running, client.waiting) == (0, 0)
    with pytest.raises(BackendStopped):
        await client.request("GET", "/")


async def test_an_abort_ends_a_handshake(peer: Peer) -> None:
    client = HttpClient(Origin.of(peer.url.replace("http", "https")))  # the peer waits for a line, and so do we
    task = asyncio.ensure_future(client.request("GET", "/"))
    await until(lambda: peer.connections)
    client.abort(BackendStopped("over"))
    with pytest.raises(BackendStopped):
        await task


async def test_what_arrived_before_an_abort_is_not_handed_out_after_it(peer: Peer) -> None:
    peer.pieces = [HEAD, b"1\r\nx\r\n"]
    client = peer.client()
    async with client.stream("GET", "/") as response:
        await asyncio.sleep(0.05)
        client.abort(BackendStopped("over"))
        with pytest.raises(BackendStopped):
            await response.read()
