"""A real HTTP server that misbehaves on demand, and a library that pulls from it."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import hashlib
import os
import random
import struct
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Self

import pytest

from tundish.catalog.card import ModelCard, ModelFile, UrlSource, Variant, WeightFormat
from tundish.core.clock import SystemClock
from tundish.sources.hub import Hub
from tundish.sources.library import Folders, Library
from tundish.sources.plain_http import PlainHttp
from tundish.sources.retry import RetryPolicy

# Quick to try again, but slow to take a busy machine for a stalled source.
IMPATIENT = RetryPolicy(attempts=4, first_delay_s=0.001, max_delay_s=0.01, max_retry_after_s=0.05, stall_timeout_s=10)


def gguf_bytes(size_bytes: int, seed: int = 0) -> bytes:
    """A well-formed GGUF of about that size: one tensor of noise."""
    elements = max(size_bytes // 4 // 32 * 32, 32)

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 1)
    head += text("general.architecture") + struct.pack("<I", 8) + text("noise")
    head += text("noise.weight") + struct.pack("<IQIQ", 1, elements, 0, 0)
    head += bytes(-len(head) % 32)
    return head + random.Random(seed).randbytes(elements * 4)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """One request as the server saw it."""

    path: str
    headers: Mapping[str, str]

    @property
    def start(self) -> int:
        """Of the range, 0 without one."""
        return int(self.headers["range"].removeprefix("bytes=").rstrip("-")) if "range" in self.headers else 0


@dataclasses.dataclass(kw_only=True)
class Answer:
    """What a behaviour works with."""

    asked: Asked
    content: bytes
    etag: str
    writer: asyncio.StreamWriter

    def head(self, status: int, headers: Mapping[str, object]) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers.items())]
        self.writer.write("\r\n".join([*lines, "", ""]).encode())

    def honest_head(self) -> bytes:
        """The right head for the request; returns the body that belongs to it."""
        start, total = self.asked.start, len(self.content)
        common = {"etag": self.etag, "content-type": "application/octet-stream", "accept-ranges": "bytes"}
        fresh = self.asked.headers.get("if-range", self.etag) == self.etag
        if start >= total > 0 and "range" in self.asked.headers and fresh:
            self.head(416, {"content-range": f"bytes */{total}", "content-length": 0})
            return b""
        if "range" in self.asked.headers and fresh:
            content_range = f"bytes {start}-{total - 1}/{total}"
            self.head(206, {**common, "content-range": content_range, "content-length": total - start})
            return self.content[start:]
        self.head(200, {**common, "content-length": total})
        return self.content


Behaviour = Callable[[Answer], Awaitable[None]]


async def honest(answer: Answer) -> None:
    answer.writer.write(answer.honest_head())
    await answer.writer.drain()


def cut_after(count: int) -> Behaviour:
    async def behave(answer: Answer) -> None:
        answer.writer.write(answer.honest_head()[:count])
        await answer.writer.drain()
        await asyncio.sleep(0.05)
        answer.writer.transport.abort()

    return behave


def stall_after(count: int) -> Behaviour:
    async def behave(answer: Answer) -> None:
        answer.writer.write(answer.honest_head()[:count])
        await answer.writer.drain()
        await asyncio.sleep(3600)

    return behave


def slowly(bytes_per_s: float) -> Behaviour:
    async def behave(answer: Answer) -> None:
        body, step = answer.honest_head(), max(int(bytes_per_s / 50), 1)
        for at in range(0, len(body), step):
            await asyncio.sleep(0.02)
            answer.writer.write(body[at : at + step])
            await answer.writer.drain()

    return behave


def status(code: int, headers: Mapping[str, object] | None = None, body: bytes = b"") -> Behaviour:
    async def behave(answer: Answer) -> None:
        answer.head(code, {"content-length": len(body), **(headers or {})})
        answer.writer.write(body)
        await answer.writer.drain()

    return behave


async def without_ranges(answer: Answer) -> None:
    answer.head(200, {"content-length": len(answer.content), "etag": answer.etag})
    answer.writer.write(answer.content)
    await answer.writer.drain()


class MisbehavingServer:
    """Serves `content` by path. The next request for a path takes the next of its `behaviours`, then it is honest."""

    cut_after = staticmethod(cut_after)
    stall_after = staticmethod(stall_after)
    slowly = staticmethod(slowly)
    status = staticmethod(status)
    without_ranges = staticmethod(without_ranges)
    gguf = staticmethod(gguf_bytes)

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.behaviours: dict[str, collections.deque[Behaviour]] = collections.defaultdict(collections.deque)
        self.usually: Behaviour = honest
        self.asked: list[Asked] = []
        self.port = 0
        self.open_now = self.open_most = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def other_url(self) -> str:
        """The same server under another name, as far as a client can tell."""
        return f"http://localhost:{self.port}"

    def card(self, *paths: str, sha256: str | None = None) -> ModelCard:
        """A card whose files are here."""
        files = tuple(ModelFile(path=path.strip("/"), url=self.url + path, sha256=sha256) for path in paths)
        variant = Variant(id="f32-gguf", format=WeightFormat.GGUF, quantisation="f32", source=UrlSource(), files=files)
        return ModelCard(publisher="test", name="noise", version="1", licence="mit", variants=(variant,))

    def misbehave(self, path: str, *behaviours: Behaviour) -> None:
        self.behaviours[path].extend(behaviours)

    async def _start(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _stop(self) -> None:
        self._server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open_now += 1
        self.open_most = max(self.open_most, self.open_now)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            target = head[0].split(" ")[1]
            pairs = [line.partition(": ") for line in head[1:] if line]
            path = target.partition("?")[0]
            asked = Asked(path=path, headers={name.lower(): value for name, _, value in pairs})
            self.asked.append(asked)
            content = self.content.get(path, b"")
            etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
            waiting = self.behaviours[path]
            behave = waiting.popleft() if waiting else self.usually
            await behave(Answer(asked=asked, content=content, etag=etag, writer=writer))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.open_now -= 1
            writer.close()


@pytest.fixture
def server() -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as running:
        yield running


OpenLibrary = Callable[..., Library]


@pytest.fixture
def open_library(tmp_path: Path) -> OpenLibrary:
    """Opens the same folders each time, as a new process would."""

    def open_it(*, offline: bool = False, policy: RetryPolicy = IMPATIENT) -> Library:
        folders = Folders(models=tmp_path / "models", cards=tmp_path / "cards", keys=tmp_path / "keys")
        return Library(folders, http=PlainHttp(), hub=Hub(), clock=SystemClock(), offline=offline, policy=policy)

    return open_it


@pytest.fixture
def library(open_library: OpenLibrary) -> Library:
    return open_library()


_DRIVER = """
import argparse, sys
from tundish import settings
from tundish.cli import model
from tundish.core.errors import TundishError
parser = argparse.ArgumentParser(prog="tundish model")
model.COMMAND.configure(parser)
try:
    sys.exit(model.COMMAND.run(parser.parse_args(), settings.from_environment()))
except TundishError as error:
    print(f"tundish: {error}", file=sys.stderr)
    sys.exit(1)
"""

_SMALL_FILES = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit_bytes}, {limit_bytes}))
"""

# Even root is then refused what the permissions of a folder refuse.
_NO_PRIVILEGES = """
import ctypes, sys
if sys.platform == "linux":
    ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)())
"""

# Whoever looks up a name or connects is stopped and found out. The event loop's own pair of sockets has no address.
_NO_NETWORK = """
import sys
def guard(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.bind", "socket.sendto"):
        print("NETWORK:", event, arguments[1:], file=sys.stderr)
        raise RuntimeError("there is no network here")
sys.addaudithook(guard)
"""


StartModel = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def tundish_model(tmp_path: Path) -> Iterator[StartModel]:
    """Starts `tundish model …` as a process of its own, on the folders of `library`."""
    started: list[subprocess.Popen[str]] = []

    def start(
        *arguments: str,
        limit_bytes: int | None = None,
        privileged: bool = True,
        network: bool = True,
        **environment: str,
    ) -> subprocess.Popen[str]:
        driver = "" if limit_bytes is None else _SMALL_FILES.format(limit_bytes=limit_bytes)
        driver += "" if privileged else _NO_PRIVILEGES
        driver += "" if network else _NO_NETWORK
        process = subprocess.Popen(
            [sys.executable, "-c", driver + _DRIVER, *arguments],
            env={**os.environ, "TUNDISH_DATA_DIR": str(tmp_path), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
