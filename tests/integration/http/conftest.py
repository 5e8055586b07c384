"""A real server on a real port, spoken to with bare bytes; each test runs on every event loop that there is."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from tundish.core.errors import RequestTooLarge, TundishError
from tundish.http.server import Admit, Exchange, Handler, HttpRequest, HttpServer, Limits


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if sys.platform != "win32":
        import uvloop

        factories["uvloop"] = uvloop.new_event_loop
    return factories


@pytest.fixture(autouse=True)
async def patience() -> AsyncIterator[None]:
    """Nothing here takes long: a test that waits for ever fails with a traceback instead."""
    loop = asyncio.get_running_loop()
    timer = loop.call_later(20, lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
    yield
    timer.cancel()


def refuse(error: TundishError) -> tuple[int, Sequence[tuple[str, str]], bytes]:
    status = 413 if isinstance(error, RequestTooLarge) else 500
    return status, [("content-type", "text/plain")], f"{error.code}: {error.message}".encode()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """A connection whose every byte is ours."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        return Answer(status=int(first.split()[1]), headers=headers, body=b"")

    async def chunk(self) -> bytes:
        size = int((await self.reader.readuntil(b"\r\n")).strip(), 16)
        data = await self.reader.readexactly(size + 2)
        return data[:-2]

    async def answer(self, *, head_only: bool = False) -> Answer:
        head = await self.head()
        chunks: list[bytes] = []
        if head_only:
            pass
        elif "content-length" in head.headers:
            chunks.append(await self.reader.readexactly(int(head.headers["content-length"])))
        elif head.headers.get("transfer-encoding") == "chunked":
            while chunk := await self.chunk():
                chunks.append(chunk)
        return dataclasses.replace(head, body=b"".join(chunks))

    async def ask(self, data: bytes) -> Answer:
        await self.send(data)
        return await self.answer()

    async def rest(self) -> bytes:
        """Until the server ends the connection."""
        return await self.reader.read(-1)

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        self.writer.transport.abort()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Running:
    server: HttpServer
    port: int
    clients: list[Client]

    async def connect(self, *, buffered_bytes: int = 2**16) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=buffered_bytes)
        client = Client(reader, writer)
        self.clients.append(client)
        return client


Serve = Callable[..., contextlib.AbstractAsyncContextManager[Running]]


@pytest.fixture
def serve() -> Serve:
    @asynccontextmanager
    async def serving(
        handler: Handler, *, admit: Admit | None = None, **limits: float
    ) -> AsyncGenerator[Running, None]:
        server = HttpServer(handler, limits=Limits(**limits), refuse=refuse, admit=admit)  # type: ignore[arg-type]
        running = Running(server=server, port=await server.listen("127.0.0.1", 0), clients=[])
        try:
            yield running
        finally:
            for client in running.clients:
                client.reset()
            await server.close()
            assert server.connections == 0
            assert server.requests_running == 0
            assert server._service.memory.held == 0

    return serving


async def echo(request: HttpRequest, exchange: Exchange) -> None:
    exchange.respond(200, [], f"{request.method} {request.path} ".encode() + request.body)


@pytest.fixture(name="echo")
def echo_handler() -> Handler:
    return echo


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that the other side of a socket brings about."""
    while not condition():  # noqa: ASYNC110 - what is waited for happens in the kernel
        await asyncio.sleep(0.005)


@pytest.fixture(name="until")
def until_fixture() -> Callable[[Callable[[], object]], object]:
    return until
