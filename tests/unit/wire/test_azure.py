"""Azure's way of saying the same things."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tundish.core import errors as core
from tundish.core.errors import TundishError
from tundish.wire import azure, errors
from tundish.wire.models import ModelEntry

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (core.Unauthenticated("no"), "401"),
        (core.ModelNotFound(model="m", known=["a"]), "DeploymentNotFound"),
        (core.NotFound("no"), "404"),
        (core.Overloaded("full", retry_after_s=1), "429"),
        (core.ContextLengthExceeded(prompt_tokens=2, context_length=1), "context_length_exceeded"),
        (core.InvalidRequest("no", param="n"), "invalid_request"),
        (core.BackendDied("no"), "backend_died"),
    ],
)
def test_codes(error: TundishError, code: str) -> None:
    told = json.loads(azure.encode_error(error))["error"]
    assert told["code"] == code
    assert {**told, "code": error.code} == json.loads(errors.encode_body(error))["error"]


@given(st.dictionaries(st.text(), JSON, max_size=5), st.text(min_size=1))
def test_the_model_is_set_and_nothing_else_changes(body: dict[str, object], model: str) -> None:
    changed = json.loads(azure.with_model(json.dumps(body).encode(), model))
    assert changed == {**body, "model": model}


def test_members_stay_as_they_were_sent() -> None:
    sent = b'{ "model":"a", "seed":1e2, "messages": [ {"role" :"user","content":"\\u00e9"} ],"x":0.10 }'
    assert azure.with_model(sent, "b") == (
        b'{"model":"b","seed":1e2,"messages":[ {"role" :"user","content":"\\u00e9"} ],"x":0.10}'
    )


@given(st.binary())
def test_what_is_no_object_is_left_to_its_decoder(body: bytes) -> None:
    changed = azure.with_model(body, "m")
    try:
        is_object = isinstance(json.loads(body), dict)
    except ValueError:
        is_object = False
    assert is_object or changed == body


@pytest.mark.parametrize("body", [b"[]", b'"model"', b'{"model":', b"{" * 100_000, b'{"a":1}{"b":2}', b""])
def test_neither_are_these(body: bytes) -> None:
    assert azure.with_model(body, "m") == body


def test_the_list_has_openais_fields_and_azures() -> None:
    body = json.loads(azure.encode_list([ModelEntry(id="m", created=5, owned_by="me", context_length=4096)]))
    (model,) = body["data"]
    assert model["object"] == "model"
    assert model["created"] == model["created_at"] == 5
    assert model["capabilities"]["chat_completion"] is True
