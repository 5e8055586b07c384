"""What a client was given of an answer that broke off."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """The beginning of an answer."""

    text: str
    tokens: int
    """About so many: one for each event with text or reasoning."""
    chunks: tuple[bytes, ...] = ()
    """The bytes that were relayed, whole events; empty when the answer came as events."""
