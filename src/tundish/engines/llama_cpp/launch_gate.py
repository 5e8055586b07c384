"""Who may give the child a task: many together, or one alone."""

from __future__ import annotations

import asyncio
import collections


class LaunchGate:
    """First come, first served. Whoever fills a slot with a saved prefix is alone until its task has begun there.

    llama.cpp would else give the filled slot to a task that came in between, or clear it for one. Nobody waits longer
    than he would for llama.cpp itself, which begins tasks and fills slots between two batches.
    """

    def __init__(self) -> None:
        self._together = 0
        self._alone = False
        self._waiting: collections.deque[tuple[bool, asyncio.Future[None]]] = collections.deque()

    async def enter(self, *, alone: bool = False) -> None:
        """Wait until it is free, then take it; to be given back with `leave`."""
        if not self._waiting and self._free_for(alone=alone):
            self._take(alone=alone)
            return
        turn = asyncio.get_running_loop().create_future()
        entry = (alone, turn)
        self._waiting.append(entry)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.leave(alone=alone)  # its turn came in the same moment
            elif entry in self._waiting:
                self._waiting.remove(entry)
                self._admit()
            raise

    def leave(self, *, alone: bool = False) -> None:
        """Give back what `enter` took."""
        if alone:
            self._alone = False
        else:
            self._together -= 1
        self._admit()

    def _free_for(self, *, alone: bool) -> bool:
        return not self._alone and not (alone and self._together)

    def _take(self, *, alone: bool) -> None:
        if alone:
            self._alone = True
        else:
            self._together += 1

    def _admit(self) -> None:
        while self._waiting and self._free_for(alone=self._waiting[0][0]):
            alone, turn = self._waiting.popleft()
            if not turn.done():
                self._take(alone=alone)
                turn.set_result(None)
