"""Where the client connects to, and what may stand between."""

from __future__ import annotations

import dataclasses
import ssl
import urllib.parse
from collections.abc import Mapping

from tundish.http.errors import ConnectFailed


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a connection goes."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None

    @classmethod
    def of(cls, url: str) -> Origin:
        """The origin of an http or https URL.

        Raises:
            ConnectFailed: not such a URL.
        """
        try:
            parts = urllib.parse.urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ConnectFailed(f"'{url}' is not a URL: {error}.") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConnectFailed(f"'{url}' is not an http or https URL.")
        tls = ssl.create_default_context() if parts.scheme == "https" else None
        return cls(host=parts.hostname, port=port or (443 if tls else 80), tls=tls)

    def __str__(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def authority(self) -> str:
        """What the Host header says: without the scheme's own port, which signed URLs do not expect there."""
        return str(self).removesuffix(":443" if self.tls else ":80")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """What stands between: http requests are handed to it, https connections are tunnelled through it (CONNECT)."""

    origin: Origin
    authorization: str | None = None
    """The value of Proxy-Authorization."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What it must be told."""
        return {} if self.authorization is None else {"proxy-authorization": self.authorization}
