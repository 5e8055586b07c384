"""Deployments as the endpoint's owner sees and changes them: `/tundish/v1/deployments` and what lies below it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tundish.core.errors import BackendError
from tundish.wire import json_body, keep_alive


class DeploymentEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment, now."""

    name: str
    state: str
    """`unloaded`, `waiting` (for memory), `loading`, `ready`, `draining`, `unloading` or `failed`."""
    detail: str
    """How far it is, or why it is not ready."""
    memory_bytes: int
    """What it takes, or would take if it were loaded."""
    pinned: bool
    running: int
    """Requests that are being answered."""
    waiting: int
    """Requests that wait for it to be loaded."""
    slots: int
    keep_alive_s: float | None
    """None is for ever."""
    idle_s: float | None
    expires_in_s: float | None
    """Seconds until it is unloaded; None when it will not be by itself, or is busy."""
    loads: int
    restarts: int
    context_length: int | None


class DeploymentList(msgspec.Struct, frozen=True, kw_only=True):
    """All deployments and the memory that they share."""

    deployments: tuple[DeploymentEntry, ...]
    memory_budget_bytes: int
    memory_held_bytes: int


class _Named(msgspec.Struct, kw_only=True):
    name: str
    keep_alive: float | str | None = None
    force: bool = False


class DeploymentRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which deployment is meant, and what goes with it."""

    name: str
    keep_alive_s: float | None
    """Of `load`; None leaves it as it is."""
    force: bool
    """Of `unload` and `remove`: whether running answers are ended."""


_NAMED = msgspec.json.Decoder(_Named)
_LIST = msgspec.json.Decoder(DeploymentList)
_ENTRY = msgspec.json.Decoder(DeploymentEntry)


def decode_request(body: bytes) -> DeploymentRequest:
    """The body of each POST. Raises InvalidRequest."""
    named = json_body.decode(body, _NAMED)
    return DeploymentRequest(name=named.name, keep_alive_s=keep_alive.decode(named.keep_alive), force=named.force)


def encode_request(name: str, *, keep_alive_text: str | None = None, force: bool = False) -> bytes:
    """What `decode_request` reads; `keep_alive_text` as a person types it: `5m`, `-1`."""
    return msgspec.json.encode(_Named(name=name, keep_alive=keep_alive_text, force=force))


def encode_list(deployments: Sequence[DeploymentEntry], *, budget_bytes: int, held_bytes: int) -> bytes:
    """The answer to GET."""
    return msgspec.json.encode(
        DeploymentList(deployments=tuple(deployments), memory_budget_bytes=budget_bytes, memory_held_bytes=held_bytes)
    )


def encode(deployment: DeploymentEntry) -> bytes:
    """The answer to POST."""
    return msgspec.json.encode(deployment)


def decode_list(body: bytes) -> DeploymentList:
    """What an endpoint says of its deployments.

    Raises:
        BackendError: it is not a Tundish, or one too different from this.
    """
    try:
        return _LIST.decode(body)
    except (ValueError, RecursionError) as error:
        raise BackendError(f"This is no list of a Tundish endpoint's deployments: {error}.") from None


def decode(body: bytes) -> DeploymentEntry:
    """What an endpoint says of one deployment. Raises as `decode_list` does."""
    try:
        return _ENTRY.decode(body)
    except (ValueError, RecursionError) as error:
        raise BackendError(f"This is no deployment of a Tundish endpoint: {error}.") from None
