"""Who may use the child, and when: first come, first served, with a bounded queue."""

from __future__ import annotations

import asyncio
import collections
import dataclasses

from tundish.core.errors import Overloaded

_FIRST_GUESS_S = 2.0
_WEIGHT = 0.2
"""Of the newest duration in the running average."""


@dataclasses.dataclass(frozen=True, slots=True)
class Share:
    """What one request holds while it runs."""

    slots: int
    kv_tokens: int
    """Tokens of KV cache, prompts and answers together, for all its slots."""


class Admission:
    """Slots, the KV cache that they share, and the queue before them. A cancelled waiter leaves its place at once.

    llama.cpp ends *every* running request when the shared KV cache overflows, so each reserves the most it can need.
    The queue is strict: a large request at its head is not overtaken by small ones, or it would wait for ever.
    """

    def __init__(self, *, slots: int, kv_tokens: int, queue_limit: int) -> None:
        self.slots = slots
        self.kv_tokens = kv_tokens
        self.queue_limit = queue_limit
        self._free_slots = slots
        self._free_tokens = kv_tokens
        self._waiting: collections.deque[tuple[Share, asyncio.Future[None]]] = collections.deque()
        self._typical_s = _FIRST_GUESS_S
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def busy(self) -> int:
        """Slots in use."""
        return self.slots - self._free_slots

    @property
    def queued(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    async def enter(self, share: Share) -> None:
        """Wait until all of `share` is free; it must not be more than there is.

        Raises:
            Overloaded: the queue is full.
        """
        if not self._waiting and self._fits(share):
            self._take(share)
            return
        if len(self._waiting) >= self.queue_limit:
            raise Overloaded(
                f"All {self.slots} slots are busy and {len(self._waiting)} requests wait already. Send it again later.",
                retry_after_s=self.expected_wait_s(),
            )
        turn = asyncio.get_running_loop().create_future()
        entry = (share, turn)
        self._waiting.append(entry)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._give_back(share)  # its turn came in the same moment
            elif entry in self._waiting:
                self._waiting.remove(entry)
                self._admit()
            raise

    def leave(self, share: Share, *, held_s: float | None) -> None:
        """Give back what `enter` gave; `held_s` teaches the expected wait, None when it says nothing about it."""
        if held_s is not None:
            self._typical_s += _WEIGHT * (held_s - self._typical_s)
        self._give_back(share)

    async def idle(self) -> None:
        """Return when no slot is in use."""
        await self._idle.wait()

    def expected_wait_s(self) -> float:
        """Seconds until a request that came now would have its turn, from what requests took lately."""
        return max(1.0, self._typical_s * (len(self._waiting) + 1) / self.slots)

    def _fits(self, share: Share) -> bool:
        return share.slots <= self._free_slots and share.kv_tokens <= self._free_tokens

    def _take(self, share: Share) -> None:
        self._free_slots -= share.slots
        self._free_tokens -= share.kv_tokens
        self._idle.clear()

    def _give_back(self, share: Share) -> None:
        self._free_slots += share.slots
        self._free_tokens += share.kv_tokens
        self._admit()
        if self._free_slots == self.slots:
            self._idle.set()

    def _admit(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            share, turn = self._waiting.popleft()
            if not turn.done():
                self._take(share)
                turn.set_result(None)
            # else it was cancelled, and its task is about to notice
