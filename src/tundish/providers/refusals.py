"""What a provider's failure means to the client: its own mistakes in the provider's words, all else in ours.

Clients of this endpoint are not its owner. They are told which deployment failed and how; the provider's address, its
name for the model, and what it says about our account are in the error's `detail`, for the log and the receipt.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable, Mapping

from tundish.core.errors import (
    BackendError,
    BackendTimeout,
    ContentFiltered,
    InvalidRequest,
    Overloaded,
    TundishError,
    Unavailable,
)
from tundish.http.errors import ConnectFailed, ConnectionLost, HttpError, PoolFull, ResponseInvalid, ResponseTimeout
from tundish.wire import errors

_THE_CLIENTS = frozenset({400, 413, 415, 422})
"""Statuses that speak of the request's content. All other 4xx speak of how we asked: key, name, path, account."""
_OUR_CREDENTIALS = frozenset({401, 402, 403, 407})
_TIMED_OUT = frozenset({408, 504})
_BUSY = frozenset({429, 498, 529})
_TELLING = frozenset({"DeploymentNotFound", "model_not_found", "insufficient_quota"})
"""Codes that help whoever reads a receipt, and that no client takes for its own mistake."""
_OPERATOR = "This endpoint's operator has to look at it."
_BROKEN: Mapping[type[HttpError], str] = {
    ConnectFailed: "cannot be reached",
    ConnectionLost: "closed the connection before its answer was complete",
    ResponseInvalid: "sent what is no HTTP response",
    ResponseTimeout: "was silent for too long",
}


class Refusals:
    """Turns one deployment's failures into errors."""

    def __init__(self, *, name: str, model: str, url: str) -> None:
        """
        Args:
            name: the deployment's, as clients know it; empty: it has none of its own.
            model: what the provider calls it.
            url: where the provider is.
        """
        self._service = f"The service of '{name}'" if name else "The service of this model"
        self._url = url
        self._scrub = _scrubber(f"'{name}'" if name else "this model", model, url)

    def of_response(self, status: int, headers: Mapping[str, str], body: bytes) -> TundishError:
        """The error to raise for a response that is no success."""
        said = errors.decode_response(429 if status in _BUSY else status, headers, body)
        if status in _THE_CLIENTS and isinstance(said, InvalidRequest):
            return self._mistake(said)
        if status in _OUR_CREDENTIALS:
            what = f"does not accept this endpoint's own credentials ({status}). {_OPERATOR}"
            return self._backend(what, said, detail=f"answered {status}: {said}")
        if isinstance(said, Overloaded | Unavailable):
            return self._busy(said, status)
        if status in _TIMED_OUT:
            return self._error(BackendTimeout, f"gave up waiting ({status}).", f"answered {status}: {said}")
        if 300 <= status < 500:
            return self._backend(
                f"refused how it was asked ({status}). {_OPERATOR}", said, detail=f"answered {status}: {said}"
            )
        return self._backend(f"failed ({status}).", said, detail=f"answered {status}: {said}")

    def of_event(self, error: TundishError) -> TundishError:
        """The error to raise for one that came within an answer: the request had been accepted before."""
        if isinstance(error, InvalidRequest):
            return self._mistake(error)
        if isinstance(error, Overloaded | Unavailable):
            return self._busy(error, None)
        if isinstance(error, BackendError) and error.detail:
            return error  # it is in our words already
        return self._backend("failed in the middle of its answer.", error, detail=f"ended its answer: {error}")

    def of_body(self, body: bytes) -> TundishError | None:
        """The error that a server told with the status of a success; None when there is none in `body`."""
        said = errors.decode_event(body)
        return None if said is None else self.of_event(said)

    def of_content(self, what: str) -> BackendError:
        """The error to raise for an answer that is none; `what`: of which kind it is."""
        return self._error(BackendError, "answered what is no completion.", f"sent {what}")

    def of_connection(self, error: HttpError) -> TundishError:
        """The error to raise when nothing sensible came at all."""
        broken = next((_BROKEN[kind] for kind in type(error).__mro__ if kind in _BROKEN), "failed")
        kind = BackendTimeout if isinstance(error, ResponseTimeout) else BackendError
        failure = self._error(kind, f"{broken}.", str(error))
        if kind is BackendError:
            failure.code = error.code
        return failure

    def of_pool(self, error: PoolFull) -> PoolFull:
        """The error to raise when our own connections are all in use."""
        failure = PoolFull(
            f"{self._service} has as many requests from here as it may. Try again in a moment.",
            retry_after_s=error.retry_after_s,
        )
        failure.detail = str(error)
        return failure

    def of_credential(self, error: TundishError) -> BackendError:
        """The error to raise when the credential that opens the service cannot be had."""
        failure = self._error(BackendError, f"cannot be asked without its credentials. {_OPERATOR}", str(error))
        if not isinstance(error, BackendError):
            failure.code = error.code
        return failure

    def _mistake(self, said: InvalidRequest) -> InvalidRequest:
        """The provider's words, since they say what to change; without its address and its name for the model."""
        message = self._scrub(said.message)
        if isinstance(said, ContentFiltered):
            told: InvalidRequest = ContentFiltered(message, param=said.param, innererror=said.innererror)
        else:
            told = InvalidRequest(message, param=said.param, code=said.code)
        told.detail = f"{self._url}: {said}"
        return told

    def _busy(self, said: Overloaded | Unavailable, status: int | None) -> TundishError:
        kind, what = (Overloaded, "takes no more requests now") if isinstance(said, Overloaded) else _UNAVAILABLE
        shown = "" if status is None else f" ({status})"
        failure = kind(
            f"{self._service} {what}{shown}. Try again in {max(1, round(said.retry_after_s))} s.",
            retry_after_s=said.retry_after_s,
        )
        failure.detail = f"{self._url} ({said.code}): {said}"
        return failure

    def _backend(self, what: str, said: TundishError, *, detail: str) -> BackendError:
        kind = type(said) if isinstance(said, BackendError) and not isinstance(said, HttpError) else BackendError
        failure = self._error(kind, what, f"{detail} ({said.code})")
        if said.code in _TELLING:
            failure.code = said.code
        return failure

    def _error(self, kind: type[BackendError], what: str, detail: str) -> BackendError:
        failure = kind(f"{self._service} {what}")
        failure.detail = f"{self._url} {detail}"
        return failure


_UNAVAILABLE = (Unavailable, "cannot answer now")


def _scrubber(shown: str, model: str, url: str) -> Callable[[str], str]:
    """Replaces, in a provider's words, its addresses and its name for the model by `shown`."""
    quoted = re.escape(model)
    # A plain word may stand in any sentence: as a name it comes in quotes.
    name = f"[\"'`]{quoted}[\"'`]"
    if not model.isalpha():
        name += f"|(?<![\\w.-]){quoted}(?![\\w-])"
    parts = urllib.parse.urlsplit(url)
    hosts = "|".join(re.escape(host) for host in (parts.netloc, parts.hostname or "") if host)
    pattern = re.compile(
        f"{name}|(?:https?://)?(?:{hosts})(?:[/?](?:[^\\s'\"()]*[^\\s'\"().,;:])?)?" if hosts else name
    )
    return lambda text: pattern.sub(lambda _: shown, text)
