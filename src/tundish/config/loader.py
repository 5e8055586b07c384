"""Reads a site's configuration. Pure: the swap to a new one is the caller's, and the old stays when this raises."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tundish.config.build import build
from tundish.config.document import EMPTY, AddedObject, merge, parse, read
from tundish.config.site import SiteConfig


def load(path: Path | None, added: Sequence[AddedObject] = ()) -> SiteConfig:
    """The site that the file at `path` describes, with what was added at run time.

    Args:
        path: a `tundish.toml`; None is the implicit site: one place, `device`, which all data may use.
        added: objects beside the file; a name that the file has already is an error.

    Raises:
        ConfigInvalid: with all that is wrong, each with file and line. Nothing else is raised, whatever the file holds.
    """
    return build(merge(EMPTY if path is None else read(path), added), path)


def loads(text: str, *, origin: str = "tundish.toml", folder: Path | None = None) -> SiteConfig:
    """The site that `text` describes; `folder`: what relative paths in it start from. Raises as `load` does."""
    folder = Path() if folder is None else folder
    return build(parse(text, origin=origin, folder=folder), folder / origin)
