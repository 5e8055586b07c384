"""A site's objects: those of its file and those that were added beside it, checked together."""

from __future__ import annotations

import asyncio
import difflib
import typing
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from tundish.api.site import KINDS
from tundish.config.document import AddedObject
from tundish.config.loader import load
from tundish.config.site import SiteConfig
from tundish.core.errors import InvalidRequest, NotFound
from tundish.core.json_value import JsonObject
from tundish.store.site_objects import ObjectExists, ObjectNotFound, SiteObjectStore, StoredObject
from tundish.wire.site_objects import SiteObject

PutInForce = Callable[[SiteConfig], Awaitable[None]]
"""Makes a site the one that new requests see. Raises TundishError when it cannot; then the old one stays."""


async def _nobody_listens(_: SiteConfig) -> None:
    return None


class ConfiguredObjects:
    """Lists them, and changes those that were added: checked with all others, kept, then put in force."""

    def __init__(self, path: Path | None, store: SiteObjectStore, put_in_force: PutInForce = _nobody_listens) -> None:
        """
        Args:
            path: the site's file; None without one.
            store: keeps what is added.
            put_in_force: told of each new site; the default is for a site that nobody runs now.
        """
        self._path = path
        self._store = store
        self._put_in_force = put_in_force
        self._changing = asyncio.Lock()

    async def load(self) -> SiteConfig:
        """The site as its file and the store have it now.

        Raises:
            ConfigInvalid: with everything that is wrong.
            StoreUnavailable: (and its kin) what was added cannot be read.
        """
        return await asyncio.to_thread(self._load, lambda added: added)

    async def list(self, kind: str) -> Sequence[SiteObject]:
        """See `api.site.SiteObjects`."""
        site = await self.load()
        added = {(item.kind, item.name) for item in await asyncio.to_thread(self._store.all)}
        return _objects(site, kind, added)

    async def show(self, kind: str, name: str) -> SiteObject:
        """See `api.site.SiteObjects`."""
        objects = {item.name: item for item in await self.list(kind)}
        if name not in objects:
            near = difflib.get_close_matches(name, objects, n=1)
            advice = f"Did you mean '{near[0]}'?" if near else f"There are: {', '.join(objects) or 'none'}."
            raise NotFound(f"There is no '{name[:128]}' among the {kind}. {advice}")
        return objects[name]

    async def add(self, kind: str, name: str, fields: JsonObject) -> SiteObject:
        """See `api.site.SiteObjects`."""
        _check_kind(kind)
        item = StoredObject(kind=kind, name=name, fields=fields)
        async with self._changing:
            if name in {known.name for known in await self.list(kind) if known.origin != "implied"}:
                raise ObjectExists(kind, name)
            site = await asyncio.to_thread(self._load, lambda added: [*added, item])
            await asyncio.to_thread(self._store.add, item)
            try:
                await self._put_in_force(site)
            except BaseException:
                await asyncio.shield(asyncio.to_thread(self._store.remove, kind, name))
                raise
        return SiteObject(kind=kind, name=name, origin="added", fields=dict(fields))

    async def remove(self, kind: str, name: str) -> None:
        """See `api.site.SiteObjects`."""
        _check_kind(kind)
        async with self._changing:
            stored = await asyncio.to_thread(self._store.all)
            item = next((item for item in stored if (item.kind, item.name) == (kind, name)), None)
            if item is None:
                raise await self._not_added(kind, name)
            rest = [other for other in stored if other is not item]
            site = await asyncio.to_thread(self._load, lambda _: rest)
            await asyncio.to_thread(self._store.remove, kind, name)
            try:
                await self._put_in_force(site)
            except BaseException:
                await asyncio.shield(asyncio.to_thread(self._store.add, item))
                raise

    def _load(self, choose: Callable[[Sequence[StoredObject]], Sequence[StoredObject]]) -> SiteConfig:
        chosen = choose(self._store.all())
        return load(self._path, [AddedObject(kind=item.kind, name=item.name, fields=item.fields) for item in chosen])

    async def _not_added(self, kind: str, name: str) -> NotFound:
        known = {item.name: item for item in await self.list(kind)}
        if name in known and known[name].origin == "file":
            return ObjectNotFound(f"'{name}' is in the file {self._path}. Remove it there, then reload.")
        return ObjectNotFound(f"Nothing called '{name[:128]}' was added to the {kind} at run time.")


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise InvalidRequest(f"There are {', '.join(KINDS)}, and no {kind[:40]}.", param="kind")


def _objects(site: SiteConfig, kind: str, added: set[tuple[str, str]]) -> Sequence[SiteObject]:
    tables = typing.cast("Mapping[str, object]", site.content.get(kind, {}))
    found = [
        SiteObject(kind=kind, name=name, origin="added" if (kind, name) in added else "file", fields=_plain(fields))
        for name, fields in tables.items()
    ]
    if kind == "places":
        named = {item.name for item in found}
        for place in site.places.values():
            if place.name not in named:
                fields = {"reach": place.reach.value, "owner": place.owner, "geography": place.geography}
                told = {key: value for key, value in fields.items() if value}
                found.append(SiteObject(kind=kind, name=place.name, origin="implied", fields=told))
    return sorted(found, key=lambda item: item.name)


def _plain(fields: object) -> dict[str, object]:
    """As JSON has it: days as texts."""
    return msgspec.convert(msgspec.to_builtins(fields), dict[str, object])
