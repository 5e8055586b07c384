"""Who waits for one model to be loaded."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence

from tundish.core.errors import TundishError
from tundish.deployments.life import Life


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Waiter:
    """A request, or an operator who only wants the model loaded."""

    loaded: asyncio.Future[Life]
    is_request: bool
    keep_alive_s: float | None


class LoadQueue:
    """Everybody is told: that the model is loaded, or why not. One that is cancelled leaves its place at once."""

    def __init__(self) -> None:
        self._waiters: list[Waiter] = []

    def __len__(self) -> int:
        return len(self._waiters)

    def join(self, *, is_request: bool, keep_alive_s: float | None) -> Waiter:
        """A new place."""
        loaded: asyncio.Future[Life] = asyncio.get_running_loop().create_future()
        waiter = Waiter(loaded, is_request, keep_alive_s)
        self._waiters.append(waiter)
        return waiter

    def withdraw(self, waiter: Waiter) -> Life | None:
        """`waiter` was cancelled. Returns what it was given in the same moment, which it must give back."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
            return None
        loaded = waiter.loaded
        return None if loaded.cancelled() or loaded.exception() is not None else loaded.result()

    def refuse(self, error: TundishError) -> None:
        """The model will not be loaded for those who wait now."""
        for waiter in self.take():
            waiter.loaded.set_exception(error)

    def take(self) -> Sequence[Waiter]:
        """All who still wait; they are the caller's to tell."""
        waiters, self._waiters = self._waiters, []
        return [waiter for waiter in waiters if not waiter.loaded.done()]

    @property
    def wanted(self) -> bool:
        """Whether anybody still waits."""
        return any(not waiter.loaded.done() for waiter in self._waiters)
