"""How long the client waits for what."""

from __future__ import annotations

import dataclasses
import math


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds. None is no limit."""

    connect_s: float | None = 10.0
    first_byte_s: float | None = None
    """From sending the request to the end of the response's head."""
    between_bytes_s: float | None = None
    """Silence within a response body, while it is waited for."""
    first_body_byte_s: float | None = None
    """From sending the request to the first byte of the body; until then `between_bytes_s` does not count."""
    total_s: float | None = None
    """From asking for a connection to the last byte of the response's body."""
    queue_s: float | None = None
    """Waiting for one of the pool's connections to become free."""
    begin_s: float = dataclasses.field(init=False, repr=False)
    """The shorter of the limits that count from sending the request; infinite when there is none."""

    def __post_init__(self) -> None:
        limits_s = (self.first_byte_s, self.first_body_byte_s)
        object.__setattr__(
            self, "begin_s", min((limit_s for limit_s in limits_s if limit_s is not None), default=math.inf)
        )
