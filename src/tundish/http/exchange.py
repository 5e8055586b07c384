"""The response side of one request."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Sequence
from typing import Protocol

from tundish.http.head import DateLine, encode_head, has_body
from tundish.http.message import HttpRequest

_JOINED_BYTES = 64 * 1024
"""Up to here one copy is cheaper than a second write."""


class Channel(Protocol):
    """What an exchange needs of its connection."""

    @property
    def transport(self) -> asyncio.Transport: ...

    @property
    def write_paused(self) -> bool:
        """The client takes less than is written."""
        ...

    @property
    def last_exchange(self) -> bool:
        """The connection ends with this response, whatever the client wants."""
        ...

    @property
    def unsent_hard_bytes(self) -> int: ...

    def write(self, data: bytes) -> None:
        """Send it, at the end of this turn of the loop at the latest."""
        ...

    async def drained(self) -> None:
        """Wait until the client has caught up, or is gone."""
        ...

    def response_over(self, *, close: bool) -> None:
        """The response is written."""
        ...

    def cut(self) -> None:
        """End the connection so that the client notices."""
        ...

    def give_up(self) -> None:
        """As `cut`, and the handler is cancelled as if the client had gone."""
        ...


class _State(enum.Enum):
    NEW = "new"
    STREAMING = "streaming"
    OVER = "over"
    LOST = "lost"


class Exchange:
    """Answer with `respond`, or with `start`, `write` … `finish`. When the client is gone, all of them do nothing."""

    __slots__ = ("_channel", "_chunked", "_close", "_date", "_head", "_request", "_silent", "_state", "_transport")

    def __init__(self, channel: Channel, request: HttpRequest, date: DateLine) -> None:
        self._channel = channel
        self._transport = channel.transport
        self._request = request
        self._date = date
        self._state = _State.NEW
        self._head = b""
        self._chunked = False
        self._close = False
        self._silent = False

    @property
    def started(self) -> bool:
        """Whether a status has been promised to the client."""
        return self._state is not _State.NEW

    @property
    def over(self) -> bool:
        """Whether nothing more can be written."""
        return self._state is _State.OVER or self._state is _State.LOST

    def respond(self, status: int, headers: Sequence[tuple[str, str]], body: bytes = b"") -> None:
        """The whole response.

        Raises:
            ValueError: a status or header that cannot be sent; nothing has been written then.
        """
        if self._state is not _State.NEW:
            self._out_of_turn("respond")
            return
        with_body = has_body(status)
        head = self._encode(status, headers, f"content-length: {len(body)}" if with_body else None)
        self._state = _State.OVER
        if not body or not with_body or self._request.method == "HEAD":
            self._channel.write(head)
        elif len(body) <= _JOINED_BYTES:
            self._channel.write(head + body)
        else:
            self._channel.write(head)
            self._channel.write(body)
        self._channel.response_over(close=self._close)

    def start(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        """Begin a response of unknown length. The head travels with the first `write`, or with `drain`.

        Raises:
            ValueError: as for `respond`.
        """
        if self._state is not _State.NEW:
            self._out_of_turn("start")
            return
        with_body = has_body(status)
        self._chunked = self._request.version != "1.0"
        self._silent = not with_body or self._request.method == "HEAD"
        self._head = self._encode(
            status, headers, "transfer-encoding: chunked" if self._chunked and with_body else None, streamed=with_body
        )
        self._state = _State.STREAMING

    def write(self, data: bytes) -> None:
        """A piece of the body, on its way at once."""
        if self._state is not _State.STREAMING:
            self._out_of_turn("write")
            return
        if self._silent or not data or self._transport.is_closing():  # an empty chunk would be the last
            return
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if self._head:
            data = self._head + data
            self._head = b""
        self._channel.write(data)
        if self._channel.write_paused and self._transport.get_write_buffer_size() > self._channel.unsent_hard_bytes:
            self._channel.give_up()

    async def drain(self) -> None:
        """Return at once, unless the client reads slower than we write."""
        if self._head and self._state is _State.STREAMING:
            self._channel.write(self._head)
            self._head = b""
        if self._channel.write_paused:
            await self._channel.drained()
        elif self._transport.is_closing():
            await asyncio.sleep(0)  # for the cancellation to arrive

    def finish(self) -> None:
        """The body is complete."""
        if self._state is not _State.STREAMING:
            self._out_of_turn("finish")
            return
        self._state = _State.OVER
        end = b"0\r\n\r\n" if self._chunked and not self._silent else b""
        if self._head or end:
            self._channel.write(self._head + end)
        self._channel.response_over(close=self._close)

    def abort(self) -> None:
        """Cut the connection: the client must not take what it has for complete."""
        if not self.over:
            self._state = _State.LOST
            self._channel.cut()

    def lost(self) -> bool:
        """The connection says that the client is gone; whether that leaves the response incomplete."""
        incomplete = not self.over
        if incomplete:
            self._state = _State.LOST
        return incomplete

    def _encode(
        self, status: int, headers: Sequence[tuple[str, str]], framing: str | None, *, streamed: bool = False
    ) -> bytes:
        request = self._request
        old = request.version == "1.0"
        self._close = not request.keep_alive or self._channel.last_exchange or (streamed and old)
        lines = [self._date()]
        if framing is not None:
            lines.append(framing)
        if self._close:
            lines.append("connection: close")
        elif old:
            lines.append("connection: keep-alive")
        return encode_head(status, headers, *lines)

    def _out_of_turn(self, what: str) -> None:
        if self._state is not _State.LOST:
            raise RuntimeError(f"{what}() is out of turn: the response is {self._state.value}.")
