"""What the HTTP server costs: a trivial handler behind it, on one core; the load comes from another.

    python benchmarks/http_server.py [--seconds 3] [--connections 64] [--plain-asyncio]

Prints requests and chunks a second, and the server's own CPU time for each, which does not depend on the loader.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import multiprocessing.connection
import os
import platform
import time
from collections.abc import Sequence
from typing import cast

from tundish.core.errors import TundishError
from tundish.http.server import Exchange, HttpRequest, HttpServer

BODY = b'{"model":"gpt-oss-nano","messages":[{"role":"user","content":"' + b"x" * 600 + b'"}]}'
ANSWER = b'{"object":"chat.completion","choices":[{"index":0,"message":{"content":"' + b"y" * 200 + b'"}}]}'
EVENT = (
    b'data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"' + b"z" * 100 + b'"}}]}\n\n'
)
CHUNKS = 200
HEADERS = (
    "host: 127.0.0.1\r\ncontent-type: application/json\r\naccept: application/json\r\n"
    "authorization: Bearer 0123456789abcdef0123456789abcdef\r\nuser-agent: OpenAI/Python 3.0\r\n"
    "accept-encoding: gzip, deflate\r\nx-stainless-lang: python\r\n"
)


async def handle(request: HttpRequest, exchange: Exchange) -> None:
    """Answer at once; stream in one go; stream with a turn of the loop for each chunk, as tokens come."""
    if request.path == "/answer":
        exchange.respond(200, [("content-type", "application/json"), ("x-request-id", "req-0123456789")], ANSWER)
        return
    exchange.start(200, [("content-type", "text/event-stream"), ("x-request-id", "req-0123456789")])
    for _ in range(CHUNKS):
        exchange.write(EVENT)
        await exchange.drain()
        if request.path == "/tokens":
            await asyncio.sleep(0)
    exchange.finish()


def refuse(error: TundishError) -> tuple[int, Sequence[tuple[str, str]], bytes]:
    return 400, [("content-type", "text/plain")], error.message.encode()


def run(main, *, plain_asyncio: bool) -> None:
    factory = None
    if not plain_asyncio and platform.system() != "Windows":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


def pin(core: int) -> None:
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {core})


def serve(pipe: multiprocessing.connection.Connection, plain_asyncio: bool) -> None:
    """The server's process: tells its port, then its CPU time whenever it is asked."""

    async def main() -> None:
        pin(1)
        server = HttpServer(handle, refuse=refuse)
        pipe.send(await server.listen("127.0.0.1", 0))
        while await asyncio.to_thread(pipe.recv) == "cpu":
            pipe.send(time.process_time())
        await server.close()

    run(main(), plain_asyncio=plain_asyncio)


class Client(asyncio.Protocol):
    """Sends the same request again as soon as `end` of the answer has come."""

    def __init__(self, request: bytes, end: bytes, done: list[int]) -> None:
        self._request, self._end, self._done = request, end, done
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        tail = (self._tail + data)[-len(self._end) :]
        if tail != self._end:
            self._tail = tail
            return
        self._tail = b""
        self._done[0] += 1
        self.transport.write(self._request)


def measure(port: int, path: str, end: bytes, options: argparse.Namespace) -> tuple[int, float]:
    """Answers received, and the seconds it took."""
    head = f"POST {path} HTTP/1.1\r\n{HEADERS}content-length: {len(BODY)}\r\n\r\n"
    done = [0]
    took_s = 0.0

    async def main() -> None:
        nonlocal took_s
        loop = asyncio.get_running_loop()
        clients = [
            (await loop.create_connection(lambda: Client(head.encode() + BODY, end, done), "127.0.0.1", port))[0]
            for _ in range(options.connections)
        ]
        began_s = loop.time()
        await asyncio.sleep(options.seconds)
        took_s = loop.time() - began_s
        for client in clients:
            client.abort()

    run(main(), plain_asyncio=False)
    return done[0], took_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--plain-asyncio", action="store_true", help="serve without uvloop, as on Windows")
    options = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    server = spawn.Process(target=serve, args=(theirs, options.plain_asyncio), daemon=True)
    server.start()
    port = ours.recv()
    pin(0)
    loop = "asyncio" if options.plain_asyncio or platform.system() == "Windows" else "uvloop"
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, {loop}"
    )
    print(f"{options.connections} connections, kept alive; requests of {len(BODY)} bytes")
    for path, what, end, each in (
        ("/answer", "whole answers", ANSWER, 1),
        ("/stream", f"chunks of {len(EVENT)} bytes, written in one go", b"\r\n0\r\n\r\n", CHUNKS),
        ("/tokens", f"chunks of {len(EVENT)} bytes, one for each turn of the loop", b"\r\n0\r\n\r\n", CHUNKS),
    ):
        ours.send("cpu")
        before_s = ours.recv()
        count, took_s = measure(port, path, end, options)
        ours.send("cpu")
        cpu_s = ours.recv() - before_s
        print(f"{count * each / took_s:>10,.0f} /s  {cpu_s / max(count * each, 1) * 1e6:6.2f} µs CPU  {what}")
    ours.send("end")
    server.join(10)


if __name__ == "__main__":
    main()
