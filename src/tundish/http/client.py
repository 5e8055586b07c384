"""A small, fast HTTP/1.1 client: keep-alive pool, streamed responses, cancellation that closes the connection at once.

It carries every token from an engine's process, so a chunk costs one callback and one wake-up: no task, no queue, no
framework per chunk.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import ssl
import urllib.parse
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager

from tundish.http.client_connection import ClientConnection
from tundish.http.errors import ConnectFailed, ConnectionLost, ResponseInvalid

_IDLE_CLOSE_S = 1.0
"""A connection that the peer closed for being idle is lost within a round trip of our writing to it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds. None is no limit."""

    connect_s: float | None = 10.0
    first_byte_s: float | None = None
    """From sending the request to the end of the response's head."""
    between_bytes_s: float | None = None
    """Silence within a response body."""


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


@dataclasses.dataclass(slots=True, kw_only=True)
class Response:
    """A response whose head has arrived; the body is read as it comes."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    _connection: ClientConnection

    async def body(self) -> AsyncIterator[bytes]:
        """Chunks as they arrive.

        Raises:
            ConnectionLost, ResponseInvalid, ResponseTimeout: the body is not complete.
        """
        while chunk := await self._connection.next_chunk():
            yield chunk

    async def read(self, limit_bytes: int = 16 * 1024 * 1024) -> bytes:
        """The whole body.

        Raises:
            ResponseInvalid: it is larger than `limit_bytes`; and what `body` raises.
        """
        chunks: list[bytes] = []
        size = 0
        async for chunk in self.body():
            size += len(chunk)
            if size > limit_bytes:
                raise ResponseInvalid(f"The response is larger than {limit_bytes} bytes.")
            chunks.append(chunk)
        return b"".join(chunks)


class HttpClient:
    """Requests to one origin over a pool of connections."""

    def __init__(
        self,
        origin: Origin,
        *,
        timeouts: Timeouts = Timeouts(),
        idle_connections: int = 32,
        proxy: Proxy | None = None,
    ) -> None:
        self.origin = origin
        self._proxy = proxy
        self._timeouts = timeouts
        self._idle: collections.deque[ClientConnection] = collections.deque()
        self._idle_limit = idle_connections
        self._closed = False

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> AsyncGenerator[Response, None]:
        """Send a request; the response's head has come when the context is entered.

        Leaving before the body was read to its end closes the connection, which tells the peer to stop.

        Raises:
            ConnectFailed, ConnectionLost, ResponseInvalid, ResponseTimeout.
            ValueError: a path or header that would break out of its line.
        """
        request = self._encode(method, path, headers or {}, body)
        connection = await self._exchange(request, head_only=method == "HEAD")
        try:
            yield Response(status=connection.status, headers=connection.headers, _connection=connection)
        finally:
            if connection.reusable and not self._closed and len(self._idle) < self._idle_limit:
                self._idle.append(connection)
            else:
                connection.close()

    async def request(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, bytes]:
        """Status and whole body; raises as `stream` does."""
        async with self.stream(method, path, headers=headers, body=body) as response:
            return response.status, await response.read()

    def close(self) -> None:
        """Close the idle connections; those in use are closed when their context is left."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _encode(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        if self._proxy is not None and self.origin.tls is None:
            path = f"http://{self.origin.authority}{path}"
            headers = {**headers, **self._proxy.headers}
        lines = [f"{method} {path} HTTP/1.1", f"host: {self.origin.authority}"]
        lines += (f"{name}: {value}" for name, value in headers.items())
        if body or method not in ("GET", "HEAD"):
            lines.append(f"content-length: {len(body)}")
        if any("\r" in line or "\n" in line or "\0" in line for line in lines):
            raise ValueError("A header must not contain line breaks.")
        if " " in method or " " in path:
            raise ValueError("A method or path must not contain spaces: percent-encode them.")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body

    async def _exchange(self, request: bytes, *, head_only: bool) -> ClientConnection:
        loop = asyncio.get_running_loop()
        while self._idle:
            connection = self._idle.pop()
            if not connection.reusable:
                connection.close()
                continue
            sent_s = loop.time()
            try:
                await connection.send(request, head_only=head_only, first_byte_s=self._timeouts.first_byte_s)
            except ConnectionLost:
                # The peer closed an idle connection while we wrote to it, so this was no attempt. A peer that has
                # begun to answer, or was silent for a while, may have been at work: that is for the caller to judge.
                if connection.received_anything or loop.time() - sent_s > _IDLE_CLOSE_S:
                    raise
                continue
            return connection
        connection = await self._connect()
        await connection.send(request, head_only=head_only, first_byte_s=self._timeouts.first_byte_s)
        return connection

    async def _connect(self) -> ClientConnection:
        loop = asyncio.get_running_loop()
        first = self.origin if self._proxy is None else self._proxy.origin
        try:
            async with asyncio.timeout(self._timeouts.connect_s):
                _, protocol = await loop.create_connection(
                    lambda: ClientConnection(self._timeouts.between_bytes_s), first.host, first.port, ssl=first.tls
                )
                if self._proxy is not None and self.origin.tls is not None:
                    await self._tunnel(protocol, self._proxy, self.origin.tls)
        except TimeoutError as error:
            raise ConnectFailed(f"{self.origin} did not accept a connection in time.") from error
        except (OSError, ssl.SSLError) as error:
            raise ConnectFailed(f"{self.origin} cannot be reached: {error.strerror or error}.") from error
        return protocol

    async def _tunnel(self, connection: ClientConnection, proxy: Proxy, tls: ssl.SSLContext) -> None:
        lines = [f"CONNECT {self.origin} HTTP/1.1", f"host: {self.origin}"]
        lines += (f"{name}: {value}" for name, value in proxy.headers.items())
        request = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        try:
            await connection.send(request, head_only=True, first_byte_s=None)
            if not 200 <= connection.status < 300:
                raise ConnectFailed(f"The proxy {proxy.origin} answered {connection.status} to CONNECT {self.origin}.")
            await connection.start_tls(tls, self.origin.host)
        except BaseException:
            connection.close()
            raise
