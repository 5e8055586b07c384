"""The list of models, and one of them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tundish.core.errors import BackendError


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A model by OpenAI's fields, and the context that a request really gets here."""

    id: str
    object: str = "model"
    created: int = 0
    owned_by: str = ""
    context_length: int | None = None
    """Tokens, prompt and answer together; None until the model is ready."""


class _List(msgspec.Struct, kw_only=True):
    object: str = "list"
    data: list[ModelEntry]


_LIST = msgspec.json.Decoder(_List)


def encode_list(entries: Sequence[ModelEntry]) -> bytes:
    """The body of `GET /v1/models`."""
    return msgspec.json.encode(_List(data=list(entries)))


def encode(entry: ModelEntry) -> bytes:
    """The body of `GET /v1/models/{id}`."""
    return msgspec.json.encode(entry)


def decode_list(body: bytes) -> Sequence[ModelEntry]:
    """What a server serves.

    Raises:
        BackendError: the body is no list of models.
    """
    try:
        return _LIST.decode(body).data
    except (ValueError, RecursionError) as error:
        raise BackendError(f"The server sent what is no list of models: {error}.") from None
