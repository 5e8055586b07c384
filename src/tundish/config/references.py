"""All secrets that a site refers to."""

from __future__ import annotations

from collections.abc import Iterator

from tundish.config.secret_reference import SecretReference
from tundish.config.site import RemoteSpec, SiteConfig


def references(site: SiteConfig) -> Iterator[SecretReference]:
    """Each reference, in the order of the tables; one that is used twice comes twice."""
    for spec in site.backends.values():
        if isinstance(spec, RemoteSpec):
            yield from references_of(spec)
    for key in site.keys.values():
        yield key.key


def references_of(spec: RemoteSpec) -> Iterator[SecretReference]:
    """Those of one deployment."""
    connections = spec.connections
    candidates = (spec.auth.key, spec.auth.client_secret, connections.proxy, connections.client_key_password)
    for candidate in (*candidates, *spec.headers.values()):
        if isinstance(candidate, SecretReference):
            yield candidate
