"""How far a child is with loading: the memory that it has, of what it will have.

llama.cpp tells nobody outside its own process; what has been read, copied and mapped shows as resident memory on
every system.
"""

from __future__ import annotations

import psutil

_NEARLY = 0.99
"""Nothing is loaded before the child says so."""


class LoadProgress:
    """Of one child at a time."""

    def __init__(self, resident_bytes: int | None) -> None:
        """`resident_bytes`: what a child has when it is ready; None is unknown."""
        self._resident_bytes = resident_bytes
        self._process: psutil.Process | None = None
        self._fraction = 0.0

    def begin(self, pid: int) -> None:
        """Watch this child."""
        self._fraction = 0.0
        try:
            self._process = psutil.Process(pid)
        except psutil.Error:
            self._process = None

    def end(self) -> None:
        """It has loaded, or will never."""
        self._process = None

    def fraction(self) -> float | None:
        """0 … 1, never less than before; None when nothing loads or it cannot be told."""
        if self._process is None or not self._resident_bytes:
            return None
        try:
            resident = self._process.memory_info().rss
        except psutil.Error:
            return None
        self._fraction = max(self._fraction, min(_NEARLY, resident / self._resident_bytes))
        return self._fraction
