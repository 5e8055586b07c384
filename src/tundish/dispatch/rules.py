"""How requests are tried again, and when a deployment is left alone."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RetryRules:
    """How often one request is tried, and all of them together."""

    attempts: int = 3
    """Of one request, the first included; hedges count."""
    budget_ratio: float = 0.2
    """Retries that each request of a route earns it."""
    budget_burst: float = 10.0
    """Retries that a route has at the start, and may save up."""
    backoff_first_s: float = 0.05
    """Before the same deployment is tried again; doubled each time, and drawn by chance from there down to 0."""
    backoff_limit_s: float = 2.0
    """Also how long a request waits for a deployment that said when to come back."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRules:
    """When a deployment's circuit opens."""

    failures: int = 5
    """In a row."""
    open_s: float = 10.0
    """Until a probe may go through."""
    probes: int = 1
    """At the same time while it is half open."""
    successes: int = 1
    """Of probes, until it closes."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """All of it, from the configuration."""

    retries: RetryRules = RetryRules()
    breaker: BreakerRules = BreakerRules()
    shadows: int = 16
    """Mirrored requests at the same time; one more is not mirrored."""
