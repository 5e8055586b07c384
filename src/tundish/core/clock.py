"""Time as a dependency, so that no test waits for it and a prompt's date is reproducible."""

from __future__ import annotations

import asyncio
import datetime
import heapq
import itertools
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

    async def sleep(self, seconds: float) -> None:
        """Return when `seconds` (finite) have passed."""
        ...


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime.datetime:
        return datetime.datetime.now().astimezone()

    monotonic_s = staticmethod(time.monotonic)  # asked several times for each request

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class FixedClock:
    """Stands still until told to move."""

    def __init__(self, now: datetime.datetime) -> None:
        self._now = now
        self._monotonic_s = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> datetime.datetime:
        return self._now

    def monotonic_s(self) -> float:
        return self._monotonic_s

    async def sleep(self, seconds: float) -> None:
        """Return when `advance` has moved the clock that far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic_s + seconds, next(self._order), woken))
        await woken

    def advance(self, seconds: float) -> None:
        """Move both clocks forward by `seconds` and wake who slept until then."""
        self._now += datetime.timedelta(seconds=seconds)
        self._monotonic_s += seconds
        while self._sleepers and self._sleepers[0][0] <= self._monotonic_s:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)
