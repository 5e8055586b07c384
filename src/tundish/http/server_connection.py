"""One connection of the server: whose turn it is, and how it ends."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import enum
import logging
import math
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from tundish.core.errors import TundishError, Unavailable
from tundish.http.errors import RequestRefused
from tundish.http.exchange import Exchange
from tundish.http.head import DateLine, encode_head
from tundish.http.limits import Limits
from tundish.http.message import HttpRequest
from tundish.http.outbox import FEW, Outbox
from tundish.http.reader import Admit, BodyMemory, Phase, RequestReader

_log = logging.getLogger("tundish.http")

Handler = Callable[[HttpRequest, Exchange], Awaitable[None]]
Refuse = Callable[[TundishError], tuple[int, Sequence[tuple[str, str]], bytes]]

# struct linger has ints on POSIX and shorts on Windows; (1, 0): closing resets.
_RESET_ON_CLOSE = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


@dataclasses.dataclass(slots=True, kw_only=True)
class Service:
    """What the connections of a server share."""

    handler: Handler
    refuse: Refuse
    limits: Limits
    memory: BodyMemory
    changed: Callable[[], None]
    """Called when a request or a connection has ended."""
    admit: Admit | None = None
    outbox: Outbox = dataclasses.field(default_factory=Outbox)
    date: DateLine = dataclasses.field(default_factory=DateLine)
    connections: set[ServerConnection] = dataclasses.field(default_factory=lambda: set[ServerConnection]())
    running: set[Exchange] = dataclasses.field(default_factory=lambda: set[Exchange]())
    """Of the requests that are in their handlers, or about to be."""
    stopping: bool = False


class _Doing(enum.Enum):
    """What the timer may find a connection doing, each with a limit of its own."""

    WAITING = "waiting"  # for a request
    RECEIVING_HEAD = "receiving a head"
    RECEIVING_BODY = "receiving a body"
    HANDLING = "handling"
    SENDING = "sending"  # to a client that is slower than we are
    LINGERING = "lingering"


class ServerConnection(asyncio.Protocol):
    """One request after the other; reads on meanwhile, to notice when the client goes.

    The end of the client's stream always counts as going, as with nginx: a client that shuts down its sending side and
    still waits for an answer looks just like one that was closed, and a model must not work for nobody.
    """

    __slots__ = (
        "_ahead_bytes",
        "_doing",
        "_drain_waiters",
        "_exchange",
        "_lingering",
        "_pending",
        "_pending_bytes",
        "_read_paused",
        "_reader",
        "_service",
        "_since_s",
        "_task",
        "transport",
        "write_paused",
    )

    transport: asyncio.Transport

    def __init__(self, service: Service, peer: str) -> None:
        self._service = service
        self._reader = RequestReader(service.limits, service.memory, peer, service.admit)
        self._task: asyncio.Task[None] | None = None
        self._exchange: Exchange | None = None
        self._ahead_bytes = 0
        self._read_paused = False
        self._lingering = False
        self._drain_waiters: collections.deque[asyncio.Future[None]] = collections.deque()
        self._doing: tuple[_Doing, int, int] | None = None
        self._since_s = 0.0
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self.write_paused = False

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        service = self._service
        self.transport.set_write_buffer_limits(high=service.limits.unsent_bytes)
        service.connections.add(self)
        if service.stopping:
            self.transport.close()
        elif len(service.connections) > service.limits.connections:
            self._reader.ended = True
            self._write_refusal(Unavailable("The endpoint has as many connections as it may. Try again shortly."))
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        if self._task is None:
            self._take_turn()
            return
        self._ahead_bytes += len(data)
        if self._ahead_bytes > self._service.limits.pipelined_bytes and not self._read_paused:
            self._read_paused = True
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self._client_is_gone()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._service.connections.discard(self)
        self._pending.clear()
        self._pending_bytes = 0
        self.write_paused = False
        self._client_is_gone()
        self._reader.close()
        self._service.changed()

    def pause_writing(self) -> None:
        self.write_paused = True

    def resume_writing(self) -> None:
        self.write_paused = False
        self._wake()

    # --- exchange.Channel ---

    @property
    def last_exchange(self) -> bool:
        return self._service.stopping

    @property
    def unsent_hard_bytes(self) -> int:
        return self._service.limits.unsent_hard_bytes

    def write(self, data: bytes) -> None:
        service, pending = self._service, self._pending
        if not pending:
            if len(service.running) <= FEW:
                self.transport.write(data)
                return
            service.outbox.add(self)
        pending.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes > service.limits.unsent_bytes:
            self.flush()

    def flush(self) -> None:
        """Send what was put off to the end of the turn."""
        pending = self._pending
        if pending:
            data = pending[0] if len(pending) == 1 else b"".join(pending)
            pending.clear()
            self._pending_bytes = 0
            if not self.transport.is_closing():
                self.transport.write(data)

    async def drained(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._drain_waiters.append(waiter)
        try:
            await waiter
        finally:
            self._drain_waiters.remove(waiter)

    def response_over(self, *, close: bool) -> None:
        if close:
            self._reader.ended = True
            self.flush()
            self.transport.close()

    def cut(self) -> None:
        self.flush()
        with contextlib.suppress(OSError):  # it may just have gone
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()

    def give_up(self) -> None:
        self._client_is_gone()
        self.cut()

    # --- for the server ---

    def close_if_waiting(self) -> None:
        """End it unless a request is being received, handled or answered."""
        if self._task is None and self._reader.phase is Phase.IDLE and not self._lingering:
            self.flush()
            self.transport.close()

    def end(self) -> None:
        """End it now; the handler is cancelled."""
        if self._exchange is not None and not self._exchange.over:
            self.give_up()
        else:
            self.flush()
            self.transport.abort()

    @property
    def unsent_bytes(self) -> int:
        """Written, but not yet taken by the system."""
        return self._pending_bytes + self.transport.get_write_buffer_size()

    def look(self, now_s: float) -> None:
        """Called by the server's timer: whoever does the same thing for too long is stopped.

        Comparing with what was seen the last time keeps the clock out of the way of requests.
        """
        seen = self._seen()
        if seen != self._doing:
            self._doing = seen
            self._since_s = now_s
        elif now_s - self._since_s >= self._allowed_s(seen[0]):
            self._stop(seen[0])

    def _seen(self) -> tuple[_Doing, int, int]:
        """What it does; one of the numbers changes with each step forward."""
        reader = self._reader
        if self._lingering:
            return _Doing.LINGERING, 0, 0
        if self._task is not None and not self.write_paused:
            return _Doing.HANDLING, 0, 0
        if unsent := self.unsent_bytes:
            return _Doing.SENDING, unsent, 0
        match reader.phase:
            case Phase.IDLE:
                return _Doing.WAITING, reader.messages, 0
            case Phase.HEAD:
                return _Doing.RECEIVING_HEAD, reader.messages, 0
            case Phase.BODY:
                # Steps of a size: a fast start buys no time to be slow in, with the memory held.
                steps = reader.body_bytes // self._service.limits.body_step_bytes
                return _Doing.RECEIVING_BODY, reader.messages, steps

    def _allowed_s(self, doing: _Doing) -> float:
        limits = self._service.limits
        match doing:
            case _Doing.WAITING:
                return limits.idle_s
            case _Doing.RECEIVING_HEAD:
                return limits.head_s
            case _Doing.RECEIVING_BODY:
                return limits.body_s
            case _Doing.HANDLING:
                return math.inf
            case _Doing.SENDING:
                return limits.send_s
            case _Doing.LINGERING:
                return limits.linger_s

    def _stop(self, doing: _Doing) -> None:
        match doing:
            case _Doing.WAITING:
                self.transport.close()
            case _Doing.RECEIVING_HEAD | _Doing.RECEIVING_BODY:
                message = f"The request did not arrive in time: {doing.value} took too long."
                self._reader.fail(RequestRefused(message, status=408, code="request_timeout"))
                self._take_turn()
            case _Doing.SENDING:
                self.give_up()
            case _Doing.LINGERING:
                self.transport.abort()
            case _Doing.HANDLING:
                pass  # how long an answer may take is not a question of HTTP

    # --- turns ---

    def _take_turn(self) -> None:
        """Go on with what the reader has ready; nothing else is going on."""
        reader = self._reader
        if reader.ready:
            first = reader.ready[0]
            if isinstance(first, HttpRequest):
                self._task = asyncio.get_running_loop().create_task(self._work())
            else:
                reader.ready.clear()
                self._refuse(first)
        elif reader.expects_continue:
            reader.expects_continue = False
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def _work(self) -> None:
        """Handle the requests that are ready, one after the other."""
        service, ready = self._service, self._reader.ready
        while ready and isinstance(request := ready[0], HttpRequest):
            ready.popleft()
            self._exchange = exchange = Exchange(self, request, service.date)
            service.running.add(exchange)
            try:
                if self.write_paused:
                    await self.drained()  # this client has not even taken its previous response
                await service.handler(request, exchange)
                if not exchange.over:
                    raise RuntimeError("The handler returned without completing the response.")
            except asyncio.CancelledError as error:
                if _is_being_cancelled():
                    self._task = None  # which will know this error, which knows this frame and so this connection
                    raise
                self._fail(request, exchange, error)  # it leaked from something that the handler waited for
            except Exception as error:  # noqa: BLE001 - logged in _fail
                self._fail(request, exchange, error)
            finally:
                exchange.abort()  # does nothing to a complete response
                service.running.discard(exchange)
                self._exchange = None
                self._reader.release(request)
                service.changed()
            if self.transport.is_closing():
                self._task = None  # from here on the timer minds how the client takes what is unsent
                return
        self._task = None
        self._ahead_bytes = 0
        if self._read_paused:
            self._read_paused = False
            self.transport.resume_reading()
        self._take_turn()

    def _fail(self, request: HttpRequest, exchange: Exchange, error: BaseException) -> None:
        """The handler failed: tell the client, if it can still be told."""
        if not isinstance(error, TundishError):
            _log.error("%s %s failed", request.method, request.path, exc_info=error)
            error = TundishError("The endpoint failed to handle this request. Its log says why.")
        if exchange.started:
            exchange.abort()
            return
        exchange.respond(*self._service.refuse(error))

    def _refuse(self, error: TundishError) -> None:
        """Answer what never became a request, and read on for a moment: closing now would reset the connection
        and with it the answer, if the client is still sending."""
        self._write_refusal(error)
        self._lingering = True
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _write_refusal(self, error: TundishError) -> None:
        status, headers, body = self._service.refuse(error)
        if isinstance(error, RequestRefused):
            status = error.status
        lines = (self._service.date(), f"content-length: {len(body)}", "connection: close")
        self.write(encode_head(status, headers, *lines) + body)
        self.flush()

    def _client_is_gone(self) -> None:
        exchange, task = self._exchange, self._task
        if task is not None and (exchange is None or exchange.lost()):
            task.cancel()
        self._wake()

    def _wake(self) -> None:
        for waiter in self._drain_waiters:
            if not waiter.done():
                waiter.set_result(None)


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
