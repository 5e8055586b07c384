"""A wake-up call that may come early: cheap to postpone, since that changes nothing in the event loop."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from tundish.core.clock import Clock


class Alarm:
    """Calls `ring` once, no later than it was last asked to; whoever is called looks whether it is time yet."""

    def __init__(self, ring: Callable[[], None], *, clock: Clock) -> None:
        self._ring = ring
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._due_s = math.inf

    def ring_by(self, due_s: float) -> None:
        """Ring at `due_s` (finite, on the monotonic clock) at the latest."""
        if self._due_s <= due_s:
            return
        self.cancel()
        self._due_s = due_s
        self._task = asyncio.create_task(self._wait(due_s - self._clock.monotonic_s()))

    def cancel(self) -> None:
        """Do not ring."""
        self._due_s = math.inf
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _wait(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._due_s, self._task = math.inf, None
        self._ring()
