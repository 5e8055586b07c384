"""One request on its way through the API: what was asked, and the only way in which it is answered."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence

from tundish.core.clock import Clock
from tundish.core.errors import InvalidRequest, TundishError
from tundish.http.exchange import Exchange
from tundish.http.message import HttpRequest
from tundish.wire import errors, sse

_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_JSON = "application/json"
_EXPOSED = "x-request-id, openai-processing-ms, retry-after, retry-after-ms, x-should-retry"
_UNSTREAMED = (("cache-control", "no-store"),)
_STREAMED = (("content-type", sse.CONTENT_TYPE), ("cache-control", "no-cache"), ("x-accel-buffering", "no"))


class Call:
    """Adds what belongs on every answer: the request's id, the time it took, the web page's permission to read it."""

    def __init__(self, request: HttpRequest, exchange: Exchange, clock: Clock) -> None:
        self.request = request
        self.exchange = exchange
        self.parameters: Mapping[str, str] = {}
        """What the route's `{name}` stands for."""
        self.route = "unknown"
        """The route's path, for metrics."""
        self.status = 0
        """The status that was sent; 0 before."""
        self.origin: str | None = None
        """The web page's origin that may read the answer."""
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

    def refuse(self, error: TundishError) -> None:
        """Answer with an error; ends a stream with it when one has begun."""
        if self.exchange.over:
            return
        if self.exchange.started:
            self.exchange.write(errors.encode_event(error))
            self.exchange.finish()
        else:
            self.respond(errors.encode_body(error), status=errors.status(error), headers=errors.headers(error))

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
        common = [("x-request-id", self.id), ("openai-processing-ms", str(elapsed_ms))]
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
    return f"req_{secrets.token_hex(16)}"
