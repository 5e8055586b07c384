"""The pool of connections that a remote deployment describes."""

from __future__ import annotations

import base64
import ssl
import urllib.parse

import truststore

from tundish.http.client import HttpClient, Origin, Proxy
from tundish.http.errors import ConnectFailed
from tundish.http.timeouts import Timeouts
from tundish.providers.errors import SpecInvalid
from tundish.providers.spec import RemoteSpec, RemoteTimeouts, Tls

_IDLE_S = 60.0
"""Load balancers forget a silent connection after minutes, and some say nothing when they do."""


def open_pool(spec: RemoteSpec, base_url: str) -> HttpClient:
    """No connection is made yet.

    Raises:
        SpecInvalid: a URL, a certificate or a key cannot be used.
    """
    try:
        parts = urllib.parse.urlsplit(base_url)
        tls = tls_context(spec.tls) if parts.scheme == "https" else None
        origin = _origin(base_url, tls)
        proxy = None if spec.proxy is None else parse_proxy(spec.proxy)
    except ConnectFailed as error:
        raise SpecInvalid(str(error)) from error
    return HttpClient(
        origin,
        timeouts=whole_timeouts(spec.timeouts),
        idle_connections=spec.max_connections,
        proxy=proxy,
        max_connections=spec.max_connections,
        max_waiting=spec.max_waiting,
        idle_s=_IDLE_S,
    )


def whole_timeouts(given: RemoteTimeouts) -> Timeouts:
    """For an answer in one piece, which comes when it is complete."""
    return Timeouts(
        connect_s=given.connect_s,
        queue_s=given.queue_s,
        total_s=given.total_s,
        between_bytes_s=given.between_tokens_s,
    )


def stream_timeouts(given: RemoteTimeouts) -> Timeouts:
    """For an answer that comes token by token."""
    return Timeouts(
        connect_s=given.connect_s,
        queue_s=given.queue_s,
        total_s=given.total_s,
        first_byte_s=given.first_token_s,
        first_body_byte_s=given.first_token_s,
        between_bytes_s=given.between_tokens_s,
    )


def tls_context(tls: Tls) -> ssl.SSLContext:
    """Whom we trust, and who we are.

    Raises:
        SpecInvalid: a file is missing or is not what it should be.
    """
    if tls.ca_file is None:
        context: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(cafile=tls.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise SpecInvalid(f"The CA file '{tls.ca_file}' cannot be used: {_reason(error)}.") from error
    context.set_alpn_protocols(["http/1.1"])
    if tls.client_cert is None:
        if tls.client_key is not None:
            raise SpecInvalid("A client key is no use without its certificate: name 'client_cert' too.")
        return context
    try:
        # A function, since OpenSSL asks at the terminal when it has no password for a key that needs one.
        context.load_cert_chain(tls.client_cert, tls.client_key, password=lambda: tls.client_key_password or "")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise SpecInvalid(
            f"The client certificate '{tls.client_cert}' and its key cannot be used: {_reason(error)}."
        ) from error
    return context


def parse_proxy(url: str) -> Proxy:
    """`http://[USER:PASSWORD@]HOST:PORT`, or https.

    Raises:
        SpecInvalid: it is none; the message does not show the password.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        origin = Origin.of(shown)
    except (ValueError, ConnectFailed):
        raise SpecInvalid("The proxy must be a URL: http://[USER:PASSWORD@]HOST:PORT.") from None
    if parts.username is None:
        return Proxy(origin=origin)
    user, password = urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
    return Proxy(
        origin=origin, authorization="Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
    )


def _origin(url: str, tls: ssl.SSLContext | None) -> Origin:
    plain = Origin.of(url.replace("https://", "http://", 1)) if tls is not None else Origin.of(url)
    if tls is None:
        return plain
    port = urllib.parse.urlsplit(url).port
    return Origin(host=plain.host, port=port or 443, tls=tls)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
