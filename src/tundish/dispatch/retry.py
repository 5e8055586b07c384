"""Trying again: what it may cost, how long to wait, and when there is any use in it."""

from __future__ import annotations

from tundish.core.errors import BackendStopped, InvalidRequest, Overloaded, TundishError, Unavailable
from tundish.dispatch.rules import RetryRules

_OTHERS_MAY_TAKE_IT = frozenset({"context_length_exceeded", "unsupported_parameter", "unsupported_schema"})
"""Codes of refusals that say something about the deployment and not only about the request."""


class RetryBudget:
    """A token bucket: requests earn retries, so that a broken service gets a fraction more load and not a multiple."""

    __slots__ = ("_burst", "_ratio", "_saved")

    def __init__(self, rules: RetryRules) -> None:
        self._ratio = rules.budget_ratio
        self._burst = rules.budget_burst
        self._saved = rules.budget_burst

    def earn(self) -> None:
        """A request has come."""
        if self._saved < self._burst:
            self._saved = min(self._burst, self._saved + self._ratio)

    def spend(self) -> bool:
        """Whether one more attempt may be made; it is counted."""
        if self._saved < 1:
            return False
        self._saved -= 1
        return True


def backoff_s(rules: RetryRules, round_number: int, draw: float) -> float:
    """How long to wait before the order is gone through again, for the `round_number`-th time from 1.

    `draw`: 0 … 1, the jitter (full jitter: callers that failed together do not come back together).
    """
    most_s = min(rules.backoff_limit_s, rules.backoff_first_s * 2.0 ** min(round_number - 1, 30))
    return most_s * draw


def others_may_take_it(error: TundishError) -> bool:
    """Whether another deployment may succeed where this error came from."""
    return not isinstance(error, InvalidRequest) or error.code in _OTHERS_MAY_TAKE_IT


def speaks_of_health(error: TundishError) -> bool:
    """Whether the deployment is to blame. A full queue and a deliberate stop are answers of a healthy one."""
    return not isinstance(error, InvalidRequest | Overloaded | BackendStopped)


def come_back_s(error: TundishError) -> float | None:
    """When the deployment asked to be called again, in seconds from now; None when it did not."""
    return error.retry_after_s if isinstance(error, Overloaded | Unavailable) else None
