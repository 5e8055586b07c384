"""What waits to be written: bounded, and honest about what found no room."""

from __future__ import annotations

import collections
import threading
from collections.abc import Sequence

from tundish.ledger.layout import NO_SALT
from tundish.ledger.leaf import Entry, Gap


class Backlog:
    """Filled by one thread, emptied by another. Nothing here waits."""

    def __init__(self, first: Sequence[Entry], *, limit: int) -> None:
        self.limit = limit
        self._half = limit // 2
        self.taken = len(first)
        """Entries that came."""
        self.settled = 0
        """Entries that were written."""
        self.lost = 0
        """Entries that found no room."""
        self._waiting: collections.deque[tuple[Entry, bytes]] = collections.deque()
        self._held = [(entry, NO_SALT) for entry in first]
        self._gap: Gap | None = None
        self._gap_lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def half_full(self) -> bool:
        """Whether what is left of the room is for the requests that are under way."""
        return len(self._waiting) > self._half

    @property
    def unwritten(self) -> int:
        """What would be lost if nothing were written any more."""
        return len(self._waiting) + len(self._held) + (0 if self._gap is None else self._gap.lost)

    def take(self, entry: Entry, salt: bytes) -> bool:
        """Queue an entry; False if there is no room for it."""
        if len(self._waiting) >= self.limit:
            return False
        self._waiting.append((entry, salt))
        self.taken += 1
        return True

    def lose(self, at_us: int, reason: str) -> bool:
        """Count an entry that found no room; whether it is the first of a row."""
        with self._gap_lock:
            gap = self._gap
            self.lost += 1
            first_us = at_us if gap is None else gap.first_us
            lost = 1 if gap is None else gap.lost + 1
            self._gap = Gap(lost=lost, first_us=first_us, last_us=at_us, reason=reason if gap is None else gap.reason)
        return gap is None

    def batch(self, most: int) -> Sequence[tuple[Entry, bytes]]:
        """The next entries to write; the same and more until they are settled. A gap comes after all that had room."""
        while self._waiting and len(self._held) < most:
            self._held.append(self._waiting.popleft())
        if not self._held:
            with self._gap_lock:
                gap, self._gap = self._gap, None
                if gap is not None:
                    self._held.append((gap, NO_SALT))
                    self.taken += 1
        return self._held

    def settle(self) -> None:
        """The last batch is written."""
        self.settled += len(self._held)
        self._held = []
