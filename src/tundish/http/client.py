"""A small, fast HTTP/1.1 client: keep-alive pool, streamed responses, cancellation that closes the connection at once.

It carries every token from an engine's process, so a chunk costs one callback and one wake-up: no task, no queue, no
framework per chunk.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager

from tundish.http.client_connection import ClientConnection
from tundish.http.errors import ConnectFailed, ConnectionLost, ResponseInvalid
from tundish.http.origin import Origin, Proxy
from tundish.http.outbox import FEW, Outbox
from tundish.http.timeouts import Timeouts
from tundish.http.turns import Turns

__all__ = ["HttpClient", "Origin", "Proxy", "Response", "Timeouts", "read_body", "with_body"]

_PATIENT = Timeouts()
_IDLE_CLOSE_S = 1.0
"""A connection that the peer closed for being idle is lost within a round trip of our writing to it."""


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
        return await read_body(self._connection, limit_bytes)


async def read_body(connection: ClientConnection, limit_bytes: int) -> bytes:
    """The rest of a response's body; raises as `Response.read` does."""
    chunks: list[bytes] = []
    size = 0
    while size <= limit_bytes:
        chunk = await connection.next_chunk()
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)
        size += len(chunk)
    raise ResponseInvalid(f"The response is larger than {limit_bytes} bytes.")


class _Exchange:
    """One request and its response, as a context."""

    __slots__ = ("_client", "_connection", "_head_only", "_request")

    def __init__(self, client: HttpClient, request: Callable[[], bytes], *, head_only: bool) -> None:
        self._client = client
        self._request = request
        self._head_only = head_only
        self._connection: ClientConnection | None = None

    async def __aenter__(self) -> Response:
        self._connection = connection = await self._client.open(self._request(), head_only=self._head_only)
        return Response(status=connection.status, headers=connection.headers, _connection=connection)

    async def __aexit__(self, *_: object) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._client.release(connection)


class HttpClient:
    """Requests to one origin over a pool of connections.

    `stream` and `request` are for everyday use. `prepare`, `open` and `release` are what they are made of, for callers
    that send the same head again and again and count microseconds.
    """

    def __init__(
        self,
        origin: Origin,
        *,
        timeouts: Timeouts = _PATIENT,
        idle_connections: int = 32,
        proxy: Proxy | None = None,
        max_connections: int | None = None,
        max_waiting: int = 0,
        idle_s: float | None = None,
    ) -> None:
        """
        Args:
            origin: where requests go.
            timeouts: of each exchange, unless it brings its own.
            idle_connections: how many are kept for the next request.
            proxy: what stands between.
            max_connections: exchanges at the same time; None is any number.
            max_waiting: exchanges that may wait, first come first served, for one of `max_connections` to end.
            idle_s: how long an idle connection is trusted: middle boxes forget them without a word.
        """
        self.origin = origin
        self._proxy = proxy
        self._timeouts = timeouts
        self._idle: collections.deque[ClientConnection] = collections.deque()
        self._idle_limit = idle_connections
        self._idle_s = idle_s
        self._busy: set[ClientConnection] = set()
        self._outbox = Outbox()
        self._turns = Turns(max_connections, max_waiting, str(origin))
        self._connecting: set[asyncio.Timeout] = set()
        self._aborted: Exception | None = None
        self._closed = False

    @property
    def running(self) -> int:
        """Exchanges that have a connection, or are getting one."""
        return self._turns.taken

    @property
    def waiting(self) -> int:
        """Exchanges that wait for a connection to become free."""
        return self._turns.waiting

    @property
    def aborted(self) -> bool:
        """Whether it was closed for good."""
        return self._aborted is not None

    def stream(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> AbstractAsyncContextManager[Response]:
        """Send a request; the response's head has come when the context is entered.

        Leaving before the body was read to its end closes the connection, which tells the peer to stop.

        Raises:
            ConnectFailed, ConnectionLost, ResponseInvalid, ResponseTimeout.
            PoolFull: as many exchanges as are allowed are running and waiting.
            ValueError: a path or header that would break out of its line.
        """

        def encoded() -> bytes:
            head = self.prepare(method, path, headers or {})
            return with_body(head, body) if body or method not in ("GET", "HEAD") else head + b"\r\n"

        return _Exchange(self, encoded, head_only=method == "HEAD")

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

    def abort(self, failure: Exception) -> None:
        """Close everything at once, for good: whoever waits for anything here gets `failure`."""
        self._aborted = failure
        self.close()
        for connection in self._busy:
            connection.abort(failure)
        self._turns.refuse(failure)
        now_s = asyncio.get_running_loop().time()
        for timeout in self._connecting:
            timeout.reschedule(now_s)

    def prepare(self, method: str, path: str, headers: Mapping[str, str]) -> bytes:
        """The head of a request without its end: `with_body` adds the length and the body.

        Raises:
            ValueError: a path or header that would break out of its line.
        """
        if self._proxy is not None and self.origin.tls is None:
            path = f"http://{self.origin.authority}{path}"
            headers = {**headers, **self._proxy.headers}
        lines = [f"{method} {path} HTTP/1.1", f"host: {self.origin.authority}"]
        lines += (f"{name}: {value}" for name, value in headers.items())
        if any("\r" in line or "\n" in line or "\0" in line for line in lines):
            raise ValueError("A header must not contain line breaks.")
        if " " in method or " " in path:
            raise ValueError("A method or path must not contain spaces: percent-encode them.")
        return ("\r\n".join(lines) + "\r\n").encode("latin-1")

    async def open(
        self, request: bytes, *, timeouts: Timeouts | None = None, head_only: bool = False
    ) -> ClientConnection:
        """Send `request` (a prepared head and a body); the response's head has come on return.

        The caller must `release` the connection. Raises as `stream` does.
        """
        limits = timeouts or self._timeouts
        now_s = _now_s()
        deadline_s = None if limits.total_s is None else now_s + limits.total_s
        if not self._turns.take():
            await self._turns.wait(_sooner(limits.queue_s, deadline_s))
            now_s = _now_s()
        outbox = self._outbox if self._turns.taken > FEW else None
        connection: ClientConnection | None = None
        try:
            if self._aborted is not None:
                raise self._aborted
            while (connection := self._take_idle(now_s)) is not None:
                self._busy.add(connection)
                try:
                    connection.begin(
                        request, timeouts=limits, head_only=head_only, deadline_s=deadline_s, outbox=outbox
                    )
                    await connection.head()
                except ConnectionLost:
                    # The peer closed an idle connection while we wrote to it, so this was no attempt. A peer that has
                    # begun to answer, or was silent for a while, may have been at work: the caller's to judge.
                    if connection.received_anything or _now_s() - now_s > _IDLE_CLOSE_S:
                        raise
                    self._busy.discard(connection)
                    now_s = _now_s()
                else:
                    return connection
            connection = await self._connect(_sooner(limits.connect_s, deadline_s))
            self._busy.add(connection)
            await connection.send(request, timeouts=limits, head_only=head_only, deadline_s=deadline_s)
            return connection
        except BaseException:
            if connection is not None:
                self._busy.discard(connection)
            self._turns.give_back()
            raise

    def release(self, connection: ClientConnection) -> None:
        """The exchange is over: its connection is kept when it is good for another, and else closed."""
        self._busy.discard(connection)
        idle = self._idle
        if connection.reusable and not self._closed and len(idle) < self._idle_limit:
            if self._idle_s is not None:
                connection.idle_since_s = now_s = _now_s()
                while idle and idle[0].idle_since_s + self._idle_s < now_s:
                    idle.popleft().close()
            idle.append(connection)
        else:
            connection.close()
        self._turns.give_back()

    def _take_idle(self, now_s: float) -> ClientConnection | None:
        """The connection that was used last and is still good; those that are not are closed."""
        idle, idle_s = self._idle, self._idle_s
        while idle:
            connection = idle.pop()
            if connection.reusable and (idle_s is None or connection.idle_since_s + idle_s >= now_s):
                return connection
            connection.close()
        return None

    async def _connect(self, within_s: float | None) -> ClientConnection:
        loop = asyncio.get_running_loop()
        first = self.origin if self._proxy is None else self._proxy.origin
        timeout = asyncio.timeout(within_s)
        try:
            async with timeout:
                self._connecting.add(timeout)
                _, protocol = await loop.create_connection(ClientConnection, first.host, first.port, ssl=first.tls)
                if self._proxy is not None and self.origin.tls is not None:
                    await self._tunnel(protocol, self._proxy, self.origin.tls)
        except TimeoutError as error:
            if self._aborted is not None:
                raise self._aborted from None
            raise ConnectFailed(f"{self.origin} did not accept a connection in time.") from error
        except (OSError, ssl.SSLError) as error:
            raise ConnectFailed(f"{self.origin} cannot be reached: {error.strerror or error}.") from error
        finally:
            self._connecting.discard(timeout)
        if self._aborted is not None:
            protocol.close()
            raise self._aborted
        return protocol

    async def _tunnel(self, connection: ClientConnection, proxy: Proxy, tls: ssl.SSLContext) -> None:
        lines = [f"CONNECT {self.origin} HTTP/1.1", f"host: {self.origin}"]
        lines += (f"{name}: {value}" for name, value in proxy.headers.items())
        request = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        try:
            await connection.send(request, timeouts=Timeouts(), head_only=True)
            if not 200 <= connection.status < 300:
                raise ConnectFailed(f"The proxy {proxy.origin} answered {connection.status} to CONNECT {self.origin}.")
            await connection.start_tls(tls, self.origin.host)
        except BaseException:
            connection.close()
            raise


def with_body(head: bytes, body: bytes) -> bytes:
    """The whole request of a prepared head and a body."""
    return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)


def _now_s() -> float:
    """By the loop's clock."""
    return asyncio.get_running_loop().time()


def _sooner(limit_s: float | None, deadline_s: float | None) -> float | None:
    """Seconds from now until a limit or a deadline, whichever is first."""
    if deadline_s is None:
        return limit_s
    left_s = max(0.0, deadline_s - _now_s())
    return left_s if limit_s is None else min(limit_s, left_s)
