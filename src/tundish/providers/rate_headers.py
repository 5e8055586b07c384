"""A provider's rate headers → `RateLimits`. OpenAI, Azure and those who copy them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tundish.core.rate_limits import RateLimits

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST_S = 7 * 86400.0
"""What is longer is no duration: some write the time of day at which it ends."""


def read(headers: Mapping[str, str], seen_s: float) -> RateLimits | None:
    """What `headers` (names in lower case) tell; None when they tell nothing."""
    retry_after_s = _seconds(headers.get("retry-after"))
    retry_after_ms = _seconds(headers.get("retry-after-ms"))
    limits = RateLimits(
        seen_s=seen_s,
        limit_requests=_count(headers.get("x-ratelimit-limit-requests")),
        limit_tokens=_count(headers.get("x-ratelimit-limit-tokens")),
        remaining_requests=_count(headers.get("x-ratelimit-remaining-requests")),
        remaining_tokens=_count(headers.get("x-ratelimit-remaining-tokens")),
        reset_requests_s=_seconds(headers.get("x-ratelimit-reset-requests")),
        reset_tokens_s=_seconds(headers.get("x-ratelimit-reset-tokens")),
        retry_after_s=retry_after_s if retry_after_ms is None else retry_after_ms / 1000,
    )
    return None if limits == RateLimits(seen_s=seen_s) else limits


def _count(text: str | None) -> int | None:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 18:
        return None
    return int(text)


def _seconds(text: str | None) -> float | None:
    """`1.5`, `6m0s` or `120ms` in seconds."""
    if text is None or len(text) > 40:
        return None
    parts = _DURATION.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        seconds = sum(float(number) * _UNIT_S[unit] for number, unit in parts)
    else:
        try:
            seconds = float(text)
        except ValueError:
            return None
    return seconds if 0 <= seconds <= _LONGEST_S else None
