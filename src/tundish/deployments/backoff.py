"""Not to try again what has just failed."""

from __future__ import annotations

from tundish.core.clock import Clock

_DOUBLINGS = 32
"""More would only overflow."""


class Backoff:
    """The last failure, and when a request may be the occasion to try again: later with each failure in a row."""

    def __init__(self, *, first_s: float, limit_s: float, clock: Clock) -> None:
        self._first_s = first_s
        self._limit_s = limit_s
        self._clock = clock
        self._in_a_row = 0
        self._retry_at_s = 0.0
        self.reason: str | None = None
        """Of the last failure; None when there is nothing to hold against trying."""

    @property
    def wait_s(self) -> float:
        """Seconds until the next try."""
        return 0.0 if self.reason is None else max(0.0, self._retry_at_s - self._clock.monotonic_s())

    @property
    def suspicious(self) -> bool:
        """Whether there were failures since it last proved that it works."""
        return self._in_a_row > 0

    def failed(self, reason: str) -> None:
        """Another failure."""
        delay_s = min(self._limit_s, self._first_s * 2.0 ** min(self._in_a_row, _DOUBLINGS))
        self._in_a_row += 1
        self.reason = reason
        self._retry_at_s = self._clock.monotonic_s() + delay_s

    def trying(self) -> None:
        """It is tried again; only `proved` makes the next failure the first one."""
        self.reason = None

    def proved(self) -> None:
        """It works."""
        self._in_a_row = 0
