"""A remote deployment's server: its connections, our credentials, and what is known of how it does."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from tundish.core.errors import BackendError, BackendStopped, TundishError
from tundish.http.client import HttpClient
from tundish.http.errors import HttpError
from tundish.providers import connections
from tundish.providers.credentials import Credential, credential
from tundish.providers.errors import SpecInvalid
from tundish.providers.profile import Profile
from tundish.providers.refusals import Refusals
from tundish.providers.spec import RemoteSpec

_log = logging.getLogger("tundish.providers")


class Service:
    """What all exchanges with one server share. It may be stopped and started again."""

    def __init__(
        self, spec: RemoteSpec, profile: Profile, *, url: str, scope: str | None, paths: Mapping[str, str]
    ) -> None:
        """
        Args:
            spec: the deployment.
            profile: how its provider is.
            url: where it is, for people and for connecting.
            scope: what its Entra tokens are for.
            paths: surface → path.

        Raises:
            SpecInvalid: it cannot be spoken to like this.
        """
        self._spec = spec
        self._paths = paths
        self._credential: Credential = credential(
            spec.auth, key_header=profile.key_header, key_prefix=profile.key_prefix, scope=scope
        )
        self.where = url
        self.refusals = Refusals(name=spec.name, model=spec.model, url=url)
        self.client: HttpClient | None = None
        """None while it is stopped."""
        self._pool = connections.open_pool(spec, url)  # now, so that what is wrong with it is said now
        self._heads = self._prepare("a-key")
        self._value: str | None = None
        """The credential that `_heads` were made with; None: with none that is real."""
        self.stream_timeouts = connections.stream_timeouts(spec.timeouts)
        self.whole_timeouts = connections.whole_timeouts(spec.timeouts)
        self.running = 0
        """Exchanges that have begun, waiting ones included."""
        self.problem = ""
        """What went wrong last with the server itself; empty since it answered."""
        self.failed_at_s = 0.0
        self.rate_headers: tuple[float, Mapping[str, str]] | None = None
        """When (monotonic) the last headers came that tell limits, and they."""

    @property
    def waiting(self) -> int:
        """Exchanges that wait for a connection."""
        return 0 if self.client is None else self.client.waiting

    def start(self) -> None:
        """Open for exchanges."""
        self.client = self._pool
        self.problem = ""

    def stop(self) -> None:
        """End all exchanges at once."""
        self.client = None
        self._pool.abort(stopped())
        self._credential.close()
        self._pool = connections.open_pool(self._spec, self.where)

    def current_head(self, surface: str) -> bytes | None:
        """The head of a request, when the credential is at hand."""
        value = self._credential.current()
        if value is None:
            return None
        if value != self._value:
            self._heads, self._value = self._prepare(value), value
        return self._heads[surface]

    async def fetch_head(self, surface: str) -> bytes:
        """The head of a request, with a credential that has to be looked up.

        Raises:
            BackendError: it cannot be had, or not be sent.
        """
        try:
            value = await self._credential.fetch()
        except TundishError as error:
            self._note(error)
            raise self.refusals.of_credential(error) from error
        try:
            self._heads, self._value = self._prepare(value), value
        except SpecInvalid:
            # The value may be anything: it is not shown.
            unusable = BackendError("The key cannot be sent in a header: it has line breaks.")
            raise self.refusals.of_credential(unusable) from None
        return self._heads[surface]

    def refuse_credential(self, head: bytes, surface: str) -> bool:
        """The server did not accept it; whether there is hope that it was only old."""
        if self._value is None or not self._credential.header:
            return False
        if self._heads[surface] == head:
            self._credential.refused(self._value)
        return True

    def took_note(self, headers: Mapping[str, str]) -> None:
        """Keep what the headers tell about limits."""
        if (
            "x-ratelimit-remaining-requests" in headers
            or "x-ratelimit-remaining-tokens" in headers
            or "retry-after" in headers
        ):
            self.rate_headers = (time.monotonic(), headers)

    def failed(self, error: HttpError) -> TundishError:
        """The server could not be spoken to."""
        failure = self.refusals.of_connection(error)
        self._note(error)
        return failure

    def _note(self, error: TundishError) -> None:
        """Keep it for the status; the log is told when it is news."""
        problem = f"{self.where}: {error}"
        if problem != self.problem:
            _log.warning("%s", problem)
        self.problem = problem
        self.failed_at_s = time.monotonic()

    def _prepare(self, value: str) -> Mapping[str, bytes]:
        headers = {
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            **{name.lower(): text for name, text in self._spec.headers.items()},
        }
        if self._credential.header:
            headers[self._credential.header] = value
        try:
            return {surface: self._pool.prepare("POST", path, headers) for surface, path in self._paths.items()}
        except ValueError as error:  # UnicodeError is one
            raise SpecInvalid(f"The path or a header for {self.where} cannot be sent: {error}") from None


def stopped() -> BackendStopped:
    """What ends the answers that run when a deployment is stopped."""
    ended = BackendStopped("This model's connection to its server was closed: the model is unloaded, or this stops.")
    ended.detail = "stopped here"
    return ended
