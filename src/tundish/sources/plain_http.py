"""HTTP for big files: a connection and a thread for each.

The client of `tundish.http` is made for tokens: one callback for each chunk. Gigabytes want the opposite. Here one
thread receives a block and hands it on while the processor's cache still holds it, TLS is decrypted for several files
at once, and the event loop hears of it five times a second.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import selectors
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from urllib.parse import SplitResult, quote, unquote, urlsplit

import truststore

from tundish import __version__
from tundish.sources.errors import SourceRefused
from tundish.sources.transport import Response, TransportFailed, shown
from tundish.sources.worker import Worker

_BUFFER_BYTES = 1024 * 1024
_MOMENT_S = 0.2
_CONNECT_TIMEOUT_S = 10.0
_NOT_QUOTED = "/%:=&?~#+!$,;'@()*[]"


def _direct(_: str) -> str | None:
    return None


class PlainHttp:
    """Fetches URLs. `proxy_for` gives the proxy's address for a URL, or None to connect directly."""

    def __init__(self, *, proxy_for: Callable[[str], str | None] = _direct) -> None:
        self._proxy_for = proxy_for

    @contextlib.asynccontextmanager
    async def get(self, url: str, headers: Mapping[str, str], *, stall_s: float) -> AsyncGenerator[Response]:
        """Ask for `url` over a connection of its own."""
        exchange = _Exchange(url, headers, self._proxy_for(url), stall_s)
        worker = Worker("tundish-source")
        try:
            await worker.do(exchange.ask)
            yield _PlainResponse(exchange, worker)
        finally:
            exchange.interrupt()
            worker.close(exchange.close)


class _PlainResponse:
    def __init__(self, exchange: _Exchange, worker: Worker) -> None:
        self._exchange, self._worker = exchange, worker
        self.status = exchange.answer.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in exchange.answer.getheaders()}

    async def receive(self, sink: Callable[[memoryview], None]) -> bool:
        try:
            return await self._worker.do(self._exchange.receive, sink)
        except asyncio.CancelledError:
            self._exchange.interrupt()
            await asyncio.shield(self._worker.do(_nothing))  # its turn comes when the sink has returned
            raise


class _Exchange:
    """One request and its answer, blocking. All but `interrupt` belongs to one thread."""

    def __init__(self, url: str, headers: Mapping[str, str], proxy: str | None, stall_s: float) -> None:
        self._url, self._address = url, urlsplit(url)
        self._headers = {
            "user-agent": f"tundish/{__version__}",
            "accept": "*/*",
            **_credentials(self._address, "authorization"),
            **headers,
        }
        self._proxy = None if proxy is None else urlsplit(proxy)
        self._stall_s = stall_s
        self._connection: http.client.HTTPConnection | None = None
        self._answer: http.client.HTTPResponse | None = None
        self._socket: socket.socket | None = None
        self._ready = selectors.DefaultSelector()
        self._interrupted = False
        self._left_bytes: int | None = None
        """Of the body; None: until it ends."""
        self._failure: TransportFailed | None = None
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))

    @property
    def answer(self) -> http.client.HTTPResponse:
        """What came; after `ask`."""
        if self._answer is None:
            raise TransportFailed("nothing was asked yet")
        return self._answer

    def ask(self) -> None:
        """Connect, send the request and wait for the head of the answer."""
        with self._translated():
            target = self._connect()
            # The connection gives its socket away when the answer is its last, and the answer hides it.
            self._socket = connected = target.sock
            connected.settimeout(self._stall_s)
            target.request("GET", self._path(), headers=self._headers)
            self._answer = target.getresponse()
            self._left_bytes = self._answer.length
            self._ready.register(connected, selectors.EVENT_READ)

    def receive(self, sink: Callable[[memoryview], None]) -> bool:
        """See `Response`."""
        until_s = time.monotonic() + _MOMENT_S
        while count := self._fill():
            sink(self._buffer[:count])
            left_s = until_s - time.monotonic()
            if left_s <= 0 or not self._has_more(left_s):
                return True
        return False

    def _fill(self) -> int:
        """Wait for something, then take all that is there; what came before a failure is given out first."""
        if self._failure is not None:
            raise self._failure
        count = self._receive(self._buffer)
        try:
            while 0 < count < _BUFFER_BYTES and self._has_more(0) and (more := self._receive(self._buffer[count:])):
                count += more
        except TransportFailed as failure:
            self._failure = failure
        return count

    def interrupt(self) -> None:
        """Make whatever blocks in the other thread return."""
        self._interrupted = True
        with contextlib.suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the connection."""
        self._ready.close()
        for part in (self._answer, self._connection):
            with contextlib.suppress(OSError):
                if part is not None:
                    part.close()

    def _connect(self) -> http.client.HTTPConnection:
        address, proxy = self._address, self._proxy
        if address.scheme not in ("http", "https") or not address.hostname:
            raise SourceRefused(f"{shown(self._url)} is not an HTTP address.")
        if proxy is None:
            connection = _connection(address)
        else:
            if proxy.scheme not in ("http", "https") or not proxy.hostname:
                raise SourceRefused(f"The proxy {shown(proxy.geturl())} is not an HTTP address.")
            authorization = _credentials(proxy, "proxy-authorization")
            if address.scheme == "https":
                if proxy.scheme == "https":
                    raise SourceRefused(
                        f"{shown(self._url)} cannot be reached through a proxy that is itself reached by https "
                        f"({shown(proxy.geturl())}). Give its http:// address in HTTPS_PROXY."
                    )
                connection = http.client.HTTPSConnection(
                    proxy.hostname, proxy.port or 80, timeout=_CONNECT_TIMEOUT_S, context=_tls()
                )
                connection.set_tunnel(address.hostname, address.port or 443, headers=authorization)
            else:
                connection = _connection(proxy)
                self._headers |= authorization
        self._connection = connection
        connection.connect()
        if self._interrupted:
            raise TransportFailed("nobody waits any more")
        return connection

    def _path(self) -> str:
        address = self._address
        path = quote((address.path or "/") + (f"?{address.query}" if address.query else ""), safe=_NOT_QUOTED)
        through_proxy = self._proxy is not None and address.scheme == "http"
        return f"http://{address.netloc.rpartition('@')[2]}{path}" if through_proxy else path

    def _receive(self, buffer: memoryview) -> int:
        answer = self.answer
        with self._translated():
            if answer.chunked:
                piece = answer.read1(len(buffer))
                buffer[: len(piece)] = piece
                return len(piece)
            if self._left_bytes == 0:
                return 0
            wanted = buffer if self._left_bytes is None else buffer[: self._left_bytes]
            received = answer.fp.readinto1(wanted)
            if self._left_bytes is None:
                return received
            if not received:
                raise TransportFailed("the connection ended before the response did")
            self._left_bytes -= received
            return received

    def _has_more(self, timeout_s: float) -> bool:
        if self._left_bytes == 0:
            return False
        connected = self._socket
        if isinstance(connected, ssl.SSLSocket) and connected.pending():
            return True
        return bool(self._ready.select(timeout_s))

    @contextlib.contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except ssl.SSLCertVerificationError as error:
            raise SourceRefused(
                f"The certificate of {shown(self._url)} is not trusted ({error.verify_message}). If a proxy of your "
                "network inspects connections, its certificate must be installed on this machine (or: SSL_CERT_FILE)."
            ) from error
        except TimeoutError:
            raise TransportFailed(f"no byte for {self._stall_s:g} s") from None
        except http.client.IncompleteRead:
            raise TransportFailed("the connection ended before the response did") from None
        except http.client.InvalidURL as error:
            raise SourceRefused(f"{shown(self._url)} cannot be asked for: {error}") from None
        except http.client.HTTPException as error:
            raise TransportFailed(f"what came is not HTTP ({type(error).__name__}: {error})") from error
        except OSError as error:
            host = self._address.hostname if self._proxy is None else self._proxy.hostname
            what = "the connection broke" if self._answer is not None else f"{host} cannot be reached"
            raise TransportFailed(f"{what}: {error.strerror or error}") from error
        except ValueError as error:  # a port beyond the numbers, a header that would break out of its line
            raise SourceRefused(f"{shown(self._url)} cannot be asked for: {error}") from error


def _nothing() -> None:
    """Done."""


def _connection(address: SplitResult) -> http.client.HTTPConnection:
    host = address.hostname or ""
    if address.scheme == "https":
        return http.client.HTTPSConnection(host, address.port or 443, timeout=_CONNECT_TIMEOUT_S, context=_tls())
    return http.client.HTTPConnection(host, address.port or 80, timeout=_CONNECT_TIMEOUT_S)


def _tls() -> ssl.SSLContext:
    # The system's own authorities, as the Hub's client trusts them: those of a company's network among them.
    return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _credentials(address: SplitResult, header: str) -> dict[str, str]:
    """Those that the address itself carries."""
    if not address.username:
        return {}
    pair = f"{unquote(address.username)}:{unquote(address.password or '')}"
    return {header: "Basic " + base64.b64encode(pair.encode()).decode("ascii")}
