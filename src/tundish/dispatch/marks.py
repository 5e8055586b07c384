"""Classes of conversations, shared by all processes of an endpoint the moment they rise.

A Bloom filter in memory that the processes map together. A cell is a byte that is only ever set, so that no lock is
needed and nothing that one process has written is undone by another. It may take a conversation for one that has risen
(about one in 80 000 at worst), which keeps its data closer than it had to be; it never takes one that has risen for
one that has not, until it is forgotten.

Two generations: marks go to the current one, and are looked for in both. When the current one is full, the other one is
emptied and becomes current; conversations that still speak are marked again by each of their requests. So at least the
latest 100 000 or so (`CELLS * FULL / CELLS_PER_MARK`) are known at any time.
"""

from __future__ import annotations

import hashlib
import mmap
import struct
import zlib

CELLS = 1 << 24
"""Of one generation, a byte each."""
CELLS_PER_MARK = 8
"""Four for its class, four for having one."""
FULL = 0.05
"""The share of cells that may be set."""
HEADER_BYTES = mmap.ALLOCATIONGRANULARITY
SHARED_BYTES = HEADER_BYTES + 2 * CELLS

_SET = b"\x01"
_unpack = struct.Struct("<4Q").unpack


class SharedMarks:
    """What the processes map; each has an object of its own over the same memory. Microseconds, never waits."""

    def __init__(self, memory: mmap.mmap) -> None:
        """`memory`: SHARED_BYTES, zeros before the first one."""
        self._memory = memory
        self._offsets: dict[str, int] = {}

    def add(self, conversation: str, data_class: str) -> None:
        """From now on every process knows that the conversation has had this class."""
        memory = self._memory
        start = HEADER_BYTES + memory[0] * CELLS
        hashed = _hashed(conversation)
        for named in (data_class, ""):
            for cell in self._cells(hashed, named):
                memory[start + cell] = 1

    def has(self, conversation: str, data_class: str) -> bool:
        """Whether it has had this class; of the class "", whether it has had any."""
        memory = self._memory
        cells = self._cells(_hashed(conversation), data_class)
        return any(all(memory[start + cell] for cell in cells) for start in (HEADER_BYTES, HEADER_BYTES + CELLS))

    def turn_over(self) -> bool:
        """Begin a new generation if the current one is full; whether it did. For one of the processes, now and then."""
        memory, current = self._memory, self._memory[0]
        start = HEADER_BYTES + current * CELLS
        if memory[start : start + CELLS].count(_SET) < CELLS * FULL:
            return False
        other = 1 - current
        memory[HEADER_BYTES + other * CELLS : HEADER_BYTES + (other + 1) * CELLS] = bytes(CELLS)
        memory[0] = other
        return True

    def _cells(self, hashed: tuple[int, ...], data_class: str) -> list[int]:
        offset = self._offsets.get(data_class)
        if offset is None:
            offset = self._offsets[data_class] = zlib.crc32(data_class.encode("utf-8", "surrogatepass"))
        return [(part + offset * (2 * number + 1)) % CELLS for number, part in enumerate(hashed)]


def _hashed(conversation: str) -> tuple[int, ...]:
    return _unpack(hashlib.blake2b(conversation.encode("utf-8", "surrogatepass"), digest_size=32).digest())
