"""What a provider's refusal means to the client: its own mistakes as they are, ours as the backend's failure."""

from __future__ import annotations

from collections.abc import Mapping

from tundish.core.errors import BackendError, BackendTimeout, InvalidRequest, Overloaded, TundishError, Unavailable
from tundish.http.errors import HttpError, ResponseTimeout
from tundish.wire import errors

_THE_CLIENTS = frozenset({400, 413, 415, 422})
"""Statuses that speak of the request's content. All other 4xx speak of how we asked: key, name, path, account."""
_OUR_CREDENTIALS = frozenset({401, 402, 403, 407})
_TIMED_OUT = frozenset({408, 504})
_BUSY = frozenset({429, 498, 529})


def of_response(where: str, status: int, headers: Mapping[str, str], body: bytes) -> TundishError:
    """The error to raise for a response that is no success. `where`: whose it is, for people.

    What the provider says about our key is for the operator, who finds it in the backend's status: it may name the key.
    """
    said = errors.decode_response(status, headers, body)
    if status in _THE_CLIENTS or isinstance(said, Overloaded | Unavailable):
        return said
    if status in _BUSY:
        return errors.decode_response(429, headers, body)
    if status in _TIMED_OUT:
        return BackendTimeout(f"The server of this model at {where} gave up waiting: {said}")
    if status in _OUR_CREDENTIALS:
        return _ours(
            f"The server of this model at {where} does not accept this endpoint's own credentials ({status}). "
            "This endpoint's operator has to look at them.",
            said,
        )
    if 300 <= status < 500:
        return _ours(f"The server of this model at {where} refused the request: {said}", said)
    if isinstance(said, BackendError):
        return said
    return _ours(f"The server of this model at {where} failed: {said}", said)


def of_event(where: str, error: TundishError) -> TundishError:
    """The error to raise for one that came within an answer: the request had been accepted before."""
    if isinstance(error, InvalidRequest | Overloaded | Unavailable | BackendError):
        return error
    return _ours(f"The server of this model at {where} ended its answer: {error}", error)


def of_body(where: str, body: bytes) -> TundishError | None:
    """The error that a server told with the status of a success; None when there is none in `body`."""
    said = errors.decode_event(body)
    return None if said is None else of_event(where, said)


def of_connection(where: str, error: HttpError) -> TundishError:
    """The error to raise when nothing sensible came at all."""
    if isinstance(error, ResponseTimeout):
        return BackendTimeout(f"The server of this model at {where} was too slow: {error}")
    failure = BackendError(f"The server of this model failed ({where}: {error}) Is it running?")
    failure.code = error.code
    return failure


def _ours(message: str, said: TundishError) -> BackendError:
    failure = BackendError(message)
    if said.code in _TELLING:
        failure.code = said.code
    return failure


_TELLING = frozenset({"DeploymentNotFound", "model_not_found", "insufficient_quota"})
"""Codes that help whoever reads a receipt, and that no client takes for its own mistake."""
