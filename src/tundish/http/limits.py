"""What a client may take of a server: bytes, connections, time."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds that no client gets past. Times are kept to about a second: one timer looks after all connections."""

    connections: int = 8192
    """Open at once; one more is answered 503."""
    handshakes: int = 1024
    """TLS connections that are being agreed on at once; one more is closed."""

    target_bytes: int = 8 * 1024
    head_bytes: int = 64 * 1024
    """Target and headers together."""
    headers: int = 100
    body_bytes: int = 32 * 1024 * 1024
    """Of one request."""
    all_bodies_bytes: int = 512 * 1024 * 1024
    """Of all requests that are being received or handled. At least one of the largest size always fits."""
    pipelined_bytes: int = 64 * 1024
    """Read ahead of the request that is being handled."""

    unsent_bytes: int = 64 * 1024
    """Written but not yet taken by the client; above it `Exchange.drain` waits."""
    unsent_hard_bytes: int = 16 * 1024 * 1024
    """Above it the connection is cut, because its handler does not wait."""

    idle_s: float = 75.0
    """A connection without a request. Longer than common clients keep one, so that they close first."""
    head_s: float = 15.0
    """From a request's first byte to the end of its head."""
    body_s: float = 30.0
    """In which a body must grow by what `body_bytes_per_s` makes of it, from its first byte to its last."""
    body_bytes_per_s: int = 1024
    send_s: float = 60.0
    """A client that takes nothing of what is written to it."""
    linger_s: float = 3.0
    """Reading on after a refusal, so that a client that still sends gets to see why."""

    @property
    def body_step_bytes(self) -> int:
        """What has to arrive of a body within `body_s`."""
        return max(1, int(self.body_s * self.body_bytes_per_s))

    @property
    def shortest_s(self) -> float:
        """The time that needs the closest look."""
        return min(self.idle_s, self.head_s, self.body_s, self.send_s, self.linger_s)
