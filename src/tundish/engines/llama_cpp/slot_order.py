"""Which slot holds what is missed least."""

from __future__ import annotations

from collections.abc import Iterable


class SlotOrder:
    """Remembers in which order slots were used, as far as the child told."""

    def __init__(self, slots: int, *, moved_when_idle: bool) -> None:
        """`moved_when_idle`: llama.cpp moves what idle slots hold to its cache in memory whenever a task begins."""
        self._used = [0] * slots
        self._holding: set[int] = set()
        self._now = 0
        self._moved_when_idle = moved_when_idle

    def launched(self) -> None:
        """A task begins."""
        if self._moved_when_idle:
            self._holding.clear()

    def holds(self, slot: int) -> None:
        """A task ended in this slot and left its state there."""
        if 0 <= slot < len(self._used):
            self._now += 1
            self._used[slot] = self._now
            self._holding.add(slot)

    def least_useful(self, idle: Iterable[int]) -> int | None:
        """The slot to overwrite; None when none is idle."""
        known = [slot for slot in idle if slot < len(self._used)]
        return min(known, key=lambda slot: (slot in self._holding, self._used[slot]), default=None)

    def would_lose(self, slot: int) -> bool:
        """Whether it holds something that can be moved before it is overwritten."""
        return self._moved_when_idle and slot in self._holding

    def clear(self) -> None:
        """All slots are empty."""
        self._used = [0] * len(self._used)
        self._holding.clear()
