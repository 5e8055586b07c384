"""The key in a request, under either of the two names that OpenAI's and Azure's clients use."""

from __future__ import annotations

from collections.abc import Mapping

from tundish.access.keys import KeyRing, Principal
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
