"""What must be known of a remote deployment before it can be asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from tundish.core.backend import Capabilities

KeySource: TypeAlias = Callable[[], Awaitable[str]]
"""Looks a secret up. Called before the first request, and again when the provider no longer accepts what it gave."""


def fixed(secret: str) -> KeySource:
    """The source of a secret that is already known."""

    async def known() -> str:
        return secret

    return known


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key, sent in the header that the profile names (`api-key`, `authorization: Bearer`)."""

    source: KeySource


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """A token, always sent as `authorization: Bearer`."""

    source: KeySource


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EntraId:
    """A token of Microsoft Entra ID, renewed before it expires; needs the extra `azure`.

    With a client secret: that application. With `managed_identity`: the machine's identity. Else whatever the
    machine is logged in with (environment, workload or managed identity, Azure CLI …).
    """

    tenant_id: str | None = None
    client_id: str | None = None
    """Of the application, or of a user-assigned managed identity."""
    client_secret: KeySource | None = None
    managed_identity: bool = False
    scope: str | None = None
    """None: the profile's, which depends on the kind of path."""
    authority: str | None = None
    """Host or URL of the login service; None is the public cloud's."""
    ca_file: Path | None = None
    """Whom the login service's certificate is checked against; None is the system's trust."""


Auth: TypeAlias = ApiKey | Bearer | EntraId


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RemoteTimeouts:
    """Seconds. None is no limit."""

    connect_s: float | None = 10.0
    """DNS, TCP, proxy and TLS."""
    first_token_s: float | None = 600.0
    """Of a stream: from sending the request to the first byte of the answer. A server may have to load the model."""
    between_tokens_s: float | None = 120.0
    """Of a stream: silence after that."""
    total_s: float | None = 900.0
    """The whole request, waiting for a connection included."""
    queue_s: float | None = 30.0
    """Waiting for one of `max_connections`."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How an https server is recognised, and how we are."""

    ca_file: Path | None = None
    """The only authorities that are trusted, in PEM; None is those of the system."""
    client_cert: Path | None = None
    """Our certificate and its chain, in PEM, for mutual TLS."""
    client_key: Path | None = None
    """Its key, in PEM; None is in the same file."""
    client_key_password: str | None = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSpec:
    """A remote deployment."""

    base_url: str
    """As the provider documents it; up to and with `/v1` where there is one."""
    model: str
    """What the provider calls the model, or the deployment."""
    name: str = ""
    """What clients call the deployment; for the errors that they are told."""
    profile: str = "openai_compatible"
    """How this kind of provider differs from OpenAI's; see `profile.known()`."""
    api_version: str | None = None
    """Chooses the profile's versioned paths (Azure's deployment paths); None is the others."""
    auth: Auth | None = None
    timeouts: RemoteTimeouts = RemoteTimeouts()
    max_connections: int = 100
    """Requests at the same time."""
    max_waiting: int = 100
    """Requests that may wait for a connection; more are refused as Overloaded."""
    proxy: str | None = dataclasses.field(default=None, repr=False)
    """`http://[USER:PASSWORD@]HOST:PORT`, or https; the environment is not read."""
    tls: Tls = Tls()
    context_length: int | None = None
    """Tokens, prompt and answer together; None is unknown."""
    capabilities: Capabilities | None = None
    """What this model can do where it differs from what the profile says; replaces that wholly."""
    refuses: frozenset[str] = frozenset()
    """Parameters that this model does not take, beside those that its provider takes of none."""
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    """Sent with each request."""
