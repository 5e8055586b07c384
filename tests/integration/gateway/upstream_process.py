"""An upstream in a process of its own, which treats each request as its path says; for others to kill.

python upstream_process.py DIARY [CERTIFICATE KEY]

Prints its port. `http://127.0.0.1:PORT/hang/v1/…` hangs, and so on: the names are in `WEATHER`. Each connection and
each request is a line of the file DIARY before anything else happens.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

BACKLOG = 8192
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
USAGE = {"prompt_tokens": 40, "completion_tokens": 2, "total_tokens": 42}
EXPIRED_SOON = 3600.0

Send = Callable[[asyncio.StreamWriter, bool, str], Awaitable[None]]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(text: str | None, *, end: str | None = None, **more: object) -> bytes:
    choices = [{"index": 0, "delta": {} if text is None else {"content": text}, "finish_reason": end}]
    body = {"id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 5, "model": "up", "choices": choices}
    return chunk(b"data: " + json.dumps({**body, **more}).encode() + b"\n\n")


def whole(body: bytes, *, status: str = "200 OK", content_type: str = "application/json", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\n{more}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def completion(text: str) -> bytes:
    choices = [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]
    made = {"id": "chatcmpl-up", "object": "chat.completion", "created": 5, "model": "up", "choices": choices}
    return json.dumps({**made, "usage": USAGE}).encode()


async def good(writer: asyncio.StreamWriter, stream: bool, place: str) -> None:
    if not stream:
        writer.write(whole(completion(f"from {place}")))
        return
    writer.write(STREAM_HEAD + event(f"from {place}") + event(None, end="stop"))
    writer.write(event(None, choices=[], usage=USAGE) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")


async def hang(writer: asyncio.StreamWriter, stream: bool, place: str) -> None:
    await asyncio.sleep(EXPIRED_SOON)


async def reset(writer: asyncio.StreamWriter, stream: bool, place: str) -> None:
    found: socket.socket = writer.get_extra_info("socket")
    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def drip(writer: asyncio.StreamWriter, stream: bool, place: str) -> None:
    """A byte now and then: never silent, never done."""
    content = whole(completion("never"))
    while True:
        for at in range(len(content)):
            writer.write(content[at : at + 1])
            await writer.drain()
            await asyncio.sleep(0.1)


async def half(writer: asyncio.StreamWriter, stream: bool, place: str) -> None:
    """Less than was announced, then the end."""
    if stream:
        writer.write(STREAM_HEAD + event("Once ") + event("upon ")[:30])
    else:
        writer.write(whole(completion("Once"))[:-20])
    await writer.drain()
    writer.close()


async def no_json(writer: asyncio.StreamWriter, stream: bool, place: str) -> None:
    cut = b'{"id": "chatcmpl-up", "choices": [{"index": 0, "del'
    if stream:
        writer.write(STREAM_HEAD + chunk(b"data: " + cut + b"\n\n") + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
    else:
        writer.write(whole(cut))


async def html(writer: asyncio.StreamWriter, stream: bool, place: str) -> None:
    writer.write(whole(b"<html>Sign in to the hotel's network</html>", content_type="text/html"))


async def busy(writer: asyncio.StreamWriter, stream: bool, place: str) -> None:
    writer.write(
        whole(b'{"error": {"message": "slow down"}}', status="429 Too Many Requests", more="retry-after: 60\r\n")
    )


async def broken(writer: asyncio.StreamWriter, stream: bool, place: str) -> None:
    writer.write(whole(b"upstream connect error", status="503 Service Unavailable", content_type="text/plain"))


async def crash(writer: asyncio.StreamWriter, stream: bool, place: str) -> None:
    writer.write(whole(b'{"error": {"message": "segfault"}}', status="500 Internal Server Error"))


async def empty(writer: asyncio.StreamWriter, stream: bool, place: str) -> None:
    content_type = "text/event-stream" if stream else "application/json"
    writer.write(whole(b"", content_type=content_type))


async def garbage(writer: asyncio.StreamWriter, stream: bool, place: str) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\x00\xff\xfe" * 100)


async def long_head(writer: asyncio.StreamWriter, stream: bool, place: str) -> None:
    """A head that never ends."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"x-more: " + b"x" * 8000 + b"\r\n")
        await writer.drain()


async def long_event(writer: asyncio.StreamWriter, stream: bool, place: str) -> None:
    """An event, or a body, that never ends."""
    if stream:
        writer.write(STREAM_HEAD + chunk(b"data: "))
    else:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
    block = chunk(b" " * 65536)
    while True:
        writer.write(block)
        await writer.drain()


async def told(writer: asyncio.StreamWriter, stream: bool, place: str) -> None:
    """An error with the status of a success."""
    error = b'{"error": {"message": "the model is overloaded", "type": "server_error", "code": "overloaded"}}'
    writer.write(STREAM_HEAD + chunk(b"data: " + error + b"\n\n") + b"0\r\n\r\n" if stream else whole(error))


async def idle(writer: asyncio.StreamWriter, stream: bool, place: str) -> None:
    """A stream that begins and then has nothing to say."""
    writer.write(STREAM_HEAD + event("Well"))
    await writer.drain()
    await asyncio.sleep(EXPIRED_SOON)


async def steady(writer: asyncio.StreamWriter, stream: bool, place: str) -> None:
    """A stream that goes on until it is cut."""
    writer.write(STREAM_HEAD)
    while True:
        writer.write(event("and "))
        await writer.drain()
        await asyncio.sleep(0.02)


WEATHER: Mapping[str, Send] = {
    send.__name__: send
    for send in (
        good, hang, reset, drip, half, no_json, html, busy, broken, crash, empty, garbage, long_head, long_event, told,
        idle, steady,
    )
}  # fmt: skip


class Upstream:
    """Serves every kind of weather, and writes down who came."""

    def __init__(self, diary: Path) -> None:
        self._diary = diary.open("a", buffering=1, encoding="utf-8")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._diary.write("connection\n")
        serving = None
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
                body = await reader.readexactly(length)
                act = head.split(b" ")[1].decode().split("/")[1]
                self._diary.write(f"{act}\n")
                asked = json.loads(body or b"{}")
                if act == "redirect":
                    where = head.split(b" ")[1].split(b"/", 3)[2].decode()
                    writer.write(
                        whole(
                            b"", status="307 Temporary Redirect", more=f"location: http://127.0.0.1:{where}/good/v1\r\n"
                        )
                    )
                    continue
                serving = asyncio.ensure_future(WEATHER[act](writer, bool(asked.get("stream")), asked["model"]))
                gone = asyncio.ensure_future(reader.read(1)) if act in _ENDLESS else serving
                await asyncio.wait((serving, gone), return_when=asyncio.FIRST_COMPLETED)
                if act in _ENDLESS:
                    return
                await serving
                await writer.drain()
                if writer.is_closing():
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            if serving is not None:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)
            writer.close()


_ENDLESS = frozenset({"hang", "drip", "long_head", "long_event", "idle", "steady"})


async def main(diary: Path, certificate: str | None = None, key: str | None = None) -> None:
    tls = None
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)  # connections that are reset are what this is for
    server = await asyncio.start_server(Upstream(diary).serve, "127.0.0.1", 0, backlog=BACKLOG, ssl=tls)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
