"""A configuration as it was written: values, where each of them is, and what was added at run time."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from tundish.config.errors import ConfigInvalid, Problem
from tundish.config.positions import Location, positions
from tundish.config.wording import shorten
from tundish.core.json_value import JsonObject

_MOST_BYTES = 1024 * 1024
_AT_LINE = re.compile(r" \(at line (\d+), column \d+\)$")
ADDED = "added at run time"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AddedObject:
    """A deployment, route or place that an operator added beside the file."""

    kind: str
    """The table it belongs to: `deployments`, `routes` or `places`."""
    name: str
    fields: JsonObject
    """What its table in the file would hold."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What is to be checked: the file's tables with the added ones among them."""

    values: Mapping[str, object]
    origin: str
    """The file, as people named it."""
    folder: Path
    """What relative paths in it start from."""
    lines: Mapping[Location, int]
    added: Collection[tuple[str, str]] = frozenset()
    """Kind and name of what is not from the file."""
    clashes: Sequence[tuple[str, str]] = ()
    """Kind and name of what is in the file and was added, too."""

    def problem(self, location: Location, message: str) -> Problem:
        """What is wrong at `location`, or where it would have to be."""
        where = ".".join(shorten(str(part)) for part in location)
        if location[:2] in self.added:
            return Problem(origin=ADDED, line=None, where=where, message=message)
        return Problem(origin=self.origin, line=self.line(location), where=where, message=message)

    def line(self, location: Location) -> int | None:
        """Its line, or that of the nearest thing around it."""
        for length in range(len(location), 0, -1):
            if location[:length] in self.lines:
                return self.lines[location[:length]]
        return None


EMPTY = Document(values={}, origin="no file", folder=Path(), lines={})
"""A site that nobody has configured."""


def read(path: Path) -> Document:
    """The document in the file at `path`.

    Raises:
        ConfigInvalid: it cannot be read, or is not TOML.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in its name
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigInvalid([_whole(str(path), None, f"The file cannot be read: {reason}.")]) from None
    if len(content) > _MOST_BYTES:
        raise ConfigInvalid([_whole(str(path), None, f"The file is larger than {_MOST_BYTES} bytes.")])
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigInvalid([_whole(str(path), line, "The file is not UTF-8. Save it as UTF-8.")]) from None
    return parse(text, origin=str(path), folder=path.parent)


def parse(text: str, *, origin: str, folder: Path) -> Document:
    """The document that `text` is. Raises as `read` does."""
    text = text.removeprefix("\ufeff")  # Windows editors leave it there
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        at = _AT_LINE.search(message)
        last = text.rstrip().count("\n") + 1  # what is wrong at the end is told behind it, where nothing is
        line = min(int(at[1]), last) if at else last
        reason = _AT_LINE.sub("", message).removesuffix(" (at end of document)")
        raise ConfigInvalid([_whole(origin, line, f"This is not TOML: {reason}.")]) from None
    except (ValueError, RecursionError):  # a number of thousands of digits; thousands of brackets
        message = "This is not TOML that can be used: a number is too long, or brackets nest too deeply."
        raise ConfigInvalid([_whole(origin, None, message)]) from None
    return Document(values=values, origin=origin, folder=folder, lines=positions(text))


def merge(document: Document, objects: Sequence[AddedObject]) -> Document:
    """The document with `objects` among its tables. What the file has already is kept, and noted as a clash."""
    values = dict(document.values)
    added: set[tuple[str, str]] = set()
    clashes: list[tuple[str, str]] = []
    for item in objects:
        table = values.get(item.kind, {})
        if not isinstance(table, Mapping):
            continue  # the file's own mistake, which is told when it is checked
        if item.name in table:
            clashes.append((item.kind, item.name))
            continue
        values[item.kind] = {**table, item.name: item.fields}
        added.add((item.kind, item.name))
    return dataclasses.replace(document, values=values, added=frozenset(added), clashes=tuple(clashes))


def _whole(origin: str, line: int | None, message: str) -> Problem:
    return Problem(origin=origin, line=line, where="", message=message)
