"""What a running endpoint says about itself to its own commands."""

from __future__ import annotations

import msgspec

from tundish.core.errors import BackendError


class ModelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One model and its backend, now."""

    name: str
    health: str
    """A value of `core.backend.Health`; a newer endpoint may have more of them."""
    detail: str
    slots: int
    slots_busy: int
    queued: int
    queue_limit: int
    context_length: int | None
    restarts: int


class EndpointStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The whole endpoint, now."""

    version: str
    uptime_s: float
    ready: bool
    models: tuple[ModelStatus, ...]


_STATUS = msgspec.json.Decoder(EndpointStatus)


def encode(status: EndpointStatus) -> bytes:
    """The body of `GET /tundish/v1/status`."""
    return msgspec.json.encode(status)


def decode(body: bytes) -> EndpointStatus:
    """What an endpoint said.

    Raises:
        BackendError: it is not a Tundish, or one too different from this.
    """
    try:
        return _STATUS.decode(body)
    except (ValueError, RecursionError) as error:
        raise BackendError(f"This is not the status of a Tundish endpoint: {error}.") from None
