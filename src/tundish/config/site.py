"""A site, configured: what the file and the objects added beside it come to. Frozen; replaced as a whole on reload."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from tundish.config.errors import Problem
from tundish.config.secret_reference import SecretReference
from tundish.core.backend import Capabilities
from tundish.core.place import Place
from tundish.dispatch.rules import Rules
from tundish.policy.policy import Policy
from tundish.providers.spec import RemoteTimeouts
from tundish.routing.table import RoutingTable


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSpec:
    """How a remote service is connected to."""

    max_connections: int = 100
    """Requests at the same time."""
    max_waiting: int = 100
    """Requests that may wait for a connection; more are refused."""
    proxy: str | SecretReference | None = None
    """`http://HOST:PORT`; a reference where the address holds a password."""
    ca_file: Path | None = None
    """Certificate authorities to trust instead of the system's."""
    client_cert: Path | None = None
    client_key: Path | None = None
    client_key_password: SecretReference | None = None


class AuthKind(enum.Enum):
    """How a request to a remote service is opened."""

    NONE = "none"
    API_KEY = "api_key"
    """In the header that the backend's profile names."""
    BEARER = "bearer"
    """As `authorization: Bearer`, whatever the profile says."""
    ENTRA_ID = "entra_id"
    """Tokens by azure-identity."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AuthSpec:
    """What opens a remote service."""

    kind: AuthKind = AuthKind.NONE
    key: SecretReference | None = None
    """Of `API_KEY` and `BEARER`."""
    tenant_id: str | None = None
    """Of `ENTRA_ID` with a client secret; without one, azure-identity's default chain is asked."""
    client_id: str | None = None
    """Of a client secret, or of a user-assigned managed identity."""
    client_secret: SecretReference | None = None
    managed_identity: bool = False
    authority: str | None = None
    """Host of a sovereign cloud's or a test's login service."""
    scope: str | None = None
    """None: what belongs to the kind of path."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LocalSpec:
    """A model that runs on this machine."""

    model: str
    """A file, or a name that `tundish model list` shows."""
    pinned: bool = False
    keep_alive_s: float | None = None
    """Seconds; infinity is for ever; None here and below: as the endpoint's settings say."""
    context_length: int | None = None
    slots: int | None = None
    threads: int | None = None
    gpu_layers: int | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSpec:
    """A model that a service elsewhere runs."""

    profile: str
    """What kind of service: `azure`, `openai_compatible`, `vllm`, …"""
    base_url: str
    remote_model: str
    """What the model (Azure: the deployment) is called there."""
    api_version: str | None = None
    """Azure's; None is its v1 surface."""
    auth: AuthSpec = AuthSpec()
    timeouts: RemoteTimeouts = RemoteTimeouts()
    connections: ConnectionSpec = ConnectionSpec()
    headers: Mapping[str, str | SecretReference] = dataclasses.field(default_factory=dict[str, "str | SecretReference"])
    capabilities: Capabilities
    """What the service's profile says, and what the configuration knows better."""
    refuses: frozenset[str] = frozenset()
    """Parameters that this model does not take, beside those of its profile."""


BackendSpec: TypeAlias = LocalSpec | RemoteSpec


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """On whose behalf requests come."""

    name: str
    data_class: str | None = None
    """At least this class is all that comes from it; None claims nothing."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KeySpec:
    """A key that clients present."""

    key_id: str
    key: SecretReference
    project: str = ""
    data_class: str | None = None
    """Like a project's."""


class WhenUnwritable(enum.Enum):
    """What to do with requests while receipts cannot be written."""

    REFUSE = "refuse"
    CONTINUE = "continue"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptRules:
    """How receipts are kept."""

    when_unwritable: WhenUnwritable = WhenUnwritable.REFUSE
    flush_interval_s: float = 0.02
    """What a killed process loses at most."""
    sync_interval_s: float = 1.0
    """What a power cut loses at most."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConversationRules:
    """How long it is remembered which classes a conversation has had."""

    most: int = 1_000_000
    keep_days: float = 30.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SiteConfig:
    """Everything that is configured, checked as a whole."""

    version: str
    """SHA-256, hexadecimal, of the content: comments, order of tables and layout aside."""
    name: str
    path: Path | None
    """The file; None without one."""
    places: Mapping[str, Place]
    policy: Policy
    table: RoutingTable
    backends: Mapping[str, BackendSpec]
    """By the deployment's name; the same names as in the table."""
    projects: Mapping[str, Project]
    keys: Mapping[str, KeySpec]
    receipts: ReceiptRules = ReceiptRules()
    rules: Rules = Rules()
    """How requests are tried again, and when a deployment is left alone."""
    conversations: ConversationRules = ConversationRules()
    content: Mapping[str, object] = dataclasses.field(default_factory=dict[str, object])
    """As it was written, the added objects among it: references to secrets and no secrets."""
    warnings: tuple[Problem, ...] = ()
    """What works, and was probably not meant."""
