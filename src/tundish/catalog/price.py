"""What tokens cost. Money is in nano-dollars (10⁻⁹ USD) per token, so that sums are exact integers."""

from __future__ import annotations

import dataclasses
import datetime


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Nano-dollars a token: USD per million tokens, times a thousand; integers for all known prices."""

    input_nano_usd: int
    """Per prompt token."""
    output_nano_usd: int
    """Per generated token, reasoning included."""
    cached_input_nano_usd: int | None = None
    """Per prompt token that was cached; None is as `input_nano_usd`."""
    dated: datetime.date | None = None
    """When it was looked up."""
    source: str = ""

    def cost_nano_usd(self, *, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> int:
        """Of one request; `cached_tokens` are among `prompt_tokens`."""
        cached_price = self.input_nano_usd if self.cached_input_nano_usd is None else self.cached_input_nano_usd
        fresh = prompt_tokens - cached_tokens
        return fresh * self.input_nano_usd + cached_tokens * cached_price + completion_tokens * self.output_nano_usd
