"""Keys and tokens on their way to a provider: looked up late, kept, and looked up again when they are refused."""

from __future__ import annotations

import asyncio
from typing import Protocol

from tundish.providers.spec import ApiKey, Auth, Bearer, EntraId, KeySource


class Credential(Protocol):
    """The value of one header."""

    @property
    def header(self) -> str:
        """The header's name."""
        ...

    def current(self) -> str | None:
        """The value, when it is at hand; costs nothing."""
        ...

    async def fetch(self) -> str:
        """Get the value. Raises what its source raises."""
        ...

    def refused(self, value: str) -> None:
        """The provider did not accept `value`: it is not to be used again without having been looked up."""
        ...

    def close(self) -> None:
        """Nothing will be asked for soon; it may be again."""
        ...


class NoCredential:
    """For servers that ask for none."""

    header = ""

    def current(self) -> str | None:
        return ""

    async def fetch(self) -> str:
        return ""

    def refused(self, value: str) -> None:
        """There is nothing that could be refused."""

    def close(self) -> None:
        """There is nothing to close."""


class LookedUp:
    """A key from a source: a file, the environment, a vault."""

    def __init__(self, source: KeySource, *, header: str, prefix: str) -> None:
        self.header = header
        self._source = source
        self._prefix = prefix
        self._value: str | None = None
        self._lookup: asyncio.Lock = asyncio.Lock()

    def current(self) -> str | None:
        return self._value

    async def fetch(self) -> str:
        async with self._lookup:  # a vault is asked once, however many requests wait for it
            if self._value is None:
                self._value = self._prefix + (await self._source()).strip()
            return self._value

    def refused(self, value: str) -> None:
        if value == self._value:
            self._value = None

    def close(self) -> None:
        """What was looked up is forgotten: it may be another when this is used again."""
        self._value = None


def credential(auth: Auth | None, *, key_header: str, key_prefix: str, scope: str | None) -> Credential:
    """How one deployment proves who it is.

    Args:
        auth: what the deployment says.
        key_header: where its provider wants a key.
        key_prefix: what stands before the key there.
        scope: what its provider's Entra tokens are for; None: it takes none.

    Raises:
        SpecInvalid: Entra ID where there is none, or without the extra `azure`.
    """
    match auth:
        case None:
            return NoCredential()
        case ApiKey():
            return LookedUp(auth.source, header=key_header, prefix=key_prefix)
        case Bearer():
            return LookedUp(auth.source, header="authorization", prefix="Bearer ")
        case EntraId():
            from tundish.providers import entra  # azure-identity is an extra, and slow to import

            return entra.EntraTokens(entra.AzureLogin(auth, scope=scope))
