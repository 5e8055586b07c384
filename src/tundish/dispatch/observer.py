"""Who is told of every request: metrics, and whoever else counts."""

from __future__ import annotations

from typing import Protocol

import msgspec

from tundish.core.events import Usage
from tundish.ledger.receipt import Attempt
from tundish.routing.decision import Decision


class RequestRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one request."""

    model: str
    """The route that the client named."""
    outcome: str
    """`ok`, `cancelled` (the client went away) or an error's code."""
    duration_s: float
    time_to_first_token_s: float | None
    """None when nothing was generated."""
    usage: Usage | None
    """None unless the backend finished."""
    deployment: str = ""
    """Who answered; empty when nobody did."""
    attempts: tuple[Attempt, ...] = ()
    decision: Decision | None = None
    cost_nano_usd: int | None = None
    """None: unknown."""


class Observer(Protocol):
    """Told of every request; must be quick and must not raise."""

    def request_started(self, model: str) -> None:
        """A generation begins."""
        ...

    def request_ended(self, record: RequestRecord) -> None:
        """It ended, one way or another; called exactly once for each start."""
        ...
