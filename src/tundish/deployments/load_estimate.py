"""How long a load takes, from what it did before and how far it is."""

from __future__ import annotations

_FIRST_GUESS_BYTES_PER_S = 500e6
"""A cold disk, or weights that are repacked while they load."""
_WEIGHT = 0.5
"""Of the newest duration in the running average."""
_TELLING_PROGRESS = 0.05
"""Below this, what is left cannot be told from what was done."""


class LoadEstimate:
    """Learns from each load."""

    def __init__(self, *, memory_bytes: int) -> None:
        self._typical_s = memory_bytes / _FIRST_GUESS_BYTES_PER_S
        self._learned = False

    def loaded_in(self, seconds: float) -> None:
        """A load has taken this long."""
        self._typical_s = self._typical_s + _WEIGHT * (seconds - self._typical_s) if self._learned else seconds
        self._learned = True

    def remaining_s(self, *, elapsed_s: float, progress: float | None) -> float:
        """Seconds that a load still needs, at least one; `progress` (0 … 1) is what the engine says."""
        if progress is not None and progress >= _TELLING_PROGRESS:
            return max(1.0, elapsed_s * (1.0 - progress) / progress)
        return max(1.0, self._typical_s - elapsed_s)
