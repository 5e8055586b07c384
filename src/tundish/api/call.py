"""One request on its way through the API: what was asked, and the only way in which it is answered."""

from __future__ import annotations

import functools
import logging
import re
import urllib.parse
from collections.abc import Mapping, Sequence

from tundish.access.keys import ANYONE, Principal
from tundish.api.admission import Admission
from tundish.core.clock import Clock
from tundish.core.errors import InvalidRequest, TundishError
from tundish.core.randomness import random_bytes
from tundish.http.exchange import Exchange
from tundish.http.message import HttpRequest
from tundish.wire import errors, sse

_logger = logging.getLogger(__name__)

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

    __slots__ = (
        "_answered_by",
        "_began_s",
        "_clock",
        "admission",
        "exchange",
        "id",
        "principal",
        "request",
        "sent_body",
        "status",
    )

    def __init__(self, request: HttpRequest, exchange: Exchange, clock: Clock) -> None:
        self.request = request
        self.exchange = exchange
        self.admission = request.admission if isinstance(request.admission, Admission) else Admission()
        """What its head came to."""
        self.sent_body = request.body
        """As the client sent it; a surface may have completed `request.body`, as with what its path says."""
        self.status = 0
        """The status that was sent; 0 before."""
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
        body = self.admission.encode_error(error)
        if self.exchange.started:
            body = sse.encode(body)
            self.exchange.write(body)
            self.exchange.finish()
        else:
            self.respond(body, status=errors.status(error), headers=errors.headers(error))
        return body

    def fail(self, error: Exception) -> bytes:
        """Answer for a mistake of ours: the log has it, the client where to find it. What was sent of the body."""
        _logger.error("The request %s failed", self.id, exc_info=error)
        return self.refuse(TundishError(f"Something went wrong in this endpoint; its log says what, under {self.id}."))

    def answered_by(self, deployment: str, place: str) -> None:
        """Name in the response's head who answers, and where."""
        self._answered_by = _answered_by(deployment, place)

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
        if self.admission.origin is not None:
            common += [
                ("access-control-allow-origin", self.admission.origin),
                ("access-control-expose-headers", _EXPOSED),
                ("vary", "origin"),
            ]
        return common


def request_id(headers: Mapping[str, str]) -> str:
    """The client's own id when it can stand in a header and a log, else a new one."""
    given = headers.get("x-request-id")
    return given if given and _SANE_ID.fullmatch(given) else new_request_id()


def new_request_id() -> str:
    """An id that nobody else has."""
    return f"req_{random_bytes(16).hex()}"


@functools.lru_cache(maxsize=1024)
def _answered_by(deployment: str, place: str) -> tuple[tuple[str, str], ...]:
    return (("x-tundish-deployment", _shown(deployment)), ("x-tundish-place", _shown(place)))


def _shown(name: str) -> str:
    """A name as a header can hold it."""
    return name if name.isascii() and name.isprintable() else urllib.parse.quote(name)
