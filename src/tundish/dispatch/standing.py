"""How one deployment has done, request by request; becomes a `Condition` in each snapshot."""

from __future__ import annotations

from typing import cast

from tundish.core.backend import Backend, Health
from tundish.core.relay import RelayBackend
from tundish.dispatch.circuit import Breaker
from tundish.dispatch.measure import DecayingMean
from tundish.dispatch.rules import BreakerRules
from tundish.routing.table import Condition

_OUT_OF_USE = frozenset({Health.STOPPED, Health.RESTARTING})
"""FAILED is not among them: of a service elsewhere it is what its last request came to, and the circuit judges that."""


class Standing:
    """What is known of one deployment."""

    __slots__ = ("breaker", "first_token_s", "retry_at_s", "tokens_per_s")

    def __init__(self, rules: BreakerRules) -> None:
        self.breaker = Breaker(rules)
        self.first_token_s = DecayingMean()
        self.tokens_per_s = DecayingMean()
        self.retry_at_s = 0.0
        """Monotonic time before which it asked not to be called."""

    def condition(self, backend: Backend | None, now_s: float) -> Condition:
        """How it is doing; `backend` None: there is none."""
        if backend is None:
            return Condition(usable=False, reason="it is not here")
        status = backend.status()
        usable = status.health not in _OUT_OF_USE
        return Condition(
            usable=usable,
            reason="" if usable else status.detail or f"it is {status.health.value}",
            circuit=self.breaker.state(now_s),
            free_slots=max(0, status.slots - status.slots_busy) if status.slots else None,
            slots=status.slots or None,
            queued=status.queued,
            queue_room=max(0, status.queue_limit - status.queued) if status.queue_limit else None,
            retry_at_s=self._retry_at_s(backend, now_s),
            first_token_s=self.first_token_s.value(now_s),
            tokens_per_s=self.tokens_per_s.value(now_s),
        )

    def _retry_at_s(self, backend: Backend, now_s: float) -> float | None:
        at_s = self.retry_at_s
        if hasattr(backend, "rate_limits"):
            told = cast("RelayBackend", backend).rate_limits()
            at_s = max(at_s, (None if told is None else told.retry_at_s()) or 0.0)
        return at_s if at_s > now_s else None
