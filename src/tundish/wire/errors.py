"""Errors on the wire: OpenAI's shape, the one map from our error tree to HTTP, and back again for clients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from tundish.core import errors
from tundish.core.errors import InvalidRequest, Overloaded, TundishError, Unavailable
from tundish.wire import sse

# The nearest class in an error's own line of descent counts, so a package's own kinds need no entry.
_STATUS: Mapping[type[TundishError], int] = {
    errors.TundishError: 500,
    errors.InvalidRequest: 400,
    errors.RequestTooLarge: 413,
    errors.Unauthenticated: 401,
    errors.PermissionDenied: 403,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.Overloaded: 429,
    errors.Unavailable: 503,
    errors.BackendError: 502,
    errors.BackendTimeout: 504,
    errors.BackendStopped: 503,
    errors.ModelFileInvalid: 500,
    errors.ModelLoadFailed: 500,
}
# What HTTP has a number for and the core has no use for.
_STATUS_BY_CODE: Mapping[str, int] = {"unsupported_media_type": 415}
_RETRY_SOON_S = 1.0


class _Error(msgspec.Struct, kw_only=True):
    message: str
    type: str
    param: str | None
    code: str | None
    innererror: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """Azure's findings of a content filter."""


class _ErrorBody(msgspec.Struct, kw_only=True):
    error: _Error


class _AnyError(msgspec.Struct, kw_only=True):
    """What other servers make of it."""

    message: str | None = None
    type: str | None = None
    code: str | int | None = None
    param: str | None = None
    innererror: msgspec.Raw = msgspec.Raw()


class _AnyErrorBody(msgspec.Struct, kw_only=True):
    error: _AnyError | str | None = None
    message: str | None = None
    detail: str | None = None


_ANY_ERROR = msgspec.json.Decoder(_AnyErrorBody)


def status(error: TundishError) -> int:
    """The HTTP status of `error`."""
    by_code = _STATUS_BY_CODE.get(error.code)
    if by_code is not None:
        return by_code
    return next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)


def encode_body(error: TundishError, *, code: str | None = None) -> bytes:
    """`{"error": {message, type, param, code}}`; `code` stands for the error's own where a surface has another."""
    number = status(error)
    body = _ErrorBody(
        error=_Error(
            message=error.message,
            type=_type(number),
            param=error.param if isinstance(error, InvalidRequest) else None,
            code=code or error.code,
        )
    )
    if isinstance(error, errors.ContentFiltered) and error.innererror is not None:
        body.error.innererror = msgspec.Raw(error.innererror)
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:  # half of a surrogate pair, from a file's name or a header
        body.error.message = error.message.encode("utf-8", "replace").decode()
        return msgspec.json.encode(body)


def response(error: TundishError) -> tuple[int, Sequence[tuple[str, str]], bytes]:
    """Status, headers and body of the response that tells `error`."""
    return status(error), [("content-type", "application/json"), *headers(error)], encode_body(error)


def encode_event(error: TundishError) -> bytes:
    """The event that ends a stream before its answer is complete; no `[DONE]` follows it."""
    return sse.encode(encode_body(error))


def headers(error: TundishError) -> Sequence[tuple[str, str]]:
    """What the status alone does not say: whether and when to try again, what would be allowed."""
    found = [("x-should-retry", "true" if error.retryable else "false")]
    if isinstance(error, Overloaded | Unavailable):
        seconds = max(0.0, error.retry_after_s)
        found += [("retry-after", str(math.ceil(seconds))), ("retry-after-ms", str(math.ceil(seconds * 1000)))]
    if isinstance(error, errors.MethodNotAllowed):
        found.append(("allow", ", ".join(error.allowed)))
    if isinstance(error, errors.Unauthenticated):
        found.append(("www-authenticate", "Bearer"))
    return found


def _type(status_code: int) -> str:
    if status_code >= 500:
        return "server_error"
    return "rate_limit_error" if status_code == 429 else "invalid_request_error"


def decode_response(status_code: int, response_headers: Mapping[str, str], body: bytes) -> TundishError:
    """The error that a server answered with; `response_headers` have lower-case names. Never raises."""
    said = _decode(body)
    message = said.message or f"The server answered {status_code} without saying why."
    code = None if said.code is None else str(said.code)
    if status_code == 400 and code == "content_filter":
        # A copy, since a Raw keeps the whole body alive.
        innererror = bytes(said.innererror) or None
        return errors.ContentFiltered(message, param=said.param, innererror=innererror)
    return _typed(status_code, message, code, said.param, _retry_after_s(response_headers))


def decode_event(body: bytes) -> TundishError | None:
    """The error in an event of a stream, or None when `body` is none. Its code or else its type decides its class."""
    if b'"error"' not in body:
        return None
    said = _decode(body)
    if said.message is None:
        return None
    code = None if said.code is None else str(said.code)
    status_code = _STATUS_OF_CODE.get(code or "") or _STATUS_OF_TYPE.get(said.type or "", 502)
    return _typed(status_code, said.message, code, said.param, _RETRY_SOON_S)


def _decode(body: bytes) -> _AnyError:
    try:
        said = _ANY_ERROR.decode(body)
    except (ValueError, RecursionError):
        return _AnyError()
    if isinstance(said.error, _AnyError):
        return said.error
    return _AnyError(message=said.error or said.message or said.detail)


def _retry_after_s(response_headers: Mapping[str, str]) -> float:
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(response_headers[name]) * unit_s
        except (KeyError, ValueError):
            continue
        if 0 <= seconds < math.inf:
            return seconds
    return _RETRY_SOON_S


def _typed(status_code: int, message: str, code: str | None, param: str | None, retry_after_s: float) -> TundishError:
    if code in _BACKEND_CODES:
        return _BACKEND_CODES[code](message)
    error: TundishError
    if status_code == 429:
        error = Overloaded(message, retry_after_s=retry_after_s)
    elif status_code == 503:
        error = Unavailable(message, retry_after_s=retry_after_s)
    elif status_code in _CLIENT_STATUS:
        error = _CLIENT_STATUS[status_code](message)
    elif 400 <= status_code < 500:
        error = InvalidRequest(message, param=param)
    else:
        error = (errors.BackendTimeout if status_code == 504 else errors.BackendError)(message)
    if code:
        error.code = code
    return error


_CLIENT_STATUS: Mapping[int, type[TundishError]] = {
    401: errors.Unauthenticated,
    403: errors.PermissionDenied,
    404: errors.NotFound,
}
_BACKEND_CODES: Mapping[str | None, type[errors.BackendError]] = {
    kind.code: kind
    for kind in (
        errors.ModelFileInvalid,
        errors.ModelLoadFailed,
        errors.BackendDied,
        errors.BackendTimeout,
        errors.BackendStopped,
    )
}
_STATUS_OF_TYPE: Mapping[str, int] = {"invalid_request_error": 400, "rate_limit_error": 429}
_STATUS_OF_CODE: Mapping[str, int] = {
    **{kind.code: number for kind, number in _STATUS.items() if kind is not TundishError},
    errors.ModelNotFound.code: 404,
}
