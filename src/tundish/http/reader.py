"""Bytes of one connection → requests. Pure: it knows no socket and no clock.

llhttp does the parsing and is strict about everything that request smuggling lives on; what it leaves open is closed by
`message.check_head`. What is added here are the bounds: no client can make a reader hold more than the limits say.
"""

from __future__ import annotations

import collections
import enum
from collections.abc import Callable
from typing import NoReturn

import httptools

from tundish.core.errors import RequestTooLarge, TundishError, Unavailable
from tundish.http.errors import RequestRefused
from tundish.http.known_head import KnownHead
from tundish.http.limits import Limits
from tundish.http.message import ONLY_ONCE, HttpRequest, check_head, split_target

Admit = Callable[[HttpRequest], object]
"""Given the head of a request with a body, before any of the body is kept; raises a TundishError to refuse it.

What it returns goes with the request and, unless it is None, with those that follow on the connection and have the
very same head but for the body's length.
"""


class Phase(enum.Enum):
    """How far the current request has come."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"


class BodyMemory:
    """Bytes of request bodies that all connections of a server hold together."""

    __slots__ = ("held", "limit")

    def __init__(self, limit: int) -> None:
        self.held = 0
        self.limit = limit


class RequestReader:
    """Fed with what arrives; complete requests, and the error that ends the connection, queue up in `ready`."""

    __slots__ = (
        "_admission",
        "_admit",
        "_body",
        "_failure",
        "_head_bytes",
        "_headers",
        "_keep_alive",
        "_known",
        "_limits",
        "_memory",
        "_method",
        "_moved",
        "_parser",
        "_path",
        "_peer",
        "_query",
        "_raw_headers",
        "_still_bytes",
        "_target",
        "_upgrade",
        "_version",
        "body_bytes",
        "ended",
        "expects_continue",
        "messages",
        "phase",
        "ready",
    )

    def __init__(self, limits: Limits, memory: BodyMemory, peer: str, admit: Admit | None = None) -> None:
        self._admit = admit
        self._limits = limits
        self._memory = memory
        self._peer = peer
        self._parser = httptools.HttpRequestParser(self)
        self._failure: TundishError | None = None
        self._known: KnownHead | None = None
        self._upgrade = False
        self._moved = False
        self._still_bytes = 0
        self.ready: collections.deque[HttpRequest | TundishError] = collections.deque()
        self.phase = Phase.IDLE
        self.messages = 0
        """Requests begun."""
        self.ended = False
        """Nothing more is read: the last request or an error has come."""
        self._begin()

    def _begin(self) -> None:
        self._target = ""
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._raw_headers: list[tuple[bytes, bytes]] = []
        self._method = self._version = self._path = self._query = ""
        self._keep_alive = False
        self._admission: object = None
        self._body: bytes | bytearray = b""
        self.body_bytes = 0
        self.expects_continue = False
        """The client sends the body only when told to go on."""

    def feed(self, data: bytes) -> None:
        """Take what has arrived."""
        if self.ended:
            return
        idle = self.phase is Phase.IDLE
        if idle and self._known is not None and (request := self._known.request(data)) is not None:
            held = self._memory.held + len(request.body)
            if held <= self._memory.limit:  # else: by the usual way, which knows what to say
                self._memory.held = held
                self.messages += 1
                self.ready.append(request)
                return
        self._moved = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_without_upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            if not self.ended:  # else: bytes behind the last request
                self.fail(self._failure or RequestRefused(f"This is not an HTTP request: {error}."))
            return
        if self._moved:
            self._still_bytes = 0
            if idle and self.phase is Phase.IDLE and not self.ended:
                self._learn(data)
        elif self.phase is not Phase.IDLE:
            # One endless header, trailer or chunk extension: llhttp collects it without a word to us.
            self._still_bytes += len(data)
            if self._still_bytes > self._limits.head_bytes:
                self.fail(self._head_too_large())

    def fail(self, error: TundishError) -> None:
        """Give up: `error` is the last thing in `ready`."""
        self.ended = True
        self._drop_body()
        self.phase = Phase.IDLE
        self.ready.append(error)

    def release(self, request: HttpRequest) -> None:
        """A request that was taken from `ready` is done with."""
        self._memory.held -= len(request.body)

    def close(self) -> None:
        """The connection is gone, and everything that waits with it."""
        self.ended = True
        self._parser = _NO_PARSER  # the two know each other: nobody but the collector would free them
        self._drop_body()
        while self.ready:
            waiting = self.ready.pop()
            if isinstance(waiting, HttpRequest):
                self.release(waiting)

    def _learn(self, data: bytes) -> None:
        """Nothing but whole requests came: the next one may begin as the last did."""
        last = self.ready[-1] if self.ready else None
        if isinstance(last, HttpRequest) and last.body and (self._admit is None or last.admission is not None):
            self._known = KnownHead.of(data, last, self._limits.body_bytes)

    def _drop_body(self) -> None:
        self._memory.held -= self.body_bytes
        self._body = b""
        self.body_bytes = 0

    def _refuse(self, error: TundishError) -> NoReturn:
        """From within a callback: httptools wraps the exception, so the error is kept beside it."""
        self._failure = error
        raise error

    def _head_too_large(self) -> RequestRefused:
        return RequestRefused(
            f"The request's headers are larger than {self._limits.head_bytes} bytes.",
            status=431,
            code="headers_too_large",
        )

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Ignore an Upgrade, as RFC 9110 (7.8) allows: Java's client offers h2c with every request.

        llhttp stops behind the head. A new parser is brought to the same place with a head of the same framing.
        """
        headers = self._headers
        self._parser = httptools.HttpRequestParser(self)
        framing = next((f"{name}: {headers[name]}" for name in _FRAMING if name in headers), "content-length: 0")
        self._parser.feed_data(f"POST / HTTP/1.1\r\n{framing}\r\n".encode("latin-1"))
        # The blank line completes the head, for the second time, and a message without a body.
        self._moved = True
        self.feed(b"\r\n" + rest)

    # --- httptools ---

    def on_message_begin(self) -> None:
        """Part of llhttp's callbacks."""
        if self._upgrade:
            return
        self._begin()
        self.phase = Phase.HEAD
        self.messages += 1
        self._moved = True

    def on_url(self, url: bytes) -> None:
        """Part of llhttp's callbacks."""
        if self._upgrade:
            return
        self._target += url.decode("latin-1")
        self._head_bytes += len(url)
        if len(self._target) > self._limits.target_bytes:
            message = f"The URL is longer than {self._limits.target_bytes} bytes."
            self._refuse(RequestRefused(message, status=414, code="uri_too_long"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Part of llhttp's callbacks; trailers come this way too, and are counted but not used."""
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > self._limits.head_bytes:
            self._refuse(self._head_too_large())
        self._raw_headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Part of llhttp's callbacks."""
        if self._upgrade:
            self._upgrade = False
            return
        parser = self._parser
        headers = self._headers = self._decode_headers()
        self._method = parser.get_method().decode("ascii")
        self._version = parser.get_http_version()
        self._keep_alive = parser.should_keep_alive()
        self._upgrade = parser.should_upgrade()
        try:
            check_head(self._method, self._version, headers)
            self._path, self._query, host = split_target(self._target)
        except RequestRefused as error:
            self._refuse(error)
        if host is not None:
            headers["host"] = host  # RFC 9112, 3.2.2: what the target says is what counts
        if "content-length" in headers and int(headers["content-length"]) > self._limits.body_bytes:
            self._refuse(RequestTooLarge(limit_bytes=self._limits.body_bytes))
        if self._admit is not None and ("transfer-encoding" in headers or int(headers.get("content-length", 0))):
            try:
                self._admission = self._admit(self._request())
            except TundishError as error:
                self._refuse(error)
        self.expects_continue = "expect" in headers and self._version == "1.1"
        self.phase = Phase.BODY

    def _decode_headers(self) -> dict[str, str]:
        raw = self._raw_headers
        if len(raw) > self._limits.headers:
            message = f"The request has more than {self._limits.headers} headers."
            self._refuse(RequestRefused(message, status=431, code="headers_too_large"))
        headers: dict[str, str] = {}
        for name, value in raw:
            key = _KNOWN_NAMES.get(name) or _decode_name(name)
            if value and value[-1] <= _SPACE:  # llhttp leaves what is behind a value
                value = value.rstrip(b" \t")
            text = value.decode("latin-1")
            if key not in headers:
                headers[key] = text
            elif key in ONLY_ONCE:
                self._refuse(RequestRefused(f"The header '{key}' was sent twice."))
            else:
                headers[key] = f"{headers[key]}, {text}"
        return headers

    def on_body(self, body: bytes) -> None:
        """Part of llhttp's callbacks."""
        size = len(body)
        self._moved = True
        self.expects_continue = False
        self.body_bytes += size
        memory = self._memory
        memory.held += size
        if self.body_bytes > self._limits.body_bytes:
            self._refuse(RequestTooLarge(limit_bytes=self._limits.body_bytes))
        if memory.held > memory.limit and memory.held > self.body_bytes:
            self._refuse(Unavailable("The endpoint holds as many request bodies as it may. Try again shortly."))
        if not self._body:
            self._body = body
        elif isinstance(self._body, bytes):
            self._body = bytearray(self._body)
            self._body += body
        else:
            self._body += body

    def on_message_complete(self) -> None:
        """Part of llhttp's callbacks."""
        if self._upgrade:
            return  # llhttp's idea of a message that ends where another protocol begins
        self._moved = True
        request = self._request()
        # From here on the request answers for its bytes: see `release`.
        self._body = b""
        self.body_bytes = 0
        self.expects_continue = False
        self.phase = Phase.IDLE
        self.ended = not self._keep_alive
        self.ready.append(request)

    def _request(self) -> HttpRequest:
        return HttpRequest(
            method=self._method,
            target=self._target,
            path=self._path,
            query=self._query,
            headers=self._headers,
            body=bytes(self._body),
            peer=self._peer,
            version=self._version,
            keep_alive=self._keep_alive,
            admission=self._admission,
        )


def _decode_name(name: bytes) -> str:
    text = name.decode("latin-1").lower()
    if len(name) <= _KNOWN_NAME_BYTES and len(_KNOWN_NAMES) < _KNOWN_NAMES_LIMIT:
        _KNOWN_NAMES[name] = text
    return text


_FRAMING = ("content-length", "transfer-encoding")
_SPACE = 0x20
_NO_PARSER = httptools.HttpRequestParser(None)
_KNOWN_NAMES: dict[bytes, str] = {}
"""Names that were seen, as sent: clients send the same ones again and again."""
_KNOWN_NAMES_LIMIT = 1024
_KNOWN_NAME_BYTES = 40
