"""Which web pages may talk to this endpoint: the Host and Origin of every request are checked before anything else.

A browser lets any page send requests to this machine. A page that makes its own name resolve to 127.0.0.1 (DNS
rebinding) is found out by its Host, every other page by its Origin.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from tundish.access.loopback import is_loopback
from tundish.core.errors import PermissionDenied

_ANY = "*"


class Guard:
    """Knows the names that this endpoint answers to, and the origins whose pages may call it."""

    def __init__(self, *, host: str, allowed_hosts: Sequence[str] = (), allowed_origins: Sequence[str] = ()) -> None:
        """
        Args:
            host: the address that is listened on.
            allowed_hosts: more names, without a port; `*` allows all.
            allowed_origins: `scheme://host[:port]` each; `*` allows all.
        """
        self._any_host = _ANY in allowed_hosts
        self._hosts = {name.lower().rstrip(".") for name in (host, *allowed_hosts)} | {"localhost"}
        self._loopback_only = is_loopback(host)
        self._any_origin = _ANY in allowed_origins
        self._origins = {origin.lower().rstrip("/") for origin in allowed_origins}

    def check(self, headers: Mapping[str, str]) -> str | None:
        """The Origin that is to be told that it may read the answer, or None when no page asks.

        Raises:
            PermissionDenied: a host or an origin that is not allowed; says how to allow it.
        """
        host = headers.get("host")
        if host is not None and not self._allows_host(host):
            raise PermissionDenied(
                f"This endpoint does not answer to the host {_shown(host)}. If it should, start it with "
                f"--allow-host NAME or set TUNDISH_ALLOWED_HOSTS."
            )
        origin = headers.get("origin")
        if origin is None:
            return None
        if not self._allows_origin(origin, host):
            raise PermissionDenied(
                f"Pages of the origin {_shown(origin)} may not call this endpoint. If they should, start it with "
                f"--allow-origin {_shown(origin)} or set TUNDISH_ALLOWED_ORIGINS."
            )
        return origin

    def _allows_host(self, host: str) -> bool:
        if self._any_host:
            return True
        name = _without_port(host)
        if name in self._hosts or name.endswith(".localhost"):
            return True
        # A name can be made to resolve to anything, an address is what the browser really connected to.
        return is_loopback(name) if self._loopback_only else _is_address(name)

    def _allows_origin(self, origin: str, host: str | None) -> bool:
        if self._any_origin or origin.lower() in self._origins:
            return True
        _, separator, authority = origin.lower().partition("://")
        return bool(separator and authority) and host is not None and authority == host.lower()


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    name, _, port = host.rpartition(":")
    return (name if name and port.isdecimal() else host).lower().rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _shown(text: str) -> str:
    return f"'{text[:100]}'" if text.isprintable() else "(not printable)"
