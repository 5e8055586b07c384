"""The circuit breaker of one deployment."""

from __future__ import annotations

import enum

from tundish.dispatch.rules import BreakerRules
from tundish.routing.table import Circuit


class Entry(enum.Enum):
    """How an attempt was let through."""

    ORDINARY = "ordinary"
    PROBE = "probe"


class Breaker:
    """Closed until several attempts in a row have failed; then open for a while; then probed.

    Every attempt enters, and says exactly once how it went: `succeeded`, `failed` or `left` (neither: it was
    cancelled, or refused for reasons that say nothing of the deployment's health).
    """

    __slots__ = ("_failures", "_opened_s", "_probes", "_rules", "_state", "_successes", "opened")

    def __init__(self, rules: BreakerRules) -> None:
        self._rules = rules
        self._state = Circuit.CLOSED
        self._failures = 0
        self._successes = 0
        self._probes = 0
        self._opened_s = 0.0
        self.opened = 0
        """How often it has opened."""

    def state(self, now_s: float) -> Circuit:
        """The state at a monotonic time."""
        if self._state is Circuit.OPEN and now_s - self._opened_s >= self._rules.open_s:
            self._state = Circuit.HALF_OPEN
            self._probes = self._successes = 0
        return self._state

    def wants_probe(self, now_s: float) -> bool:
        """Whether it is half open and nobody tries it."""
        return self._state is not Circuit.CLOSED and self.state(now_s) is Circuit.HALF_OPEN and not self._probes

    def enter(self, now_s: float) -> Entry | None:
        """Let an attempt through; None: it must not be made."""
        if self._state is Circuit.CLOSED:
            return Entry.ORDINARY
        if self.state(now_s) is Circuit.OPEN or self._probes >= self._rules.probes:
            return None
        self._probes += 1
        return Entry.PROBE

    def succeeded(self, entry: Entry) -> bool:
        """The deployment answered; whether that changed the state."""
        if self._state is Circuit.CLOSED:
            self._failures = 0
            return False
        if entry is not Entry.PROBE or self._state is not Circuit.HALF_OPEN:
            return False  # from before it opened: says nothing about now
        self._probes -= 1
        self._successes += 1
        if self._successes < self._rules.successes:
            return False
        self._state = Circuit.CLOSED
        self._failures = 0
        return True

    def failed(self, entry: Entry, now_s: float) -> bool:
        """The deployment failed; whether that changed the state."""
        if self._state is Circuit.CLOSED:
            self._failures += 1
            if self._failures < self._rules.failures:
                return False
        elif entry is not Entry.PROBE or self._state is not Circuit.HALF_OPEN:
            return False
        self._state = Circuit.OPEN
        self._opened_s = now_s
        self._failures = 0
        self.opened += 1
        return True

    def left(self, entry: Entry) -> None:
        """The attempt came to no result."""
        if entry is Entry.PROBE and self._state is Circuit.HALF_OPEN and self._probes:
            self._probes -= 1
