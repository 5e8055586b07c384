"""What fetching needs of an HTTP client, and redirects, which are the same for every client."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol
from urllib.parse import urljoin, urlsplit, urlunsplit

from tundish.sources.errors import SourceRefused

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 10
_CREDENTIALS = frozenset({"authorization", "cookie", "proxy-authorization"})


class TransportFailed(Exception):
    """The connection could not be made, broke or timed out; the same request may succeed later."""


class Response(Protocol):
    """An answer whose body is still to come."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """By lower-case name."""
        ...

    async def receive(self, sink: Callable[[memoryview], None]) -> bool:
        """Hand what arrives of the body within a moment to `sink`; whether there may be more.

        The sink is called in another thread: it may block, which slows the sender down, and what it raises is raised
        here. It must be done with a block when it returns. Once a cancelled call has ended, it is not called again.

        Raises:
            TransportFailed: the body was cut off, or stalls. All that came before was handed over.
        """
        ...


class Transport(Protocol):
    """An HTTP client. Does not follow redirects and does not decode bodies."""

    def get(self, url: str, headers: Mapping[str, str], *, stall_s: float) -> AbstractAsyncContextManager[Response]:
        """Ask for `url`; silence for `stall_s` is a failure.

        Raises:
            TransportFailed: no answer; trying again may help.
            SourceRefused: it cannot be asked for, or its certificate is not trusted.
        """
        ...


@contextlib.asynccontextmanager
async def following_redirects(
    transport: Transport, url: str, headers: Mapping[str, str], *, stall_s: float
) -> AsyncGenerator[Response]:
    """The answer at the end of the redirects. Credentials are sent to the first host only, never downgraded to http.

    Raises:
        SourceRefused: too many redirects, or to somewhere that is not HTTP.
        TransportFailed: as the transport does.
    """
    here, sent = url, dict(headers)
    for _ in range(_MAX_REDIRECTS + 1):
        async with transport.get(here, sent, stall_s=stall_s) as response:
            location = response.headers.get("location")
            if response.status not in _REDIRECTS or not location:
                yield response
                return
        try:
            target = urljoin(here, location)
            is_http = urlsplit(target).scheme in ("http", "https")
        except ValueError as error:
            raise SourceRefused(f"{shown(url)} redirects to an address that is none: {error}.") from None
        if not is_http:
            raise SourceRefused(f"{shown(url)} redirects to {shown(target)}, which is not an HTTP address.")
        if urlsplit(here).scheme == "https" and urlsplit(target).scheme == "http":
            raise SourceRefused(f"{shown(url)} redirects from https to plain http ({shown(target)}). Refused.")
        if urlsplit(target)[:2] != urlsplit(here)[:2]:
            sent = {name: value for name, value in sent.items() if name.lower() not in _CREDENTIALS}
        here = target
    raise SourceRefused(f"{shown(url)} redirects more than {_MAX_REDIRECTS} times. Is the address right?")


def shown(url: str) -> str:
    """The address as it may be shown and kept: without user, password and query, which may carry credentials."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
