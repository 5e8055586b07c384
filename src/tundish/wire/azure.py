"""What Azure OpenAI puts on the wire otherwise than OpenAI: error codes, the model in the path, the list of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tundish.core import errors as core
from tundish.core.errors import TundishError
from tundish.wire import errors
from tundish.wire.models import ModelEntry

# The nearest class in an error's own line of descent counts; for the others Azure has OpenAI's codes.
_CODES: Mapping[type[TundishError], str] = {
    core.Unauthenticated: "401",
    core.PermissionDenied: "403",
    core.NotFound: "404",
    core.ModelNotFound: "DeploymentNotFound",
    core.MethodNotAllowed: "405",
    core.Overloaded: "429",
}

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Capabilities(msgspec.Struct, kw_only=True):
    """What Azure says of a model; `inference` is what its clients filter by."""

    inference: bool = True
    chat_completion: bool = True
    completion: bool = True
    embeddings: bool = False
    fine_tune: bool = False


class _Model(msgspec.Struct, kw_only=True):
    """OpenAI's fields, for the openai client, and Azure's own."""

    id: str
    object: str = "model"
    created: int
    created_at: int
    owned_by: str
    status: str = "succeeded"
    lifecycle_status: str = "generally-available"
    capabilities: _Capabilities = msgspec.field(default_factory=_Capabilities)
    context_length: int | None


class _Models(msgspec.Struct, kw_only=True):
    object: str = "list"
    data: list[_Model]


def encode_error(error: TundishError) -> bytes:
    """As `errors.encode_body`, with the code that Azure's clients look for."""
    code = next((_CODES[kind] for kind in type(error).__mro__ if kind in _CODES), None)
    return errors.encode_body(error, code=code)


def with_model(body: bytes, model: str) -> bytes:
    """`body` with `model` as its model, whatever it named; what is no JSON object comes back as it is, for its decoder
    to say so."""
    try:
        members = _MEMBERS.decode(body)
    except (ValueError, RecursionError):
        return body
    members["model"] = msgspec.Raw(msgspec.json.encode(model))
    return msgspec.json.encode(members)


def encode_list(entries: Sequence[ModelEntry]) -> bytes:
    """The body of `GET /openai/models`."""
    return msgspec.json.encode(
        _Models(
            data=[
                _Model(
                    id=entry.id,
                    created=entry.created,
                    created_at=entry.created,
                    owned_by=entry.owned_by,
                    context_length=entry.context_length,
                )
                for entry in entries
            ]
        )
    )
