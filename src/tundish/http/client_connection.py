"""One connection of the client, one exchange at a time."""

from __future__ import annotations

import asyncio
import functools
import ssl
from typing import cast

import httptools

from tundish.http.errors import ConnectionLost, HttpError, ResponseInvalid, ResponseTimeout
from tundish.http.outbox import Outbox
from tundish.http.timeouts import Timeouts

_MAX_HEADER_BYTES = 64 * 1024
_NO_PARSER = httptools.HttpResponseParser(None)
_BUFFERED_LIMIT_BYTES = 1024 * 1024
"""Unread body bytes above which the peer is told to wait."""
_KNOWN_NAME_BYTES = 40


class ClientConnection(asyncio.Protocol):
    """Sends a request, then hands on the response: its head when that is complete, its body as it comes.

    All its time limits share one timer. It is not set anew for each chunk or exchange: when it fires, it looks whether
    a limit is really passed, and goes on for as long as the next one has left.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.idle_since_s = 0.0
        """When its last exchange ended, by the loop's clock."""
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: list[bytes] = []
        self._head_only = False
        self._unsent = b""
        self._reset(Timeouts())
        self._complete = True  # nothing is going on yet

    def _reset(self, timeouts: Timeouts) -> None:
        if self._head_only:
            self._parser = httptools.HttpResponseParser(self)  # the old one waits for a body that never came
        self._timeouts = timeouts
        self._chunks.clear()
        self._buffered = 0
        self._paused = False
        self._head_complete = False
        self._body_begun = False
        self._complete = False
        self._keep_alive = False
        self._head_only = False
        self._until_close = False
        self._head_bytes = 0
        self._failure: Exception | None = None
        self._sent_s = 0.0
        self._waiting_since_s: float | None = None
        """Since when somebody waits for more of the body."""
        self._deadline_s: float | None = None
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

    @property
    def complete(self) -> bool:
        """Whether the whole body has arrived, read or not."""
        return self._complete

    def close(self) -> None:
        """End the connection without waiting for anything."""
        self._until_close = False  # our closing completes no body
        if self._transport is not None:
            self._transport.abort()

    def abort(self, failure: Exception) -> None:
        """End the exchange at once: whoever reads it gets `failure`, even where more has arrived."""
        self._chunks.clear()
        self._complete = False
        self._failure = failure
        self.close()
        self._wake()

    async def start_tls(self, tls: ssl.SSLContext, host: str) -> None:
        """Go on encrypted, through the tunnel that the peer has opened."""
        if self._transport is None:
            raise ConnectionLost("The proxy closed the connection.")
        self._transport = await self._loop.start_tls(self._transport, self, tls, server_hostname=host)

    async def send(
        self, request: bytes, *, timeouts: Timeouts, head_only: bool = False, deadline_s: float | None = None
    ) -> None:
        """Write a request and wait for the response's head; closes the connection when that fails.

        Args:
            request: head and body.
            timeouts: those of this exchange; connecting is over.
            head_only: the response has no body, whatever its head says.
            deadline_s: by the loop's clock, when the whole body must have come.
        """
        self.begin(request, timeouts=timeouts, head_only=head_only, deadline_s=deadline_s)
        await self.head()

    def begin(
        self,
        request: bytes,
        *,
        timeouts: Timeouts,
        head_only: bool = False,
        deadline_s: float | None = None,
        outbox: Outbox | None = None,
    ) -> None:
        """The first half of `send`: write the request, at once or by `outbox`."""
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ConnectionLost("The connection was closed.")
        self._reset(timeouts)
        self._head_only = head_only
        self._sent_s = self._loop.time()
        self._deadline_s = deadline_s
        soonest_s = self._sent_s + timeouts.begin_s
        if deadline_s is not None and deadline_s < soonest_s:
            soonest_s = deadline_s
        if self._timer is None or self._timer.when() > soonest_s:
            self._set_timer()  # else the one of an earlier exchange fires soon enough
        if outbox is None:
            transport.write(request)
        else:
            self._unsent = request
            outbox.add(self)

    def flush(self) -> None:
        """Send what was left to the outbox."""
        request, self._unsent = self._unsent, b""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(request)

    async def head(self) -> None:
        """The second half of `send`: wait for the response's head."""
        try:
            while not self._head_complete:
                if self._failure is not None:
                    raise self._failure
                self._waiter = self._loop.create_future()
                await self._waiter
        except BaseException:
            self.close()
            raise
        finally:
            self._waiter = None

    def arrived(self) -> bytes | None:
        """The whole rest of the body, when all of it is there; None: ask for its chunks."""
        if not self._complete or self._paused or self._failure is not None:
            return None
        chunks, self._chunks = self._chunks, []
        self._buffered = 0
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def next_chunk(self) -> bytes:
        """The next piece of the body; empty at its end."""
        chunks = self._chunks
        while not chunks:
            if self._complete:
                return b""
            if self._timeouts.between_bytes_s is not None:
                self._waiting_since_s = now_s = self._loop.time()
                if self._timer is None or self._timer.when() > now_s + self._timeouts.between_bytes_s:
                    self._set_timer()
            await self._wait()
        self._waiting_since_s = None
        chunk = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._buffered = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return chunk

    async def finish(self, within_s: float) -> None:
        """Wait a moment for the end of a body of which nothing more is wanted, so that the connection stays good."""
        if self._complete:
            return
        try:
            async with asyncio.timeout(within_s):
                while await self.next_chunk():
                    pass
        except (TimeoutError, HttpError):
            self.close()

    async def _wait(self) -> None:
        """Until something has arrived."""
        if self._failure is not None:
            raise self._failure
        self._waiter = self._loop.create_future()
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

    def _give_up(self, failure: Exception) -> None:
        self._fail(failure)
        self.close()

    # --- time ---

    def _limits(self) -> list[tuple[float, str]]:
        """What the peer must not pass now: the time by the loop's clock, and what is said when it does."""
        limits = self._timeouts
        found: list[tuple[float, str]] = []
        if self._complete or self._failure is not None:
            return found
        if self._deadline_s is not None:
            found.append((self._deadline_s, f"The peer's answer was not complete within {limits.total_s:g} s."))
        if not self._head_complete and limits.first_byte_s is not None:
            found.append((self._sent_s + limits.first_byte_s, f"did not answer within {limits.first_byte_s:g} s."))
        if not self._body_begun and limits.first_body_byte_s is not None:
            begun_by_s = self._sent_s + limits.first_body_byte_s
            found.append((begun_by_s, f"did not begin its answer within {limits.first_body_byte_s:g} s."))
        elif self._waiting_since_s is not None and limits.between_bytes_s is not None:
            silent_s = limits.between_bytes_s
            found.append((self._waiting_since_s + silent_s, f"sent nothing for {silent_s:g} s."))
        return found

    def _set_timer(self) -> None:
        """See that it fires no later than the next limit; one that fires earlier does no harm."""
        when_s = min((when_s for when_s, _ in self._limits()), default=None)
        if when_s is None or (self._timer is not None and self._timer.when() <= when_s):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        limits = self._limits()
        if not limits:
            return
        when_s, what = min(limits)
        if self._loop.time() < when_s:
            self._set_timer()
            return
        self._give_up(ResponseTimeout(what if what.startswith("The peer") else f"The peer {what}"))

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # both event loops set TCP_NODELAY on their own

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

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._head_complete and self._until_close and exc is None:
            self._complete = True
        self._fail(ConnectionLost("The connection ended before the response did."))
        self._transport = None
        self._parser = _NO_PARSER  # the two know each other: nobody but the collector would free them
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- httptools ---

    def on_message_begin(self) -> None:
        """Part of llhttp's callbacks."""
        if self._complete:
            raise ResponseInvalid("The peer answered twice.")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Part of llhttp's callbacks."""
        if self._head_complete:
            return  # a trailer: nothing here has a use for it
        key = _name(name) if len(name) <= _KNOWN_NAME_BYTES else name.decode("latin-1").lower()
        text = value.decode("latin-1").rstrip(" \t")
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
        self._body_begun = True
        self._chunks.append(body)
        self._buffered += len(body)
        if self._buffered > _BUFFERED_LIMIT_BYTES and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """Part of llhttp's callbacks."""
        if self._head_complete:
            self._complete = True


@functools.lru_cache(maxsize=1024)
def _name(name: bytes) -> str:
    """Servers send the same names again and again."""
    return name.decode("latin-1").lower()
