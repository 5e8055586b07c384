"""A request as a handler sees it, and the rules that its head must keep."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from urllib.parse import unquote

import msgspec

from tundish.http.errors import RequestRefused


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One whole request."""

    method: str
    target: str
    """As sent."""
    path: str
    """Percent-decoded, without the query."""
    query: str
    """As sent, without the question mark."""
    headers: Mapping[str, str]
    """Names in lower case, values in latin-1, repeated ones joined by a comma."""
    body: bytes
    peer: str
    """The client's address."""
    version: str = "1.1"
    keep_alive: bool = True
    """Whether the client would use the connection again."""
    admission: object = None
    """What the server's `admit` made of the head. Requests of a connection whose heads are the same share it."""


ONLY_ONCE = frozenset({"authorization", "content-length", "content-type", "host", "transfer-encoding"})
"""Headers of which two readers may pick different ones when they are repeated."""


def check_head(method: str, version: str, headers: Mapping[str, str]) -> None:
    """Refuse what llhttp lets pass and two servers in a row might understand differently.

    Raises:
        RequestRefused: with the status that says which rule was broken.
    """
    if version not in ("1.1", "1.0"):
        raise RequestRefused(
            f"This endpoint speaks HTTP/1.1, not HTTP/{version}.", status=505, code="http_version_not_supported"
        )
    if method == "CONNECT":
        raise RequestRefused("This endpoint is not a proxy.", status=501, code="not_implemented")
    if "host" not in headers and version == "1.1":
        raise RequestRefused("An HTTP/1.1 request needs a Host header.")
    if "transfer-encoding" in headers:
        if version == "1.0":
            raise RequestRefused("HTTP/1.0 has no Transfer-Encoding. Send a Content-Length.")
        if headers["transfer-encoding"].lower() != "chunked":
            raise RequestRefused(
                "The only Transfer-Encoding understood here is 'chunked'.", status=501, code="not_implemented"
            )
    if "expect" in headers and headers["expect"].lower() != "100-continue":
        raise RequestRefused(
            "The only expectation understood here is '100-continue'.", status=417, code="expectation_failed"
        )


@functools.lru_cache(maxsize=256)
def split_target(target: str) -> tuple[str, str, str | None]:
    """Path (decoded), query and, when the target is a whole URL as proxies get it, the host it names.

    Raises:
        RequestRefused: the target is none that an origin server can serve.
    """
    host = None
    if not target.startswith("/") and target != "*":
        scheme, separator, rest = target.partition("://")
        if not separator or scheme.lower() not in ("http", "https"):
            raise RequestRefused("The request's target must be a path ('/v1/models').")
        end = min((at for at in map(rest.find, "/?") if at >= 0), default=len(rest))
        host, target = rest[:end], rest[end:]
        if not host or "@" in host:
            raise RequestRefused("The request's target names no host, or a user.")
        if not target.startswith("/"):
            target = f"/{target}"
    path, _, query = target.partition("?")
    return unquote(path) if "%" in path else path, query, host
