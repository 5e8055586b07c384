"""How patient fetching is: which failures are tried again, and when."""

from __future__ import annotations

import dataclasses
import email.utils
import random
import time

RETRIED_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 522, 524})
"""Answers that may be another one the next time."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How patient a download is."""

    attempts: int = 6
    """Failures in a row, with nothing arriving in between, after which it gives up."""
    first_delay_s: float = 0.5
    """Before the second attempt; doubled each time, a random part of it is left out."""
    max_delay_s: float = 30.0
    max_retry_after_s: float = 300.0
    """The longest that a server's Retry-After is obeyed."""
    stall_timeout_s: float = 30.0
    """Without a byte for so long, the connection is given up."""

    def delay_s(self, failures: int, retry_after_s: float | None) -> float:
        """Seconds to wait after so many failures in a row."""
        if retry_after_s is not None:
            return min(retry_after_s, self.max_retry_after_s)
        longest = min(self.first_delay_s * 2 ** (failures - 1), self.max_delay_s)
        return longest * random.uniform(0.5, 1.0)


def retry_after_s(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or a date; None without a usable one."""
    if value is None:
        return None
    if value.isascii() and value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
