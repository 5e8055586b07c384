"""One request on its way through the API: what was asked, and the only way in which it is answered."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable, Mapping, Sequence

from tundish.access.keys import ANYONE, Principal
from tundish.core.clock import Clock
from tundish.core.errors import InvalidRequest, TundishError
from tundish.core.randomness import random_bytes
from tundish.http.exchange import Exchange
from tundish.http.message import HttpRequest
from tundish.wire import errors, sse

_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_JSON = "application/json"
_EXPOSED = (
    "x-request-id, x-tundish-deployment, x-tundish-place, openai-processing-ms, retry-after, retry-after-ms, "
    "x-should-retry"
)
_UNSTREAMED = (("cache-control", "no-store"),)
_STREAMED = (("content-type", sse.CONTENT_TYPE), ("cache-control", "no-cache"), ("x-accel-buffering", "no"))


class Call:
    """Adds what belongs on every answer: the request's id, the time it took, the web page's permission to read it."""

    def __init__(self, request: HttpRequest, exchange: Exchange, clock: Clock) -> None:
        self.request = request
        self.exchange = exchange
        self.parameters: Mapping[str, str] = {}
        """What the route's `{name}` stands for."""
        self.sent_body = request.body
        """As the client sent it; a surface may have completed `request.body`, as with what its path says."""
        self.encode_error: Callable[[TundishError], bytes] = errors.encode_body
        """How the route's surface tells an error."""
        self.route = "unknown"
        """The route's path, for metrics."""
        self.status = 0
        """The status that was sent; 0 before."""
        self.origin: str | None = None
        """The web page's origin that may read the answer."""
        self.principal: Principal = ANYONE
        """Whose key it came with."""
        self._answered_by: tuple[tuple[str, str], ...] = ()
        self._clock = clock
        self._began_s = clock.monotonic_s()
        self.id = request_id(request.headers)

    def respond(
        self,
        body: bytes,
        *,
        status: int = 200,
        content_type: str = _JSON,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        """The whole answer."""
        self.status = status
        kind = (("content-type", content_type),) if body else ()
        self.exchange.respond(status, [*kind, *_UNSTREAMED, *headers, *self._common()], body)

    def refuse(self, error: TundishError) -> bytes:
        """Answer with an error; ends a stream with it when one has begun. What was sent of the body."""
        if self.exchange.over:
            return b""
        body = self.encode_error(error)
        if self.exchange.started:
            body = sse.encode(body)
            self.exchange.write(body)
            self.exchange.finish()
        else:
            self.respond(body, status=errors.status(error), headers=errors.headers(error))
        return body

    def answered_by(self, deployment: str, place: str) -> None:
        """Name in the response's head who answers, and where."""
        self._answered_by = (("x-tundish-deployment", _shown(deployment)), ("x-tundish-place", _shown(place)))

    def start_stream(self) -> None:
        """The head of a stream of server-sent events; nothing happens when it was sent already."""
        if not self.exchange.started:
            self.status = 200
            self.exchange.start(200, [*_STREAMED, *self._common()])

    def require_json(self) -> None:
        """Refuse a body that is not said to be JSON: it is a mistake, or a form that a web page has posted.

        Raises:
            InvalidRequest: with what to send.
        """
        headers = self.request.headers
        kind, _, parameters = headers.get("content-type", "").lower().partition(";")
        charset = parameters.partition("charset=")[2].strip(' "')
        if kind.strip() != _JSON and not (kind.startswith("application/") and kind.strip().endswith("+json")):
            raise InvalidRequest(
                "The body must be JSON: send the header 'content-type: application/json'.",
                code="unsupported_media_type",
            )
        if charset not in ("", "utf-8", "utf8", "us-ascii"):
            raise InvalidRequest("The body must be UTF-8.", code="unsupported_media_type")
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise InvalidRequest("The body must not be compressed.", code="unsupported_media_type")

    def _common(self) -> list[tuple[str, str]]:
        elapsed_ms = round((self._clock.monotonic_s() - self._began_s) * 1000)
        common = [("x-request-id", self.id), ("openai-processing-ms", str(elapsed_ms)), *self._answered_by]
        if self.origin is not None:
            common += [
                ("access-control-allow-origin", self.origin),
                ("access-control-expose-headers", _EXPOSED),
                ("vary", "origin"),
            ]
        return common


def request_id(headers: Mapping[str, str]) -> str:
    """The client's own id when it can stand in a header and a log, else a new one."""
    given = headers.get("x-request-id", "")
    return given if _SANE_ID.fullmatch(given) else new_request_id()


def new_request_id() -> str:
    """An id that nobody else has."""
    return f"req_{random_bytes(16).hex()}"


def _shown(name: str) -> str:
    """A name as a header can hold it."""
    return name if name.isascii() and name.isprintable() else urllib.parse.quote(name)
