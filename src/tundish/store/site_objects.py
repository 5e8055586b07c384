"""Deployments, routes and places that an operator added at run time."""

from __future__ import annotations

import dataclasses
import time
import typing
from collections.abc import Callable, Sequence

import msgspec

from tundish.core.errors import InvalidRequest, NotFound
from tundish.core.json_value import JsonObject
from tundish.store.database import Database
from tundish.store.errors import StoreDamaged


class ObjectExists(InvalidRequest):
    """There is one of that kind and name."""

    def __init__(self, kind: str, name: str) -> None:
        message = f"There is '{name}' among the {kind} already. Remove it first, or choose another name."
        super().__init__(message, param="name", code="object_exists")


class ObjectNotFound(NotFound):
    """Nothing of that kind and name was added."""

    code = "object_not_found"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """One of them, as it was added."""

    kind: str
    name: str
    fields: JsonObject


class SiteObjectStore:
    """Keeps them. Each change is durable when its method returns. Blocks: call it in a thread."""

    def __init__(self, database: Database, *, unix_s: Callable[[], float] = time.time) -> None:
        self._database = database
        self._unix_s = unix_s

    def all(self) -> Sequence[StoredObject]:
        """All that there are, by kind and name.

        Raises:
            StoreUnavailable: (and its kin) they cannot be read.
        """
        with self._database.reading() as connection:
            rows = connection.execute("SELECT kind, name, fields FROM site_object ORDER BY kind, name").fetchall()
        try:
            return [StoredObject(kind=kind, name=name, fields=_decode(fields)) for kind, name, fields in rows]
        except msgspec.DecodeError as error:
            raise StoreDamaged(f"The store {self._database.path} holds an object that is no JSON: {error}.") from None

    def add(self, item: StoredObject) -> None:
        """Keep `item`.

        Raises:
            ObjectExists: there is one of its kind and name.
            StoreUnavailable: (and its kin) it was not kept.
        """
        fields = msgspec.json.encode(item.fields).decode()
        with self._database.writing() as connection:
            written = connection.execute(
                "INSERT OR IGNORE INTO site_object (kind, name, fields, added_s) VALUES (?, ?, ?, ?)",
                (item.kind, item.name, fields, self._unix_s()),
            )
            if written.rowcount == 0:
                raise ObjectExists(item.kind, item.name)
            connection.execute("UPDATE revision SET revision = revision + 1 WHERE subject = 'site_object'")

    def remove(self, kind: str, name: str) -> None:
        """Forget one.

        Raises:
            ObjectNotFound: none of that kind and name was added.
            StoreUnavailable: (and its kin) it is still there.
        """
        with self._database.writing() as connection:
            written = connection.execute("DELETE FROM site_object WHERE kind = ? AND name = ?", (kind, name))
            if written.rowcount == 0:
                raise ObjectNotFound(f"Nothing called '{name}' was added to the {kind} at run time.")
            connection.execute("UPDATE revision SET revision = revision + 1 WHERE subject = 'site_object'")

    def revision(self) -> int:
        """Grows with each change: how one process notices what another has changed."""
        with self._database.reading() as connection:
            return connection.execute("SELECT revision FROM revision WHERE subject = 'site_object'").fetchone()[0]


def _decode(fields: str) -> JsonObject:
    return typing.cast(JsonObject, msgspec.json.decode(fields, type=dict))
