"""Time as a dependency, so that no test waits for it and a prompt's date is reproducible."""

from __future__ import annotations

import datetime
import time
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> datetime.datetime:
        """The wall clock, with its time zone."""
        ...

    def monotonic_s(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        ...


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime.datetime:
        return datetime.datetime.now().astimezone()

    def monotonic_s(self) -> float:
        return time.monotonic()


class FixedClock:
    """Stands still until told to move."""

    def __init__(self, now: datetime.datetime) -> None:
        self._now = now
        self._monotonic_s = 0.0

    def now(self) -> datetime.datetime:
        return self._now

    def monotonic_s(self) -> float:
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Move both clocks forward by `seconds`."""
        self._now += datetime.timedelta(seconds=seconds)
        self._monotonic_s += seconds
