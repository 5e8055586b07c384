"""Signs of life on a stream that has nothing to say yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tundish.api.call import Call
from tundish.wire import sse

PING_AFTER_S = 15.0
"""Proxies and load balancers commonly cut a connection after 30 or 60 silent seconds."""


class Heartbeat:
    """Sends a comment whenever nothing was written for a while: a long prefill or a full queue must not look dead.

    The first one begins the response, since there is nothing else to hold on to; an error that comes later is then told
    in the stream instead of by its status. One timer for each stream, nothing on the way of an event but a number.
    """

    def __init__(self, call: Call, *, after_s: float, wrote: Callable[[bytes], None]) -> None:
        """`wrote`: told of what is sent."""
        self._call = call
        self._tell = wrote
        self._after_s = after_s
        self._loop = asyncio.get_running_loop()
        self._last_s = self._loop.time()
        self._timer = self._loop.call_later(after_s, self._look)

    def wrote(self) -> None:
        """Something else was written just now."""
        self._last_s = self._loop.time()

    def stop(self) -> None:
        """No more of it."""
        self._timer.cancel()

    def _look(self) -> None:
        if self._call.exchange.over:
            return
        silent_s = self._loop.time() - self._last_s
        if silent_s >= self._after_s:
            self._call.start_stream()
            self._call.exchange.write(sse.PING)
            self._tell(sse.PING)
            self._last_s, silent_s = self._loop.time(), 0.0
        self._timer = self._loop.call_later(self._after_s - silent_s, self._look)
