"""One log probability, as JSON can hold it."""

from __future__ import annotations

_VERY_UNLIKELY = -9999.0
"""What OpenAI writes for minus infinity, which JSON lacks."""


def finite(logprob: float) -> float:
    """`logprob`, or OpenAI's number for one that is below every other."""
    return max(logprob, _VERY_UNLIKELY)
