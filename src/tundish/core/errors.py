"""Everything that can go wrong, once.

    TundishError
    ├── InvalidRequest              the caller must change the request
    │   ├── ContextLengthExceeded   prompt longer than the context; carries both numbers
    │   ├── ContentFiltered         a provider's content filter refused the prompt; carries its findings
    │   ├── UnsupportedSchema       a JSON Schema keyword that cannot be enforced
    │   └── RequestTooLarge         more bytes than the endpoint takes
    ├── Unauthenticated             no key, or a wrong one
    ├── PermissionDenied            a known caller, a refused request (Host, Origin, rights)
    ├── NotFound                    no such path or object
    │   └── ModelNotFound           no such model; carries the known ones
    ├── MethodNotAllowed            the path exists, the method does not
    ├── Overloaded                  the queue is full; carries when to come back
    ├── Unavailable                 not now: loading, stopping; carries when to come back
    └── BackendError                the backend failed, the request may have been fine
        ├── ModelFileInvalid        the weights file is damaged, foreign or hostile
        ├── ModelLoadFailed         the engine refused the model; carries the engine's reason
        ├── BackendDied             the engine's process ended while it worked
        ├── BackendTimeout          no token within the time allowed
        └── BackendStopped          the endpoint is shutting down and ended the stream

Each error has a `code` (stable, machine-readable), `retryable` (whether the same request can succeed later without a
change) and a message that says what to do next. What only the owner may read (addresses, a provider's words about our
account) is in its `detail`, which goes to the log and the receipt. The HTTP status of each is mapped in
`tundish.wire.errors`, only there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class TundishError(Exception):
    """Root of the tree; `str(error)` is meant for the user's eyes."""

    code: str = "internal_error"
    retryable: ClassVar[bool] = False
    detail: str = ""
    """More than the client is told; empty: the message is all."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidRequest(TundishError):
    """The request itself is wrong; `param` names the field, as in OpenAI's errors."""

    code = "invalid_request"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        if code is not None:
            self.code = code


class ContextLengthExceeded(InvalidRequest):
    """The prompt does not fit into the model's context; both numbers are in tokens."""

    def __init__(self, *, prompt_tokens: int, context_length: int) -> None:
        super().__init__(
            f"This model's context length is {context_length} tokens, but the request has {prompt_tokens} tokens. "
            "Shorten the messages or the tool definitions, or choose a model with a longer context.",
            param="messages",
            code="context_length_exceeded",
        )
        self.prompt_tokens = prompt_tokens
        self.context_length = context_length


class ContentFiltered(InvalidRequest):
    """A provider's content filter refused the prompt. `innererror` is what it found, as the provider's JSON."""

    def __init__(self, message: str, *, param: str | None = None, innererror: bytes | None = None) -> None:
        super().__init__(message, param=param, code="content_filter")
        self.innererror = innererror


class UnsupportedSchema(InvalidRequest):
    """A JSON Schema uses something that cannot be enforced; refused rather than silently ignored."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message, param=param, code="unsupported_schema")


class RequestTooLarge(InvalidRequest):
    """The body is larger than the endpoint takes."""

    def __init__(self, *, limit_bytes: int) -> None:
        super().__init__(
            f"The request body is larger than {limit_bytes} bytes. Send less, or raise the endpoint's body limit.",
            code="request_too_large",
        )
        self.limit_bytes = limit_bytes


class Unauthenticated(TundishError):
    """No key, or one that is not known."""

    code = "invalid_api_key"


class PermissionDenied(TundishError):
    """The caller may not do this."""

    code = "permission_denied"


class NotFound(TundishError):
    """No such path or object."""

    code = "not_found"


class ModelNotFound(NotFound):
    """No model of that name is served here."""

    code = "model_not_found"

    def __init__(self, *, model: str, known: Sequence[str]) -> None:
        names = ", ".join(sorted(known)) or "none yet"
        super().__init__(f"The model '{model}' does not exist here. Known models: {names}.")
        self.model = model
        self.known = tuple(sorted(known))


class MethodNotAllowed(TundishError):
    """The path exists, but not for this method."""

    code = "method_not_allowed"

    def __init__(self, *, method: str, path: str, allowed: Sequence[str]) -> None:
        super().__init__(f"{method} is not allowed on {path}. Allowed: {', '.join(allowed)}.")
        self.allowed = tuple(allowed)


class Overloaded(TundishError):
    """Every slot is busy and the queue is full."""

    code = "rate_limit_exceeded"
    retryable = True

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(TundishError):
    """Cannot be served now, may be soon."""

    code = "service_unavailable"
    retryable = True

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BackendError(TundishError):
    """The backend failed."""

    code = "backend_error"
    retryable = True


class ModelFileInvalid(BackendError):
    """The weights file is not one that an engine may be shown."""

    code = "model_file_invalid"
    retryable = False


class ModelLoadFailed(BackendError):
    """The engine could not load the model; the message carries the engine's own reason."""

    code = "model_load_failed"
    retryable = False


class BackendDied(BackendError):
    """The engine's process ended while it was working on the request; it is being restarted."""

    code = "backend_died"


class BackendTimeout(BackendError):
    """The backend gave no token within the time allowed."""

    code = "backend_timeout"


class BackendStopped(BackendError):
    """The endpoint is shutting down; the stream ends before the answer did."""

    code = "server_shutting_down"
