"""What is: deployments and memory at one moment, for `tundish ps`, metrics and tests."""

from __future__ import annotations

import dataclasses
import enum

from tundish.core.backend import Capabilities


class DeploymentState(enum.Enum):
    """Where a deployment is in its life."""

    UNLOADED = "unloaded"
    WAITING = "waiting"
    """For memory, to be loaded."""
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    """It answers what it has begun and takes nothing new, to be unloaded."""
    UNLOADING = "unloading"
    FAILED = "failed"
    """Not in memory: it could not be loaded, or its engine gave up."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentSnapshot:
    """One deployment."""

    name: str
    state: DeploymentState
    detail: str
    """How far it is, or why it is not READY; empty when there is nothing to say."""
    memory_bytes: int
    """What it takes, or would take if it were loaded."""
    pinned: bool
    running: int
    """Requests that are being answered."""
    waiting: int
    """Requests that wait for it to be loaded."""
    queue_limit: int
    slots: int
    slots_queued: int
    """Requests that it has taken and that wait for a slot."""
    keep_alive_s: float
    """Infinity is for ever."""
    idle_s: float | None
    """Seconds since its last request ended; None when it is not loaded or busy."""
    expires_in_s: float | None
    """Seconds until it is unloaded; None when it will not be by itself, or is busy."""
    loads: int
    """How often it was loaded since the start."""
    restarts: int
    """Of its engine since it was loaded."""
    capabilities: Capabilities | None
    """None when nobody can know before it is loaded."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MemorySnapshot:
    """The memory that deployments share."""

    budget_bytes: int
    held_bytes: int
    """By what is loaded, loading or not quite unloaded."""
