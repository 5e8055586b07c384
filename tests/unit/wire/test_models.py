"""Lists of models, and the status of an endpoint."""

from __future__ import annotations

import json

import pytest
from openai.types import Model

from tundish.core.errors import BackendError
from tundish.wire import endpoint_status, models
from tundish.wire.endpoint_status import EndpointStatus, ModelStatus
from tundish.wire.models import ModelEntry

ENTRY = ModelEntry(id="openai/gpt-oss-20b", created=5, owned_by="tundish", context_length=4096)
STATUS = EndpointStatus(
    version="1",
    uptime_s=1.5,
    ready=True,
    models=(
        ModelStatus(
            name="m",
            health="ready",
            detail="",
            slots=4,
            slots_busy=1,
            queued=0,
            queue_limit=64,
            context_length=None,
            restarts=0,
        ),
    ),
)


def test_models() -> None:
    assert models.decode_list(models.encode_list([ENTRY])) == [ENTRY]
    one = json.loads(models.encode(ENTRY))
    Model.model_validate(one, strict=True)
    assert one == {
        "id": "openai/gpt-oss-20b",
        "object": "model",
        "created": 5,
        "owned_by": "tundish",
        "context_length": 4096,
    }


def test_status() -> None:
    assert endpoint_status.decode(endpoint_status.encode(STATUS)) == STATUS


@pytest.mark.parametrize("data", [b"", b"[]", b"<html>", b'{"data":5}', b"[" * 100_000])
def test_what_is_neither_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(BackendError):
        models.decode_list(data)
    with pytest.raises(BackendError):
        endpoint_status.decode(data)
