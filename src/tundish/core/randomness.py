"""The system's randomness, fetched in larger pieces: a system call for each request costs more than what it is for."""

from __future__ import annotations

import os
import sys

_FETCHED_BYTES = 4096

_pool = memoryview(b"")


def random_bytes(count: int) -> bytes:
    """`count` bytes (at most 4096) as good as `os.urandom`'s, and given out only once. For one thread only."""
    global _pool
    if len(_pool) < count:
        _pool = memoryview(os.urandom(_FETCHED_BYTES))
    taken, _pool = _pool[:count], _pool[count:]
    return bytes(taken)


def _forget() -> None:
    global _pool
    _pool = memoryview(b"")


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget)  # or two processes would give out the same
