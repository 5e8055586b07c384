"""A site's deployments, routes and places as its owner sees and changes them: `/tundish/v1/site/…`."""

from __future__ import annotations

import typing
from collections.abc import Sequence

import msgspec

from tundish.core.errors import BackendError
from tundish.core.json_value import JsonObject
from tundish.wire import json_body


class SiteObject(msgspec.Struct, frozen=True, kw_only=True):
    """One of them."""

    kind: str
    """`deployments`, `routes` or `places`."""
    name: str
    origin: str
    """`file`, `added` (at run time), or `implied` (a place that no table names)."""
    fields: dict[str, typing.Any]
    """As its table in tundish.toml: references to secrets and no secrets."""


class NewSiteObject(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One to be added."""

    name: str
    fields: dict[str, typing.Any]


class _List(msgspec.Struct, frozen=True, kw_only=True):
    objects: tuple[SiteObject, ...]


class _Named(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str


_NEW = msgspec.json.Decoder(NewSiteObject)
_NAMED = msgspec.json.Decoder(_Named)
_LIST = msgspec.json.Decoder(_List)
_OBJECT = msgspec.json.Decoder(SiteObject)


def decode_new(body: bytes) -> NewSiteObject:
    """The body of a POST that adds. Raises InvalidRequest."""
    return json_body.decode(body, _NEW)


def decode_name(body: bytes) -> str:
    """The body of a POST that removes. Raises InvalidRequest."""
    return json_body.decode(body, _NAMED).name


def encode_new(name: str, fields: JsonObject) -> bytes:
    """What `decode_new` reads."""
    return msgspec.json.encode({"name": name, "fields": fields})


def encode_name(name: str) -> bytes:
    """What `decode_name` reads."""
    return msgspec.json.encode({"name": name})


def encode(item: SiteObject) -> bytes:
    """One object."""
    return msgspec.json.encode(item)


def encode_list(items: Sequence[SiteObject]) -> bytes:
    """Several."""
    return msgspec.json.encode(_List(objects=tuple(items)))


def decode(body: bytes) -> SiteObject:
    """What an endpoint says of one object.

    Raises:
        BackendError: it is not a Tundish, or one too different from this.
    """
    try:
        return _OBJECT.decode(body)
    except (ValueError, RecursionError) as error:
        raise BackendError(f"This is no object of a Tundish site: {error}.") from None


def decode_list(body: bytes) -> Sequence[SiteObject]:
    """What an endpoint says of several. Raises as `decode` does."""
    try:
        return _LIST.decode(body).objects
    except (ValueError, RecursionError) as error:
        raise BackendError(f"This is no list of a Tundish site's objects: {error}.") from None
