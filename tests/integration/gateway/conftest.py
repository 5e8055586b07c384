"""A configured endpoint in front of upstreams that the tests hold by the hand, all over real connections."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tundish.app import Endpoint, endpoint
from tundish.core.clock import Clock
from tundish.http.client import HttpClient, Origin
from tundish.settings import Secret, Settings

KEY = "td-test-key"
Act = Callable[["Upstream", bytes, asyncio.StreamWriter], Awaitable[None]]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(text: str | None, **more: object) -> bytes:
    """An event of a stream, as an HTTP chunk."""
    choices = [{"index": 0, "delta": {} if text is None else {"content": text}, "finish_reason": more.pop("end", None)}]
    body = {"id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 5, "model": "up", "choices": choices}
    return chunk(b"data: " + json.dumps({**body, **more}).encode() + b"\n\n")


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
USAGE = {"prompt_tokens": 40, "completion_tokens": 2, "total_tokens": 42}


async def answers(upstream: Upstream, body: bytes, writer: asyncio.StreamWriter) -> None:
    """As it should be."""
    if json.loads(body).get("stream"):
        writer.write(STREAM_HEAD + event("from ") + event(upstream.name) + event(None, end="stop"))
        if (json.loads(body).get("stream_options") or {}).get("include_usage"):
            writer.write(event(None, choices=[], usage=USAGE))
        writer.write(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        return
    message = {"role": "assistant", "content": f"from {upstream.name}"}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    whole = {"id": "chatcmpl-up", "object": "chat.completion", "created": 5, "model": "up", "choices": choices}
    content = json.dumps({**whole, "usage": USAGE}).encode()
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(content))
    writer.write(content)


async def dies(upstream: Upstream, body: bytes, writer: asyncio.StreamWriter) -> None:
    """The connection is reset before anything is said."""
    writer.transport.abort()


async def breaks_off(upstream: Upstream, body: bytes, writer: asyncio.StreamWriter) -> None:
    """A stream that begins, and is cut within an event."""
    writer.write(STREAM_HEAD + event("Once upon ") + event("a ") + event("ti")[:25])
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.transport.abort()


async def hangs(upstream: Upstream, body: bytes, writer: asyncio.StreamWriter) -> None:
    """Nothing, for ever."""
    await asyncio.sleep(3600)


async def is_busy(upstream: Upstream, body: bytes, writer: asyncio.StreamWriter) -> None:
    """429, come back in a minute."""
    writer.write(b"HTTP/1.1 429 Too Many\r\nretry-after: 60\r\ncontent-length: 2\r\n\r\n{}")


async def fails(upstream: Upstream, body: bytes, writer: asyncio.StreamWriter) -> None:
    """500."""
    writer.write(b"HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\n{}")


async def talks_nonsense(upstream: Upstream, body: bytes, writer: asyncio.StreamWriter) -> None:
    """200, and no JSON."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>")


@dataclasses.dataclass(kw_only=True)
class Upstream:
    """A service elsewhere: does what `act` says with each request."""

    name: str
    act: Act = answers
    bodies: list[bytes] = dataclasses.field(default_factory=list[bytes])
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                self.bodies.append(body)
                await self.act(self, body, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def deployment(name: str, port: int, place: str = "cloud") -> str:
    return f"""
[deployments.{name}]
backend = "openai_compatible"
model = "gpt-oss-120b"
base_url = "http://127.0.0.1:{port}/v1"
place = "{place}"
price = {{ input = 0.15, output = 0.60 }}
timeouts = {{ connect_s = 2, first_token_s = 1, between_tokens_s = 1, total_s = 5 }}
"""


def site(upstreams: Mapping[str, int], *, places: Mapping[str, str] | None = None, route: str = "") -> str:
    """A `tundish.toml` with one route, `chat`, over the upstreams in their order."""
    parts = [
        '[places.rack]\nreach = "site"\n[places.cloud]\nreach = "global"\n',
        '[policy]\nclasses = ["public", "restricted"]\ndefault_class = "public"\n',
        '[[policy.rules]]\nclass = "public"\nplaces = ["*"]\n',
        '[[policy.rules]]\nclass = "restricted"\nplaces = ["rack"]\n',
        *(deployment(name, port, (places or {}).get(name, "cloud")) for name, port in upstreams.items()),
        f'[routes.chat]\nmode = "order"\ndeployments = {json.dumps(list(upstreams))}\n{route}\n',
    ]
    return "\n".join(parts)


@dataclasses.dataclass(kw_only=True)
class Answered:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, str]:
        return json.loads(self.body)["error"]

    @property
    def texts(self) -> str:
        """What a stream said."""
        events = [part[6:] for part in self.body.split(b"\n\n") if part.startswith(b"data: {")]
        deltas = [choice["delta"] for data in events for choice in json.loads(data).get("choices", [])]
        return "".join(delta.get("content") or "" for delta in deltas)


@dataclasses.dataclass(kw_only=True)
class Gateway:
    """A running endpoint, its upstreams, and the file it is configured by."""

    endpoint: Endpoint
    upstreams: dict[str, Upstream]
    file: Path
    http: HttpClient
    data_dir: Path

    async def post(self, path: str, body: Mapping[str, object], **headers: str) -> Answered:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"api-key": KEY, "content-type": "application/json", **named}
        async with self.http.stream("POST", path, headers=sent, body=json.dumps(body).encode()) as response:
            return Answered(status=response.status, headers=dict(response.headers), body=await response.read())

    async def chat(self, *, model: str = "chat", stream: bool = False, **headers: str) -> Answered:
        messages = [{"role": "user", "content": "Hi"}]
        return await self.post(
            "/v1/chat/completions", {"model": model, "messages": messages, "stream": stream}, **headers
        )


Start = Callable[..., AbstractAsyncContextManager[Gateway]]


@pytest.fixture
def gateway(tmp_path: Path) -> Start:
    """Start upstreams that act as given, and an endpoint in front of them."""

    @asynccontextmanager
    async def start(
        *, route: str = "", places: Mapping[str, str] | None = None, clock: Clock | None = None, **acts: Act
    ) -> AsyncGenerator[Gateway]:
        async with AsyncExitStack() as stack:
            upstreams = {name: Upstream(name=name, act=act) for name, act in acts.items()}
            for upstream in upstreams.values():
                server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
                stack.callback(server.close)
                upstream.port = server.sockets[0].getsockname()[1]
            file = tmp_path / "tundish.toml"
            ports = {name: upstream.port for name, upstream in upstreams.items()}
            file.write_text(site(ports, places=places, route=route), encoding="utf-8")
            settings = Settings(
                port=0,
                config=file,
                api_key=Secret(KEY),
                serve_library=False,
                data_dir=tmp_path / "data",
                cache_dir=tmp_path / "cache",
                state_dir=tmp_path / "state",
            )
            running = await stack.enter_async_context(endpoint(settings, clock=clock))
            await running.load()
            http = HttpClient(Origin.of(running.url))
            stack.callback(http.close)
            yield Gateway(endpoint=running, upstreams=upstreams, file=file, http=http, data_dir=settings.data_dir)

    return start
