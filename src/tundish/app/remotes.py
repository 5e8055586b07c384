"""A configured remote service → a provider's backend, its secrets looked up when they are needed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from tundish.config.secret_reference import SecretReference
from tundish.config.secrets import resolve
from tundish.config.site import AuthKind, AuthSpec, RemoteSpec
from tundish.providers import spec as providers
from tundish.providers.remote import RemoteBackend, remote_backend

Environment = Mapping[str, str]


def make_remote(name: str, spec: RemoteSpec, environment: Environment) -> RemoteBackend:
    """The backend of the deployment `name`, not started.

    Blocks for secrets that stand in addresses and headers: call it in a thread.

    Raises:
        SecretUnavailable: one of those cannot be had.
        SpecInvalid: the description cannot work.
    """
    connections = spec.connections
    password = connections.client_key_password
    return remote_backend(
        providers.RemoteSpec(
            name=name,
            base_url=spec.base_url,
            model=spec.remote_model,
            profile=spec.profile,
            api_version=spec.api_version,
            auth=_auth(spec.auth, environment),
            timeouts=spec.timeouts,
            max_connections=connections.max_connections,
            max_waiting=connections.max_waiting,
            proxy=None if connections.proxy is None else _text(connections.proxy, environment),
            tls=providers.Tls(
                ca_file=connections.ca_file,
                client_cert=connections.client_cert,
                client_key=connections.client_key,
                client_key_password=None if password is None else _text(password, environment),
            ),
            context_length=spec.capabilities.context_length,
            capabilities=spec.capabilities,
            refuses=spec.refuses,
            headers={name: _text(value, environment) for name, value in spec.headers.items()},
        )
    )


def _text(value: str | SecretReference, environment: Environment) -> str:
    return value if isinstance(value, str) else resolve(value, environment).reveal()


def _auth(spec: AuthSpec, environment: Environment) -> providers.Auth | None:
    if spec.kind is AuthKind.ENTRA_ID:
        secret = spec.client_secret
        return providers.EntraId(
            tenant_id=spec.tenant_id,
            client_id=spec.client_id,
            client_secret=None if secret is None else _source(secret, environment),
            managed_identity=spec.managed_identity,
            scope=spec.scope,
            authority=spec.authority,
        )
    if spec.key is None:
        return None
    source = _source(spec.key, environment)
    return providers.Bearer(source=source) if spec.kind is AuthKind.BEARER else providers.ApiKey(source=source)


def _source(reference: SecretReference, environment: Environment) -> providers.KeySource:
    async def look_up() -> str:
        return (await asyncio.to_thread(resolve, reference, environment)).reveal()

    return look_up
