"""The key in a request, under either of the two names that OpenAI's and Azure's clients use."""

from __future__ import annotations

from collections.abc import Mapping

from tundish.access.keys import ANYONE, KeyRing, Principal
from tundish.api.routes import Audience, Route
from tundish.core.errors import Unauthenticated


def authenticate(headers: Mapping[str, str], keys: KeyRing) -> Principal:
    """Who sent this. Some of Azure's clients send both headers; one good key is enough.

    Raises:
        Unauthenticated: no key, or none that is known.
    """
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    presented = [bearer.strip()] if scheme.lower() == "bearer" else []
    if "api-key" in headers:
        presented.append(headers["api-key"].strip())
    if len(presented) > 1:
        try:
            return keys.verify(presented.pop(0))
        except Unauthenticated:
            pass  # the other one decides
    return keys.verify(presented[0] if presented else None)


def authorize(headers: Mapping[str, str], keys: KeyRing, route: Route, method: str) -> Principal:
    """Who sent this, when `route` is for them.

    Raises:
        Unauthenticated: a key is needed, and there is none that is known.
        PermissionDenied: the route is for the owner.
    """
    if route.audience is Audience.ANYBODY:
        return ANYONE
    principal = authenticate(headers, keys)
    if route.audience is Audience.OWNER:
        principal.require_owner(f"{method} {route.path}")
    return principal
