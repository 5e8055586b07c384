"""Which prompts llama.cpp still has, as far as can be told from outside: in its slots, or in its cache in memory."""

from __future__ import annotations

import collections
from collections.abc import Collection

_PROMPTS = 64
_BYTES = 4 * 1024 * 1024
_MORE_TOKENS = 32
"""Beyond a prefix, after which a common beginning is a conversation and not chance."""


class PromptMemory:
    """Packed ids of prompts, within bounds."""

    def __init__(self, *, moved_when_idle: bool) -> None:
        """`moved_when_idle`: llama.cpp has a cache in memory to which what slots hold is moved."""
        self._moves = moved_when_idle
        self._in_slots: dict[int, bytes] = {}
        self._moved: collections.deque[bytes] = collections.deque()
        self._moved_bytes = 0

    def computed(self, slot: int, ids: bytes) -> None:
        """A prompt was computed in `slot`. What it held is written over where half of it or more is the same."""
        before = self._in_slots.get(slot, b"")
        if not ids.startswith(before[: len(before) // 8 * 4]):
            self.replaced(slot)
        self._in_slots[slot] = ids

    def replaced(self, slot: int) -> None:
        """What `slot` held is where llama.cpp keeps such things, or gone."""
        before = self._in_slots.pop(slot, b"")
        if before and self._moves:
            self._moved.append(before)
            self._moved_bytes += len(before)
            while len(self._moved) > _PROMPTS or self._moved_bytes > _BYTES:
                self._moved_bytes -= len(self._moved.popleft())

    def continues(self, ids: bytes, *, beyond_tokens: int, idle: Collection[int]) -> bool:
        """Whether one that is in an `idle` slot, or was moved, begins as `ids` does, well beyond so many tokens."""
        beginning = ids[: (beyond_tokens + _MORE_TOKENS) * 4]
        in_slots = (prompt for slot, prompt in self._in_slots.items() if slot in idle)
        return any(prompt.startswith(beginning) for prompt in (*in_slots, *self._moved))

    def clear(self) -> None:
        """There are none."""
        self._in_slots.clear()
        self._moved.clear()
        self._moved_bytes = 0
