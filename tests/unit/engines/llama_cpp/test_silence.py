from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tundish.core.errors import BackendTimeout
from tundish.engines.llama_cpp import silence
from tundish.http.errors import ConnectionLost


class Peer:
    """Sends what it is given until its connection is broken."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.hung = False

    def break_off(self) -> None:
        self.hung = True
        self.queue.put_nowait(None)

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            chunk = await self.queue.get()
            if chunk is None:
                raise ConnectionLost("It ended.")
            if not chunk:
                return
            yield chunk


async def test_what_comes_is_passed_on() -> None:
    peer = Peer()
    for chunk in (b"a", b"b", b""):
        peer.queue.put_nowait(chunk)
    heard = [chunk async for chunk in silence.listen(peer.chunks(), limit_s=60, hung=peer.break_off)]
    assert heard == [b"a", b"b"]


async def test_silence_breaks_the_connection_and_is_named() -> None:
    peer = Peer()
    peer.queue.put_nowait(b"a")
    chunks = silence.listen(peer.chunks(), limit_s=0.001, hung=peer.break_off)
    assert await anext(chunks) == b"a"
    with pytest.raises(BackendTimeout):
        await anext(chunks)
    assert peer.hung


async def test_a_connection_that_breaks_by_itself_is_not_silence() -> None:
    peer = Peer()
    peer.queue.put_nowait(None)
    with pytest.raises(ConnectionLost):
        await anext(silence.listen(peer.chunks(), limit_s=60, hung=peer.break_off))


async def test_a_slow_reader_is_not_a_silent_peer() -> None:
    peer = Peer()
    for chunk in (b"a", b"b"):
        peer.queue.put_nowait(chunk)
    chunks = silence.listen(peer.chunks(), limit_s=0.001, hung=peer.break_off)
    await anext(chunks)
    await asyncio.sleep(0.02)  # the reader is elsewhere, for longer than the limit
    assert await anext(chunks) == b"b"
    assert not peer.hung
    await chunks.aclose()
