"""From a name on the command line to weights on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from tundish.catalog.cache import Cache, CachedModel
from tundish.catalog.card import EmbeddedSource, ModelCard, ModelKey, WeightFormat
from tundish.catalog.catalog import Catalog, Selection
from tundish.catalog.errors import ModelDamaged, ModelEmbedded, ModelNotCached

Weights: TypeAlias = Path | EmbeddedSource
"""What an engine is started with: a local GGUF, or the model that comes with Tundish itself."""


def resolve(name: str, *, catalog: Catalog, cache: Cache) -> Weights:
    """The GGUF of the model `[PUBLISHER/]NAME[:VARIANT]`, or that it is the embedded one.

    Of several cached variants, the one that the card prefers. Sizes are checked, contents are not: that is `verify`.

    Raises:
        ModelNotFound: no such model; carries the nearest names.
        AmbiguousModel: several fit.
        ModelNotCached: known, but not here; says how to fetch it.
        ModelDamaged: a file is missing or cut short.
    """
    try:
        return find(name, catalog=catalog, cache=cache, format=WeightFormat.GGUF).weights
    except ModelEmbedded:
        return EmbeddedSource()


def find(name: str, *, catalog: Catalog, cache: Cache, format: WeightFormat | None = None) -> CachedModel:  # noqa: A002
    """The cached model that `resolve` would choose; of any format without `format`.

    Raises:
        ModelEmbedded: it has no files here; and what `resolve` raises.
    """
    selection = select(name, catalog=catalog, cache=cache)
    for variant in selection.variants:
        if variant.source == EmbeddedSource():
            raise ModelEmbedded(selection.card.name)
        if format is not None and variant.format is not format:
            continue
        model = cache.find(ModelKey.of(selection.card, variant))
        if model is not None:
            _require_whole(model)
            return model
    raise ModelNotCached(name)


def select(name: str, *, catalog: Catalog, cache: Cache) -> Selection:
    """What `name` stands for on this machine: of two models of that name, the one that is here.

    Raises:
        ModelNotFound, AmbiguousModel: none, or still several.
    """
    here = {model.key for model in cache.contents().models}

    def is_here(card: ModelCard) -> bool:
        return any(ModelKey.of(card, variant) in here for variant in card.variants)

    return catalog.find(name, prefer=is_here)


def _require_whole(model: CachedModel) -> None:
    problems = model.problems()
    if problems:
        raise ModelDamaged(
            f"{model.key} is not whole: {'; '.join(problems)}. Fetch it again: tundish model pull {model.key}"
        )
