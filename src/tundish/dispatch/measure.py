"""What was measured lately, as a decaying mean: recent measurements count more, old ones are forgotten."""

from __future__ import annotations

_HALF_LIFE_SAMPLES = 8.0
_HALF_LIFE_S = 60.0
_FORGOTTEN_S = 900.0
_SAME = 0.001


class DecayingMean:
    """A measurement loses half of its weight with every 8 newer ones, and with every minute until the next."""

    __slots__ = ("_at_s", "_exact", "_mean", "_rounded")

    def __init__(self) -> None:
        self._mean: float | None = None
        self._at_s = 0.0
        self._exact = self._rounded = 0.0

    def add(self, value: float, now_s: float) -> None:
        """One more measurement at a monotonic time."""
        if self._mean is None:
            self._mean = value
        else:
            kept = 0.5 ** (1 / _HALF_LIFE_SAMPLES + max(0.0, now_s - self._at_s) / _HALF_LIFE_S)
            self._mean = kept * self._mean + (1 - kept) * value
        self._at_s = now_s

    def value(self, now_s: float) -> float | None:
        """The mean to two digits, so that noise alone makes no new snapshot; None when nothing was measured lately."""
        if self._mean is None or now_s - self._at_s > _FORGOTTEN_S:
            return None
        if abs(self._mean - self._exact) > self._exact * _SAME:  # else it would most likely be the same again
            self._exact, self._rounded = self._mean, float(f"{self._mean:.2g}")
        return self._rounded
