"""A server whose list of models the test holds by the hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tundish.wire import models
from tundish.wire.models import ModelEntry


class ListingServer:
    """Answers every request with `entries`; with `stalls`, it begins to and says no more."""

    def __init__(self) -> None:
        self.entries: list[ModelEntry] = []
        self.stalls = False
        self.base_url = ""

    def has(self, *names: str, owned_by: str = "vllm") -> None:
        self.entries = [ModelEntry(id=name, owned_by=owned_by) for name in names]

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = models.encode_list(self.entries)
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n".encode())
        if self.stalls:
            await reader.read()  # until the client gives up
        else:
            writer.write(body)
        writer.close()


@pytest.fixture
async def listing() -> AsyncIterator[ListingServer]:
    made = ListingServer()
    server = await asyncio.start_server(made.answer, "127.0.0.1", 0)
    made.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    yield made
    server.close()
    await server.wait_closed()
