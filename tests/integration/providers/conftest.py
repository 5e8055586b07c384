"""Servers that the tests hold by the hand: one that lists models, and one that answers with any bytes."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest

from tundish.core.events import Usage
from tundish.core.relay import RawRequest
from tundish.providers.remote import RemoteBackend, remote_backend
from tundish.providers.spec import RemoteSpec
from tundish.wire import models
from tundish.wire.models import ModelEntry


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if sys.platform != "win32":
        import uvloop

        factories["uvloop"] = uvloop.new_event_loop
    return factories


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """A request as it arrived."""

    line: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)

    @property
    def path(self) -> str:
        return self.line.split(" ")[1]


class Provider:
    """A provider's server whose every byte is ours: each request gets what `answer` writes."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.connections = 0
        self.gone = asyncio.Event()
        """Set when a client has closed its connection."""
        self.answer: Answer = whole(ANSWER)
        self.port = 0
        self.open: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                line, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
                headers = dict(pair.split(": ", 1) for pair in lines)
                body = await reader.readexactly(int(headers["content-length"]))
                self.asked.append(Asked(line=line, headers=headers, body=body))
                await self.answer(reader, writer)
                await writer.drain()
                if writer.transport.is_closing():
                    return
        except (asyncio.IncompleteReadError, OSError):
            self.gone.set()
        finally:
            writer.close()
            self.open.discard(writer)

    async def listen(self, tls: ssl.SSLContext | None = None) -> asyncio.Server:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        return server


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

ANSWER = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"there","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"Hello."},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}'
)


def chunk(content: str | None = None, *, finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    delta = {} if content is None else {"content": content}
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return json.dumps({"id": "c", "object": "chat.completion.chunk", "choices": [choice], **more}).encode()


USAGE = b'{"id":"c","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}'
CHUNKS = (chunk("Hel"), chunk("lo."), chunk(finish="stop"), USAGE)


def events(*data: bytes) -> bytes:
    return b"".join(b"data: %b\n\n" % one for one in data)


def whole(body: bytes, *, status: int = 200, content_type: str = "application/json", headers: str = "") -> Answer:
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\n{headers}content-length: {len(body)}\r\n\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head.encode() + body)

    return answer


def streamed(
    *pieces: bytes,
    pause_s: float = 0.0,
    content_type: str = "text/event-stream",
    headers: str = "",
    then: str = "end",
) -> Answer:
    """Chunks of a body, then its `end`, a `hang`, or a `cut` of the connection."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\n{headers}transfer-encoding: chunked\r\n\r\n".encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        for piece in pieces:
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
            await asyncio.sleep(pause_s)
        if then == "end":
            writer.write(b"0\r\n\r\n")
        elif then == "hang":
            await reader.read()
            raise ConnectionResetError
        else:
            writer.transport.abort()

    return answer


def raw(answer: bytes, *, then: str = "hang") -> Answer:
    """Bytes that need be no HTTP."""

    async def told(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        if then == "hang":
            await reader.read()
            raise ConnectionResetError
        writer.close()

    return told


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    made = Provider()
    server = await made.listen()
    yield made
    server.close()
    for writer in made.open:
        writer.transport.abort()
    while made.open:  # noqa: ASYNC110 - what is waited for happens in the kernel
        await asyncio.sleep(0.005)


@pytest.fixture
async def started() -> AsyncIterator[Start]:
    """Builds and starts the backend of a spec; stops it at the end."""
    backends: list[RemoteBackend] = []

    async def start(spec: RemoteSpec) -> RemoteBackend:
        backend = remote_backend(spec)
        await backend.start()
        backends.append(backend)
        return backend

    yield start
    for backend in backends:
        await backend.stop()


Start = Callable[[RemoteSpec], Awaitable[RemoteBackend]]


def asking(*, stream: bool = False, include_usage: bool = False, **fields: Any) -> RawRequest:
    members: dict[str, Any] = {"model": "ours", "messages": [{"role": "user", "content": "Hi"}], **fields}
    if stream:
        members["stream"] = True
    if include_usage:
        members["stream_options"] = {"include_usage": True}
    return RawRequest(
        surface="chat_completions",
        fields={name: json.dumps(value).encode() for name, value in members.items()},
        stream=stream,
        include_usage=include_usage,
    )


async def relay(backend: RemoteBackend, request: RawRequest) -> tuple[bytes, Usage | None]:
    """The whole of a relayed answer."""
    if not request.stream:
        whole = await backend.relay_whole(request)
        return whole.body, whole.usage
    async with backend.relay(request) as relayed:
        body = b""
        while piece := await relayed.next_chunk():
            body += piece
        return body, relayed.usage
