"""API keys: made from the system's randomness, compared as digests, never stored or shown by this package."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import secrets
from collections.abc import Mapping

from tundish.core.errors import PermissionDenied, Unauthenticated

_PREFIX = "td-"


class Role(enum.Enum):
    """What a key is good for."""

    CLIENT = "client"
    """To ask models, and to list those that there are."""
    OWNER = "owner"
    """That, and to see and change how the endpoint runs."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who presented a valid key."""

    key_id: str
    role: Role = Role.CLIENT
    project: str = ""
    """On whose behalf; empty where there are no projects."""
    data_class: str | None = None
    """At least this class is all that comes with the key; None claims nothing."""

    def require_owner(self, what: str) -> None:
        """Raises:
        PermissionDenied: this is not the endpoint's owner, whom `what` is for.
        """
        if self.role is not Role.OWNER:
            raise PermissionDenied(
                f"{what} is for the owner of this endpoint, and the key '{self.key_id}' is for asking models only. "
                "Send the endpoint's own key; `tundish status` shows where it is kept."
            )


ANYONE = Principal(key_id="anonymous")
_AT_THE_MACHINE = Principal(key_id="anonymous", role=Role.OWNER)


def generate_key() -> str:
    """A new key: 256 bits of randomness, URL-safe."""
    return _PREFIX + secrets.token_urlsafe(32)


class KeyRing:
    """The keys that open this endpoint. An empty ring opens to nobody; `KeyRing.open()` to everybody."""

    def __init__(self, keys: Mapping[str, str], principals: Mapping[str, Principal] | None = None) -> None:
        """
        Args:
            keys: key id → key.
            principals: key id → who that is, where more is known than the id; a client without that.
        """
        known = principals or {}
        self._principals = {_digest(key): known.get(key_id) or Principal(key_id=key_id) for key_id, key in keys.items()}
        self._open = False

    @classmethod
    def open(cls) -> KeyRing:
        """No key needed, everybody is the owner. Only ever for an endpoint that this machine alone can reach."""
        ring = cls({})
        ring._open = True
        return ring

    @classmethod
    def of_owner(cls, key: str, *, key_id: str) -> KeyRing:
        """Opens to the endpoint's own key and to no other."""
        return cls({key_id: key}, {key_id: Principal(key_id=key_id, role=Role.OWNER)})

    @property
    def is_open(self) -> bool:
        """Whether no key is asked for."""
        return self._open

    def replace(self, other: KeyRing) -> None:
        """From now on the keys of `other` open this endpoint, and no others; a ring that is open stays so."""
        self._principals = dict(other._principals)

    def verify(self, presented: str | None) -> Principal:
        """Who this key belongs to.

        The look-up is by SHA-256 digest, so its timing tells nothing about a key's bytes.

        Raises:
            Unauthenticated: no key, or none of ours.
        """
        if self._open:
            return _AT_THE_MACHINE
        if not presented:
            raise Unauthenticated(
                "No API key was sent. Send it as 'Authorization: Bearer KEY' or as 'api-key: KEY'; "
                "`tundish status` shows where the key is kept."
            )
        principal = self._principals.get(_digest(presented))
        if principal is None:
            raise Unauthenticated("The API key is not valid here. `tundish status` shows where the key is kept.")
        return principal


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
