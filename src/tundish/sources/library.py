"""The library: every model that is known or here, and what can be done with it. The door for the rest of
Tundish."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import assert_never

from tundish.catalog import bundle, local_files, local_model
from tundish.catalog.cache import Cache, CachedModel
from tundish.catalog.card import EmbeddedSource, LocalSource, ModelCard, ModelKey, Variant
from tundish.catalog.catalog import Catalog, drop_card, keep_card
from tundish.catalog.errors import ModelEmbedded, ModelNotCached
from tundish.catalog.local_model import Weights
from tundish.catalog.signing import KeyFolder
from tundish.core.clock import Clock
from tundish.core.errors import ModelNotFound
from tundish.sources import add
from tundish.sources.errors import Offline
from tundish.sources.hub import Hub
from tundish.sources.progress import OnEvent
from tundish.sources.pull import Puller
from tundish.sources.retry import RetryPolicy
from tundish.sources.transport import Transport


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Where the library lives; none of them need exist."""

    models: Path
    cards: Path
    keys: Path


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What `add` made: a card that can be pulled, or a model that is here already."""

    card: ModelCard
    model: CachedModel | None


def _ignore(_: int) -> None:
    """Nobody wants to know."""


class Library:
    """Names are `[PUBLISHER/]NAME[:VARIANT]` everywhere; without a variant, the one that the card prefers."""

    def __init__(
        self,
        folders: Folders,
        *,
        http: Transport,
        hub: Hub,
        clock: Clock,
        offline: bool = False,
        policy: RetryPolicy | None = None,
    ) -> None:
        self.folders = folders
        self.cache = Cache(folders.models)
        self._keys = KeyFolder(folders.keys)
        self._hub, self._clock, self._offline = hub, clock, offline
        self._puller = Puller(cache=self.cache, http=http, hub=hub, clock=clock, offline=offline, policy=policy)

    @property
    def catalog(self) -> Catalog:
        """The packaged cards, the user's, and those of models that came without one. Read anew each time.

        Raises:
            CardInvalid, CacheUnavailable: a card, or a folder, cannot be read.
        """
        return Catalog.load(self.folders.cards).with_cards(self.cache.cards())

    def resolve(self, name: str) -> Weights:
        """The local GGUF of a model, or that it is the embedded one. Raises as `catalog.local_model.resolve` does."""
        return local_model.resolve(name, catalog=self.catalog, cache=self.cache)

    def find(self, name: str) -> CachedModel:
        """The cached model of that name, of any format; raises as `resolve` does."""
        return local_model.find(name, catalog=self.catalog, cache=self.cache)

    def cached(self, name: str) -> Sequence[CachedModel]:
        """Every cached variant of that name, damaged ones too.

        Raises:
            ModelNotFound, AmbiguousModel: no such model, or several.
        """
        selection = local_model.select(name, catalog=self.catalog, cache=self.cache)
        keys = [ModelKey.of(selection.card, variant) for variant in selection.variants]
        return [model for key in keys if (model := self.cache.find(key)) is not None]

    def preferred(self, name: str) -> tuple[ModelCard, Variant]:
        """The card and the variant that `pull` would fetch. Raises as `cached` does."""
        selection = self.catalog.find(name, prefer=lambda card: card.variants[0].source != LocalSource())
        return selection.card, selection.variants[0]

    async def pull(self, name: str, on_event: OnEvent, *, update: bool = False) -> CachedModel:
        """Have the model here; see `Puller.pull`. Raises as it and `cached` do."""
        card, variant = self.preferred(name)
        return await self._puller.pull(card, variant, on_event, update=update)

    async def add(
        self,
        what: str,
        *,
        name: str | None = None,
        copy: bool = False,
        revision: str = "main",
        sha256: str | None = None,
        on_bytes: Callable[[int], None] = _ignore,
    ) -> Added:
        """Make a file, a folder, a Hub repository or a URL known under a name. Local files are here at once.

        Raises:
            InvalidRequest: it is none of them, or not one model.
            Offline, SourceRefused, SourceUnreachable: the repository cannot be listed.
            ModelBusy, DiskFull, CacheUnavailable: it cannot be kept.
        """
        origin = add.understand(what)
        match origin:
            case add.LocalFiles(path=path):
                files = local_files.collect(path)
                card = local_files.describe(files, name=name)
                model = await asyncio.to_thread(
                    local_files.place, card, files, self.cache, self._clock, copy=copy, on_bytes=on_bytes
                )
                return Added(card=card, model=model)
            case add.HubRepository():
                if self._offline:
                    raise Offline("the Hugging Face Hub")
                card = await add.card_for_repository(self._hub, origin, name=name, revision=revision)
            case add.PlainUrl():
                card = add.card_for_url(origin, name=name, sha256=sha256)
            case _:
                assert_never(origin)
        keep_card(self.folders.cards, card)
        return Added(card=card, model=None)

    def remove(self, name: str, *, forget: bool = False) -> Sequence[ModelKey]:
        """Delete the named variant, or all of the model, complete or not; `forget`: also a card that `add` made.

        Raises:
            ModelNotFound, AmbiguousModel, ModelEmbedded: no such model, several, or none that has files.
            ModelNotCached: nothing of it is here.
            ModelBusy, CacheUnavailable: it cannot be deleted now.
        """
        try:
            selection = local_model.select(name, catalog=self.catalog, cache=self.cache)
        except ModelNotFound:
            keys, card = self._leftovers(name), None
            if not keys:
                raise
        else:
            keys, card = [ModelKey.of(selection.card, variant) for variant in selection.variants], selection.card
            if selection.variants[0].source == EmbeddedSource():
                raise ModelEmbedded(card.name)
        removed = [key for key in keys if self.cache.remove(key)]
        forgotten = forget and card is not None and drop_card(self.folders.cards, card)
        if not removed and not forgotten:
            raise ModelNotCached(name)
        return removed

    def _leftovers(self, name: str) -> Sequence[ModelKey]:
        """What takes room here though no card tells of it any more: a damaged manifest, a download begun long ago."""
        keys = self.cache.known_keys()
        return [key for key in keys if name in (str(key), f"{key.publisher}/{key.name}", key.name)]

    def export(self, name: str, target: Path, on_bytes: Callable[[int], None] = _ignore) -> tuple[CachedModel, str]:
        """Write a cached model to the bundle `target`; returns it and the signer's public key.

        Raises:
            ModelNotFound, AmbiguousModel, ModelNotCached, ModelDamaged: there is nothing whole to export.
            DiskFull, CacheUnavailable: the bundle cannot be written.
        """
        model = self.find(name)
        return model, bundle.export(model, target, self._keys, on_bytes)

    def import_bundle(
        self, path: Path, *, trust: str | None = None, on_bytes: Callable[[int], None] = _ignore
    ) -> CachedModel:
        """Place the model of a bundle; see `catalog.bundle.import_bundle`."""
        return bundle.import_bundle(path, self.cache, self._keys, self._clock, trust=trust, on_bytes=on_bytes)
