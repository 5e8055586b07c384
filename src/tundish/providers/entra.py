"""Tokens of Microsoft Entra ID, by Azure's own library, renewed before they expire."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import time
from collections.abc import Callable
from typing import Protocol, cast

from tundish.core.errors import BackendError
from tundish.providers.errors import SpecInvalid
from tundish.providers.spec import EntraId

_log = logging.getLogger("tundish.providers.entra")

_RENEW_BEFORE_S = 300.0
"""Azure's own libraries renew as early."""
_TRY_AGAIN_S = 30.0
"""After a renewal that failed while the old token still holds."""


class Token(Protocol):
    """What Azure's library gives."""

    @property
    def token(self) -> str: ...

    @property
    def expires_on(self) -> int:
        """Unix time in seconds."""
        ...


class TokenSource(Protocol):
    """Where tokens come from."""

    async def __call__(self) -> Token: ...

    def close(self) -> None:
        """Let go of whatever is open."""
        ...


class EntraTokens:
    """A `Credential` whose value expires. While one holds, its renewal delays nobody."""

    header = "authorization"

    def __init__(
        self,
        source: TokenSource,
        *,
        unix_s: Callable[[], float] = time.time,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._unix_s = unix_s
        self._monotonic_s = monotonic_s
        self._value: str | None = None
        self._good_until_s = 0.0
        """Monotonic, so that a jump of the clock makes no token older or younger."""
        self._renew_at_s = 0.0
        self._fetching: asyncio.Task[str] | None = None

    def current(self) -> str | None:
        now_s = self._monotonic_s()
        if now_s >= self._renew_at_s:
            if self._value is None or now_s >= self._good_until_s:
                return None
            self._begin()
        return self._value

    async def fetch(self) -> str:
        """A token that holds.

        Raises:
            BackendError: the login service gave none.
        """
        return await asyncio.shield(self._begin())

    def refused(self, value: str) -> None:
        if value == self._value:
            self._value = None
            self._renew_at_s = 0.0

    def close(self) -> None:
        """Let go of the login service; a token that holds is kept, and who waits for one gets it or an error."""
        self._source.close()

    def _begin(self) -> asyncio.Task[str]:
        """One request for a token at a time; it goes on when the one who needed it is cancelled."""
        if self._fetching is None:
            self._fetching = asyncio.ensure_future(self._renew())
            self._fetching.add_done_callback(self._ended)
        return self._fetching

    def _ended(self, task: asyncio.Task[str]) -> None:
        self._fetching = None
        if task.cancelled():
            return
        error = task.exception()  # also tells asyncio that somebody has looked
        if error is not None:
            self._renew_at_s = self._monotonic_s() + _TRY_AGAIN_S
            _log.warning("no token of Entra ID: %s", error)

    async def _renew(self) -> str:
        token = await self._source()
        now_s, lasts_s = self._monotonic_s(), token.expires_on - self._unix_s()
        self._value = value = f"Bearer {token.token}"
        self._good_until_s = now_s + lasts_s
        self._renew_at_s = now_s + max(lasts_s - _RENEW_BEFORE_S, lasts_s / 2)
        return value


class _Credential(Protocol):
    def get_token(self, *scopes: str) -> Token: ...
    def close(self) -> None: ...


class AzureLogin:
    """A `TokenSource`: asks the login service, by azure-identity."""

    def __init__(self, auth: EntraId, *, scope: str | None) -> None:
        """`scope`: the provider's, where `auth` has none of its own.

        Raises:
            SpecInvalid: the provider takes no such tokens, azure-identity is missing, or the account is half named.
        """
        wanted = auth.scope or scope
        if wanted is None:
            raise SpecInvalid("This provider takes no tokens of Entra ID. Use an API key, or name the token's 'scope'.")
        # Whether it is there is said at once, and not at the first request.
        if importlib.util.find_spec("azure") is None or importlib.util.find_spec("azure.identity") is None:
            raise SpecInvalid("Entra ID needs azure-identity: pip install 'tundish[azure]'.")
        if auth.client_secret is not None and not (auth.tenant_id and auth.client_id):
            raise SpecInvalid("A client secret of Entra ID needs 'tenant_id' and 'client_id' beside it.")
        self._auth = auth
        self._scope = wanted
        self._credential: _Credential | None = None

    async def __call__(self) -> Token:
        """A token, which azure-identity may have kept.

        Raises:
            BackendError: the login service gave none, in its own words.
        """
        auth = self._auth
        try:
            if self._credential is None:
                secret = None if auth.client_secret is None else await auth.client_secret()
                self._credential = await asyncio.to_thread(_credential, auth, secret)
            return await asyncio.to_thread(self._credential.get_token, self._scope)
        except Exception as error:
            self.close()  # the next one looks the secret up again
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise BackendError(f"Entra ID gave no token for this model's server: {reason}") from error

    def close(self) -> None:
        """Close the connections to the login service; the next call opens new ones."""
        credential, self._credential = self._credential, None
        if credential is not None:
            credential.close()


def _credential(auth: EntraId, secret: str | None) -> _Credential:
    from azure.identity import ClientSecretCredential, DefaultAzureCredential, ManagedIdentityCredential

    options: dict[str, object] = {}
    if auth.authority is not None:
        # One that Microsoft does not know is not looked up at Microsoft's.
        options |= {"authority": auth.authority, "disable_instance_discovery": True}
    if auth.ca_file is not None:
        options["connection_verify"] = str(auth.ca_file)
    made: object
    if secret is not None:
        made = ClientSecretCredential(auth.tenant_id or "", auth.client_id or "", secret, **options)
    elif auth.managed_identity:
        made = ManagedIdentityCredential(client_id=auth.client_id)
    else:
        if auth.client_id is not None:
            options["managed_identity_client_id"] = auth.client_id
        if auth.tenant_id is not None:
            options["workload_identity_tenant_id"] = auth.tenant_id
        made = DefaultAzureCredential(**options)
    return cast(_Credential, made)
