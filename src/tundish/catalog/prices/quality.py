"""Roughly how good the answers of known models are."""

from __future__ import annotations

import datetime
import functools
import importlib.resources
from typing import Annotated

import msgspec
from msgspec import Meta

_FOLDER = "tundish.catalog.prices"
_FILE = "quality.toml"


class Ladder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Models by quality, and where that comes from."""

    dated: datetime.date
    source: str
    quality: dict[str, Annotated[float, Meta(ge=0, le=1)]]


def quality_of(model: str) -> float | None:
    """0 … 1, by a rough ladder that is no measurement (quality.toml says where it comes from); None is unknown.

    Args:
        model: the catalog's name of the model, with or without its publisher.
    """
    return ladder().quality.get(model.rpartition("/")[2].casefold())


@functools.cache
def ladder() -> Ladder:
    """The packaged one."""
    return msgspec.toml.decode((importlib.resources.files(_FOLDER) / _FILE).read_bytes(), type=Ladder)
