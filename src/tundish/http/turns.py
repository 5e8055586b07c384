"""Who may use one of a bounded number of connections: first come, first served."""

from __future__ import annotations

import asyncio
import collections

from tundish.http.errors import PoolFull

_COME_BACK_S = 1.0


class Turns:
    """`limit` turns at the same time, and at most `max_waiting` who wait for one."""

    __slots__ = ("_limit", "_max_waiting", "_queue", "_whose", "taken")

    def __init__(self, limit: int | None, max_waiting: int, whose: str) -> None:
        """`whose`: what is said to be busy."""
        self._limit = limit
        self._max_waiting = max_waiting
        self._whose = whose
        self._queue: collections.deque[asyncio.Future[None]] = collections.deque()
        self.taken = 0

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._queue)

    def take(self) -> bool:
        """Take a turn if one is free and nobody was here before."""
        if self._limit is not None and (self.taken >= self._limit or self._queue):
            return False
        self.taken += 1
        return True

    async def wait(self, within_s: float | None) -> None:
        """Take a turn as soon as everybody who came before has had one.

        Raises:
            PoolFull: too many wait already, or none was free within `within_s`.
        """
        if len(self._queue) >= self._max_waiting:
            raise PoolFull(
                f"All {self._limit} connections to {self._whose} are in use and {len(self._queue)} requests wait.",
                retry_after_s=_COME_BACK_S,
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            async with asyncio.timeout(within_s):
                await turn
        except TimeoutError:
            self._leave(turn)
            raise PoolFull(
                f"None of the {self._limit} connections to {self._whose} became free within {within_s:g} s.",
                retry_after_s=_COME_BACK_S,
            ) from None
        except BaseException:
            self._leave(turn)
            raise

    def give_back(self) -> None:
        """A turn is over: the next in the queue has it, or it is free."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.taken -= 1

    def refuse(self, failure: Exception) -> None:
        """Whoever waits gets `failure`."""
        queue, self._queue = self._queue, collections.deque()
        for turn in queue:
            if not turn.done():
                turn.set_exception(failure)

    def _leave(self, turn: asyncio.Future[None]) -> None:
        """Give up waiting. A turn that came in the same moment goes to the next."""
        if turn in self._queue:
            self._queue.remove(turn)
        elif turn.done() and not turn.cancelled() and turn.exception() is None:
            self.give_back()
