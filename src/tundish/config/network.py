"""How a remote service is reached and opened, as the configuration states it."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from pathlib import Path

from tundish.config.secret_reference import SecretReference
from tundish.config.section import Section
from tundish.config.site import AuthKind, AuthSpec, ConnectionSpec
from tundish.config.wording import shorten
from tundish.providers.spec import RemoteTimeouts

_SECRET_HEADERS = (
    "authorization",
    "api-key",
    "x-api-key",
    "proxy-authorization",
    "cookie",
    "ocp-apim-subscription-key",
)
_RESERVED_HEADERS = ("host", "content-length", "transfer-encoding", "connection", "content-type")
_HEADER_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~")
_AUTH_WAYS = ("api_key", "bearer", "entra_id")


def read_timeouts(parent: Section, defaults: RemoteTimeouts) -> RemoteTimeouts:
    """`timeouts` of a deployment or of the site."""
    section = parent.table("timeouts")
    timeouts = RemoteTimeouts(
        connect_s=section.seconds("connect_s", defaults.connect_s),
        first_token_s=section.seconds("first_token_s", defaults.first_token_s),
        between_tokens_s=section.seconds("between_tokens_s", defaults.between_tokens_s),
        total_s=section.seconds("total_s", defaults.total_s),
        queue_s=section.seconds("queue_s", defaults.queue_s),
    )
    section.finish()
    return timeouts


def read_connections(parent: Section, defaults: ConnectionSpec) -> ConnectionSpec:
    """`connections` of a deployment or of the site."""
    section = parent.table("connections")
    connections = ConnectionSpec(
        max_connections=section.whole("max_connections", defaults.max_connections, least=1, most=65_536),
        max_waiting=section.whole("max_waiting", defaults.max_waiting, least=0, most=1_000_000),
        proxy=_read_proxy(section) or defaults.proxy,
        ca_file=_read_path(section, "ca_file") or defaults.ca_file,
        client_cert=_read_path(section, "client_cert") or defaults.client_cert,
        client_key=_read_path(section, "client_key") or defaults.client_key,
        client_key_password=section.secret("client_key_password") or defaults.client_key_password,
    )
    section.finish()
    if "client_key" in section and connections.client_cert is None:
        section.problem("'client_cert' is missing: 'client_key' is of no use without it.")
    return connections


def read_url(section: Section, key: str) -> str | None:
    """An http or https address without user, password, query or fragment."""
    value = section.text(key, None, most=2048)
    return None if value is None else _check_url(section, key, value)


def _check_url(section: Section, key: str, value: str) -> str | None:
    try:
        parts = urllib.parse.urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and " " not in value and parts.port != 0
    except ValueError:  # brackets that hold no address; a port that is no number
        section.problem("must be an address such as https://HOST/v1.", key)
        return None
    if "@" in parts.netloc:
        section.problem("must hold no user and password. Say where the secret is kept, in 'auth'.", key)
    elif not usable:
        section.problem("must be an address such as https://HOST/v1.", key)
    elif parts.query or parts.fragment:
        section.problem("must end before '?' and '#'; Azure's api-version is 'api_version'.", key)
    else:
        return value.rstrip("/")
    return None


def _read_proxy(section: Section) -> str | SecretReference | None:
    values = section.named_values_of("proxy")
    if values is not None:
        return section.secret("proxy")
    value = section.text("proxy", None, most=2048)
    if value is None:
        return None
    try:
        has_password = "@" in urllib.parse.urlsplit(value).netloc
    except ValueError:
        has_password = "@" in value
    if has_password:
        section.problem(
            'must hold no password. Keep the whole address elsewhere and refer to it: { env = "HTTPS_PROXY" }.', "proxy"
        )
        return None
    return _check_url(section, "proxy", value)


def _read_path(section: Section, key: str) -> Path | None:
    value = section.text(key, None)
    if value is None:
        return None
    path = section.folder / Path(value)
    if not path.is_file():
        section.problem(f"There is no file {shorten(str(path))}.", key)
    return path


def read_auth(parent: Section) -> AuthSpec:
    """`auth` of a deployment: `{ api_key = … }`, `{ bearer = … }` or `{ entra_id = { … } }`."""
    if "auth" not in parent:
        parent.table("auth")
        return AuthSpec()
    if parent.named_values_of("auth") is None:
        # A text is most likely the key itself: never shown.
        parent.problem(
            'must be a table such as { api_key = { env = "AZURE_KEY" } }; no secret may stand in the configuration.',
            "auth",
        )
        parent.known.add("auth")
        return AuthSpec()
    section = parent.table("auth")
    ways = [way for way in _AUTH_WAYS if way in section]
    if len(ways) != 1:
        section.problem(f"must have one of {', '.join(_AUTH_WAYS)}.")
    auth = AuthSpec()
    api_key, bearer = section.secret("api_key"), section.secret("bearer")
    if api_key is not None:
        auth = AuthSpec(kind=AuthKind.API_KEY, key=api_key)
    elif bearer is not None:
        auth = AuthSpec(kind=AuthKind.BEARER, key=bearer)
    elif "entra_id" in section:
        auth = _read_entra_id(section.table("entra_id"))
    section.known.update(_AUTH_WAYS)
    section.finish()
    return auth


def _read_entra_id(section: Section) -> AuthSpec:
    auth = AuthSpec(
        kind=AuthKind.ENTRA_ID,
        tenant_id=section.name("tenant_id"),
        client_id=section.name("client_id"),
        client_secret=section.secret("client_secret"),
        managed_identity=section.flag("managed_identity", False),
        authority=section.text("authority"),
        scope=section.text("scope"),
    )
    section.finish()
    if auth.client_secret is not None and (auth.tenant_id is None or auth.client_id is None):
        section.problem("'client_secret' needs 'tenant_id' and 'client_id' beside it.")
    if auth.client_secret is not None and auth.managed_identity:
        section.problem("'client_secret' and 'managed_identity' exclude each other.", "managed_identity")
    return auth


def read_headers(parent: Section) -> Mapping[str, str | SecretReference]:
    """`headers` of a deployment: sent with every request."""
    section = parent.table("headers")
    headers: dict[str, str | SecretReference] = {}
    for name in section.names:
        lower = name.lower()
        value = section.value(name)
        if not name or not set(name) <= _HEADER_LETTERS:
            section.problem("is no name of a header.", name)
        elif lower in _RESERVED_HEADERS:
            section.problem("is set by Tundish itself. Leave it out.", name)
        elif isinstance(value, Mapping) or lower in _SECRET_HEADERS:
            reference = section.secret(name)
            if reference is not None:
                headers[lower] = reference
        else:
            text = section.text(name, None)
            if text is not None and not text.isascii():
                section.problem("must be ASCII.", name)
            elif text is not None:
                headers[lower] = text
    return headers
