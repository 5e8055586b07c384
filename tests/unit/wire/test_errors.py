"""One map from the error tree to HTTP."""

from __future__ import annotations

import json

import pytest

from tundish.core import errors as tree
from tundish.core.errors import TundishError
from tundish.wire import errors


def all_kinds(kind: type[TundishError] = TundishError) -> list[type[TundishError]]:
    return [kind, *(found for child in kind.__subclasses__() for found in all_kinds(child))]


class HomeGrown(tree.BackendTimeout):
    code = "home_grown"


CASES = [
    (tree.InvalidRequest("x", param="n"), 400, "invalid_request_error", "invalid_request"),
    (tree.InvalidRequest("x", code="unsupported_media_type"), 415, "invalid_request_error", "unsupported_media_type"),
    (
        tree.ContextLengthExceeded(prompt_tokens=9, context_length=8),
        400,
        "invalid_request_error",
        "context_length_exceeded",
    ),
    (tree.RequestTooLarge(limit_bytes=5), 413, "invalid_request_error", "request_too_large"),
    (tree.Unauthenticated("x"), 401, "invalid_request_error", "invalid_api_key"),
    (tree.PermissionDenied("x"), 403, "invalid_request_error", "permission_denied"),
    (tree.ModelNotFound(model="x", known=["y"]), 404, "invalid_request_error", "model_not_found"),
    (
        tree.MethodNotAllowed(method="PUT", path="/", allowed=["GET"]),
        405,
        "invalid_request_error",
        "method_not_allowed",
    ),
    (tree.Overloaded("x", retry_after_s=1.2), 429, "rate_limit_error", "rate_limit_exceeded"),
    (tree.Unavailable("x"), 503, "server_error", "service_unavailable"),
    (tree.BackendDied("x"), 502, "server_error", "backend_died"),
    (tree.BackendTimeout("x"), 504, "server_error", "backend_timeout"),
    (tree.BackendStopped("x"), 503, "server_error", "server_shutting_down"),
    (tree.ModelLoadFailed("x"), 500, "server_error", "model_load_failed"),
    (HomeGrown("x"), 504, "server_error", "home_grown"),
    (TundishError("x"), 500, "server_error", "internal_error"),
]


@pytest.mark.parametrize(("error", "status", "kind", "code"), CASES, ids=[case[3] for case in CASES])
def test_each_error_has_its_status_and_shape(error: TundishError, status: int, kind: str, code: str) -> None:
    assert errors.status(error) == status
    param = "n" if code == "invalid_request" else "messages" if code == "context_length_exceeded" else None
    assert json.loads(errors.encode_body(error)) == {
        "error": {"message": error.message, "type": kind, "param": param, "code": code}
    }
    assert errors.encode_event(error) == b"data: " + errors.encode_body(error) + b"\n\n"
    retry = dict(errors.headers(error))["x-should-retry"]
    assert retry == ("true" if error.retryable else "false")


def test_every_kind_of_the_core_is_mapped() -> None:
    for kind in all_kinds():
        assert any(parent in errors._STATUS for parent in kind.__mro__)
    assert not any(kind.retryable for kind in all_kinds() if errors._STATUS.get(kind, 500) in (400, 401, 403, 404, 405))


def test_when_to_come_back() -> None:
    headers = dict(errors.headers(tree.Overloaded("x", retry_after_s=1.2)))
    assert headers["retry-after"] == "2"
    assert headers["retry-after-ms"] == "1200"
    assert "retry-after" not in dict(errors.headers(tree.BackendDied("x")))


def test_what_is_allowed_and_how_to_log_in() -> None:
    allowed = errors.headers(tree.MethodNotAllowed(method="PUT", path="/", allowed=["GET", "HEAD"]))
    assert ("allow", "GET, HEAD") in allowed
    assert ("www-authenticate", "Bearer") in errors.headers(tree.Unauthenticated("x"))


def test_a_message_that_is_no_text_is_still_told() -> None:
    assert json.loads(errors.encode_body(TundishError("file \udcff")))["error"]["message"] == "file ?"
