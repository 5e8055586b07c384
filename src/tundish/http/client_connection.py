"""One connection of the client, one exchange at a time."""

from __future__ import annotations

import asyncio
import collections
import ssl
from typing import cast

import httptools

from tundish.http.errors import ConnectionLost, ResponseInvalid, ResponseTimeout

_MAX_HEADER_BYTES = 64 * 1024
_BUFFERED_LIMIT_BYTES = 1024 * 1024
"""Unread body bytes above which the peer is told to wait."""


class ClientConnection(asyncio.Protocol):
    """Sends a request, then hands on the response: its head when that is complete, its body as it comes."""

    def __init__(self, between_bytes_s: float | None) -> None:
        self._between_bytes_s = between_bytes_s
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._reset()
        self._complete = True  # nothing is going on yet

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: collections.deque[bytes] = collections.deque()
        self._buffered = 0
        self._paused = False
        self._head_complete = False
        self._complete = False
        self._keep_alive = False
        self._head_only = False
        self._until_close = False
        self._head_bytes = 0
        self._failure: Exception | None = None
        self.status = 0
        self.headers: dict[str, str] = {}
        self.received_anything = False

    @property
    def reusable(self) -> bool:
        """Whether the last exchange is over and the connection is good for another."""
        return (
            self._complete
            and self._keep_alive
            and not self._paused
            and self._failure is None
            and self._transport is not None
            and not self._transport.is_closing()
        )

    def close(self) -> None:
        """End the connection without waiting for anything."""
        self._until_close = False  # our closing completes no body
        if self._transport is not None:
            self._transport.abort()

    async def start_tls(self, tls: ssl.SSLContext, host: str) -> None:
        """Go on encrypted, through the tunnel that the peer has opened."""
        if self._transport is None:
            raise ConnectionLost("The proxy closed the connection.")
        loop = asyncio.get_running_loop()
        self._transport = await loop.start_tls(self._transport, self, tls, server_hostname=host)

    async def send(self, request: bytes, *, head_only: bool, first_byte_s: float | None) -> None:
        """Write a request and wait for the response's head; closes the connection when that fails."""
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ConnectionLost("The connection was closed.")
        self._reset()
        self._head_only = head_only
        try:
            transport.write(request)
            if first_byte_s is None:
                await self._head()
            else:
                async with asyncio.timeout(first_byte_s):
                    await self._head()
        except BaseException as error:
            self.close()
            if isinstance(error, TimeoutError):
                raise ResponseTimeout(f"The peer did not answer within {first_byte_s:g} s.") from None
            raise

    async def next_chunk(self) -> bytes:
        """The next piece of the body; empty at its end."""
        while not self._chunks:
            if self._complete:
                return b""
            if self._between_bytes_s is None:
                await self._wait()
                continue
            try:
                async with asyncio.timeout(self._between_bytes_s):
                    await self._wait()
            except TimeoutError:
                self.close()
                raise ResponseTimeout(f"The peer sent nothing for {self._between_bytes_s:g} s.") from None
        chunk = self._chunks.popleft() if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return chunk

    async def _head(self) -> None:
        while not self._head_complete:
            await self._wait()

    async def _wait(self) -> None:
        """Until something has arrived."""
        if self._failure is not None:
            raise self._failure
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, failure: Exception) -> None:
        if self._failure is None and not self._complete:
            self._failure = failure
        self._wake()

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # asyncio sets TCP_NODELAY on its own

    def data_received(self, data: bytes) -> None:
        self.received_anything = True
        if self._complete:
            self.close()  # nobody asked for this: what else is wrong with this peer's framing?
            return
        in_head = not self._head_complete
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._give_up(ResponseInvalid("The peer wants to change the protocol."))
        except httptools.HttpParserError as error:
            self._give_up(ResponseInvalid(f"The peer does not speak HTTP: {error}."))
        if in_head:
            # Counted as it comes, since llhttp collects one endless header without a word to us.
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEADER_BYTES and not self._head_complete:
                self._give_up(ResponseInvalid(f"The response's head is larger than {_MAX_HEADER_BYTES} bytes."))
        self._wake()

    def _give_up(self, failure: Exception) -> None:
        self._fail(failure)
        self.close()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._head_complete and self._until_close and exc is None:
            self._complete = True
        self._fail(ConnectionLost("The connection ended before the response did."))
        self._transport = None

    # --- httptools ---

    def on_message_begin(self) -> None:
        """Part of llhttp's callbacks."""
        if self._complete:
            raise ResponseInvalid("The peer answered twice.")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Part of llhttp's callbacks."""
        if self._head_complete:
            return  # a trailer: nothing here has a use for it
        key, text = name.decode("latin-1").lower(), value.rstrip(b" \t").decode("latin-1")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        """Part of llhttp's callbacks."""
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self.headers = {}
            return
        self.status = status
        self._head_complete = True
        framed = "content-length" in self.headers or "chunked" in self.headers.get("transfer-encoding", "").lower()
        bodiless = self._head_only or status in (204, 304)
        self._until_close = not framed and not bodiless
        self._keep_alive = self._parser.should_keep_alive() and not self._until_close
        if self._head_only:
            self._complete = True

    def on_body(self, body: bytes) -> None:
        """Part of llhttp's callbacks."""
        self._chunks.append(body)
        self._buffered += len(body)
        if self._buffered > _BUFFERED_LIMIT_BYTES and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """Part of llhttp's callbacks."""
        if self._head_complete:
            self._complete = True
