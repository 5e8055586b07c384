"""What is wanted: one model to be put to work on this machine, and the rules by which all of them come and go."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from tundish.core.backend import Backend, Capabilities
from tundish.core.errors import InvalidRequest


def _not_known() -> str:
    return ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentSpec:
    """One local model."""

    name: str
    make: Callable[[], Backend]
    """A new backend for each load, not started yet: one that was stopped is never started again."""
    memory_bytes: int
    """What it takes when it is loaded: weights, KV cache, overhead."""
    keep_alive_s: float = 300.0
    """Seconds from its last request until it is unloaded: 0 is at once, infinity never."""
    pinned: bool = False
    """Whether it stays, once it is loaded, until somebody unloads it."""
    capabilities: Capabilities | None = None
    """What is known of them before the first load; then the backend's own count."""
    weights_sha256: Callable[[], str] = _not_known
    """Of what the last load has found, hexadecimal; empty where nobody has hashed it. Costs nothing."""

    def __post_init__(self) -> None:
        check_keep_alive(self.keep_alive_s)
        if self.memory_bytes < 0:
            raise InvalidRequest(
                f"The memory of '{self.name}' cannot be {self.memory_bytes} bytes.", param="memory_bytes"
            )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LoadRules:
    """How loading is done here."""

    on_demand: bool = True
    """Whether the first request loads a model; else only an operator does."""
    queue_limit: int = 64
    """Requests that may wait for one model to be loaded; the first, for which it is loaded, always may."""
    patience_s: float = 10.0
    """How long a load waits for memory until those that hold it get no new requests before it had its turn."""
    backoff_first_s: float = 2.0
    """How long a failed load is not repeated for a request; doubled with each failure in a row."""
    backoff_limit_s: float = 120.0


def check_keep_alive(seconds: float | None) -> None:
    """Refuse what is no duration.

    Raises:
        InvalidRequest: it is negative or not a number.
    """
    if seconds is not None and not 0 <= seconds <= math.inf:
        raise InvalidRequest(f"A keep-alive is 0 or more seconds, not {seconds:g}.", param="keep_alive")
