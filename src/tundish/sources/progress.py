"""How a pull goes, as events for whoever shows it."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable
from typing import TypeAlias

from tundish.core.clock import Clock

_WINDOW_S = 10.0
_EVERY_S = 0.2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PullStarted:
    """The files are known and begin to arrive."""

    model: str
    files: int
    total_bytes: int | None
    """None: the source has not said for every file yet."""
    arrived_bytes: int
    """From an earlier attempt."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PullProgress:
    """Some more is here."""

    arrived_bytes: int
    total_bytes: int | None
    bytes_per_s: float
    """Over the last ten seconds."""
    left_s: float | None
    """None: cannot be told yet."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PullWaiting:
    """Another process is fetching the same model; its files will be ours too."""

    model: str
    arrived_bytes: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PullNote:
    """Something that a person would want to know: a retry, a fresh start."""

    text: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PullFinished:
    """The model is here. `fetched`: it was not before."""

    model: str
    size_bytes: int
    fetched: bool


PullEvent: TypeAlias = PullStarted | PullProgress | PullWaiting | PullNote | PullFinished
OnEvent: TypeAlias = Callable[[PullEvent], None]


class Meter:
    """Adds up the files of one pull and says how fast they come, at most five times a second."""

    def __init__(self, clock: Clock, on_event: OnEvent) -> None:
        self._clock, self._on_event = clock, on_event
        self._arrived: dict[str, int] = {}
        self._sizes: dict[str, int | None] = {}
        self._history: collections.deque[tuple[float, int]] = collections.deque()
        self._reported_s = float("-inf")

    def expect(self, name: str, size_bytes: int | None, *, arrived_bytes: int | None = None) -> None:
        """A file of that size will come; so much of it is here from an earlier attempt."""
        self._sizes[name] = size_bytes
        self._arrived.setdefault(name, 0)
        if arrived_bytes is not None:
            self._arrived[name] = arrived_bytes

    @property
    def total_bytes(self) -> int | None:
        """All files, or None while one is unknown."""
        known = [size for size in self._sizes.values() if size is not None]
        return sum(known) if len(known) == len(self._sizes) else None

    @property
    def arrived_bytes(self) -> int:
        """All files."""
        return sum(self._arrived.values())

    def arrived(self, name: str, total_bytes: int) -> None:
        """So much of the file is here."""
        now_s = self._clock.monotonic_s()
        # What was there before this process, or was thrown away, is no speed.
        jumped = total_bytes < self._arrived.get(name, 0) or not self._history
        self._arrived[name] = total_bytes
        if jumped:
            self._history.clear()
        self._history.append((now_s, self.arrived_bytes))
        while len(self._history) > 2 and now_s - self._history[0][0] > _WINDOW_S:
            self._history.popleft()
        if now_s - self._reported_s >= _EVERY_S or self.arrived_bytes == self.total_bytes:
            self._reported_s = now_s
            self._on_event(self.progress())

    def progress(self) -> PullProgress:
        """Where the pull stands now."""
        rate = 0.0
        if len(self._history) > 1:
            (then_s, then), (now_s, now) = self._history[0], self._history[-1]
            rate = (now - then) / (now_s - then_s) if now_s > then_s else 0.0
        total = self.total_bytes
        left_s = (total - self.arrived_bytes) / rate if total is not None and rate > 0 else None
        return PullProgress(arrived_bytes=self.arrived_bytes, total_bytes=total, bytes_per_s=rate, left_s=left_s)
