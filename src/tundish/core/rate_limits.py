"""What a provider says it still has room for."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """The rate headers of a provider's last answer. None is not told."""

    seen_s: float
    """When, by the monotonic clock."""
    limit_requests: int | None = None
    limit_tokens: int | None = None
    remaining_requests: int | None = None
    remaining_tokens: int | None = None
    reset_requests_s: float | None = None
    """Seconds after `seen_s` at which all requests are there again."""
    reset_tokens_s: float | None = None
    """Seconds after `seen_s` at which all tokens are there again."""
    retry_after_s: float | None = None
    """Seconds after `seen_s` before which it asked not to be called."""

    def retry_at_s(self, tokens: int = 1) -> float | None:
        """The monotonic time before which a request of that many tokens will be refused; None is none known."""
        waits_s = [
            self.retry_after_s,
            self.reset_requests_s if self.remaining_requests == 0 else None,
            self.reset_tokens_s if self.remaining_tokens is not None and self.remaining_tokens < tokens else None,
        ]
        longest_s = max((wait_s for wait_s in waits_s if wait_s is not None), default=None)
        return None if longest_s is None else self.seen_s + longest_s
