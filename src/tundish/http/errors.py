"""What can go wrong between two machines.

HttpError
├── ConnectFailed       nobody listens there, or TLS could not be agreed on
├── ConnectionLost      the peer went away before the response was complete
├── ResponseInvalid     what came is not HTTP
└── ResponseTimeout     nothing came within the time allowed
PoolFull                as many exchanges as are allowed are running and waiting
RequestRefused          (server) what came is not a request, or breaks a bound of the transport
CannotListen            (server) the address to listen on cannot be had
├── AddressInUse        somebody else has it
└── TlsUnusable         (tls) its certificate or key cannot be used
"""

from __future__ import annotations

from tundish.core.errors import BackendError, InvalidRequest, Overloaded, TundishError


class HttpError(BackendError):
    """Root of the client's errors."""

    code = "upstream_error"


class ConnectFailed(HttpError):
    """No connection could be made."""

    code = "upstream_unreachable"


class ConnectionLost(HttpError):
    """The connection ended too early."""

    code = "upstream_connection_lost"


class ResponseInvalid(HttpError):
    """The peer does not speak HTTP/1.1, or not within the bounds."""

    code = "upstream_response_invalid"


class ResponseTimeout(HttpError):
    """The peer was silent for too long."""

    code = "upstream_timeout"


class PoolFull(Overloaded):
    """Our own bound: nothing was sent."""

    code = "upstream_pool_full"


class RequestRefused(InvalidRequest):
    """No handler gets to see this request.

    `status` is part of HTTP itself here (431, 408, 417 …), so it is not mapped with the other errors' statuses.
    """

    def __init__(self, message: str, *, status: int = 400, code: str = "malformed_request") -> None:
        super().__init__(message, code=code)
        self.status = status


class CannotListen(TundishError):
    """The address to listen on cannot be had."""

    code = "cannot_listen"


class AddressInUse(CannotListen):
    """Somebody already listens there."""

    code = "address_in_use"
