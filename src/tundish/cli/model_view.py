"""How models are shown: as text for people, as JSON for programs."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec

from tundish.catalog.cache import CachedModel, Contents
from tundish.catalog.card import (
    EmbeddedSource,
    HubSource,
    LocalSource,
    ModelCard,
    ModelKey,
    UrlSource,
    Variant,
)
from tundish.core.json_value import JsonObject


def size(size_bytes: float) -> str:
    """Bytes for people, in powers of ten like the disks that they fill."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes:.0f} B"


Fits: TypeAlias = Callable[[ModelCard, Variant], str]
"""Whether a variant would fit this machine's memory, in a word or two; empty if that cannot be told."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What only the running endpoint and the hardware can tell of a model."""

    loaded: frozenset[str] = frozenset()
    """Names of the models in memory, as the endpoint serves them."""
    fits: Fits = lambda _, __: ""

    def has_loaded(self, card: ModelCard, variant: Variant) -> bool:
        """Whether that one is in memory, by whichever of its names."""
        return not self.loaded.isdisjoint({card.name, card.full_name, str(ModelKey.of(card, variant))})


def contents_text(contents: Contents, cards: Sequence[ModelCard], folder: Path, machine: Machine) -> str:
    """What is on this machine, a line each; `cards`: those of the catalog."""
    rows = [("MODEL", "SIZE", "LOADED", "FITS", "STATE")]
    for card, variant in _embedded(cards):
        rows.append((str(ModelKey.of(card, variant)), "", *_here_and_now(card, variant, machine), "part of Tundish"))
    for model in contents.models:
        card, variant = model.manifest.card, model.manifest.variant
        problems = model.problems()
        state = f"damaged: {problems[0]}" if problems else model.manifest.origin
        now = _here_and_now(card, variant, machine)
        rows.append((str(model.key), size(model.manifest.size_bytes), *now, state))
    rows += [(str(key), size(arrived), "", "", "incomplete: pull it again") for key, arrived in _incomplete(contents)]
    for path in contents.unreadable:
        publisher, name, variant = path.relative_to(folder).parts
        rows.append((f"{publisher}/{name}:{variant}", "", "", "", "damaged manifest: remove it, or pull it again"))
    hint = "" if contents.models else "\n`tundish model search` shows what there is; `tundish model pull` fetches one."
    return table(rows) + hint


def contents_json(contents: Contents, cards: Sequence[ModelCard], machine: Machine) -> JsonObject:
    """What is on this machine; `cards`: those of the catalog."""
    return {
        "embedded": [
            {"model": str(ModelKey.of(card, variant)), "name": card.name, **_here_json(card, variant, machine)}
            for card, variant in _embedded(cards)
        ],
        "models": [
            {**model_json(model), **_here_json(model.manifest.card, model.manifest.variant, machine)}
            for model in contents.models
        ],
        "incomplete": [{"model": str(key), "arrived_bytes": arrived} for key, arrived in _incomplete(contents)],
        "unreadable": [str(path) for path in contents.unreadable],
    }


def _embedded(cards: Sequence[ModelCard]) -> Sequence[tuple[ModelCard, Variant]]:
    return [(card, variant) for card in cards for variant in card.variants if variant.source == EmbeddedSource()]


def _here_and_now(card: ModelCard, variant: Variant, machine: Machine) -> tuple[str, str]:
    return "yes" if machine.has_loaded(card, variant) else "", machine.fits(card, variant)


def _here_json(card: ModelCard, variant: Variant, machine: Machine) -> JsonObject:
    return {"loaded": machine.has_loaded(card, variant), "fits": machine.fits(card, variant) or None}


def _incomplete(contents: Contents) -> Sequence[tuple[ModelKey, int]]:
    here = {model.key for model in contents.models}
    return sorted((key, arrived) for key, arrived in contents.partial.items() if key not in here)


def model_json(model: CachedModel) -> JsonObject:
    """A cached model."""
    manifest = model.manifest
    return {
        "model": str(model.key),
        "publisher": model.key.publisher,
        "name": model.key.name,
        "variant": model.key.variant,
        "size_bytes": manifest.size_bytes,
        "origin": manifest.origin,
        "placed_at": manifest.placed_at,
        "weights": str(model.weights),
        "problems": list(model.problems()),
        "files": [
            {
                "path": file.path,
                "location": str(model.path_of(file)),
                "size_bytes": file.size_bytes,
                "sha256": file.sha256,
                "basis": file.basis.value,
            }
            for file in manifest.files
        ],
    }


def cards_text(cards: Sequence[ModelCard], here: Contents, machine: Machine) -> str:
    """Cards, a line each."""
    if not cards:
        return "Nothing matches. `tundish model search` without words shows everything."
    rows = [("MODEL", "PARAMETERS", "LICENCE", "CAN", "FITS", "HERE")]
    for card in cards:
        can = ", ".join(capability.value for capability in card.capabilities)
        cached = ", ".join(v.quantisation for v in card.variants if _is_here(card, v, here))
        fits = machine.fits(card, card.variants[0])
        rows.append((card.full_name, _parameters(card), card.licence, can, fits, cached))
    return table(rows)


def card_text(card: ModelCard, here: Contents, machine: Machine) -> str:
    """One card with everything that it says."""
    context = f"{card.context_length} tokens" if card.context_length else "not stated"
    lines = [
        f"{card.full_name}, version {card.version}",
        *([card.description] if card.description else []),
        "",
        f"licence         {card.licence}",
        f"parameters      {_parameters(card) or 'not stated'}",
        f"context length  {context}",
        f"capabilities    {', '.join(capability.value for capability in card.capabilities)}",
        "",
    ]
    rows = [("VARIANT", "RUNS ON", "SIZE", "FITS", "HASHES", "HERE", "FROM")]
    for variant in card.variants:
        known = size(variant.size_bytes) if variant.size_bytes else _unknown_size(variant)
        devices = ", ".join(device.value for device in variant.devices)
        hashes = "in the card" if variant.is_verified else _unverified(variant)
        mark = "yes" if _is_here(card, variant, here) else "no"
        rows.append((variant.id, devices, known, machine.fits(card, variant), hashes, mark, _origin(variant)))
    return "\n".join(lines) + "\n" + table(rows)


def _unknown_size(variant: Variant) -> str:
    return "" if isinstance(variant.source, EmbeddedSource | LocalSource) else "asked when pulled"


def _unverified(variant: Variant) -> str:
    return "" if isinstance(variant.source, EmbeddedSource | LocalSource) else "unverified"


def card_json(card: ModelCard, here: Contents, machine: Machine) -> JsonObject:
    """A card as its file has it, with what is here of it."""
    document = typing.cast(JsonObject, msgspec.to_builtins(card))
    cached = [variant.id for variant in card.variants if _is_here(card, variant, here)]
    verified = {variant.id: variant.is_verified for variant in card.variants}
    fits = {variant.id: machine.fits(card, variant) or None for variant in card.variants}
    return {**document, "cached_variants": cached, "verified": verified, "fits": fits}


def _is_here(card: ModelCard, variant: Variant, here: Contents) -> bool:
    key = ModelKey.of(card, variant)
    return variant.source == EmbeddedSource() or any(model.key == key for model in here.models)


def _parameters(card: ModelCard) -> str:
    if card.parameters is None:
        return ""
    active = f" ({_billions(card.active_parameters)} active)" if card.active_parameters else ""
    return _billions(card.parameters) + active


def _billions(count: int) -> str:
    return f"{count / 1e9:.1f}B" if count >= 1e9 else f"{count / 1e6:.0f}M"


def _origin(variant: Variant) -> str:
    source = variant.source
    match source:
        case HubSource():
            return f"hub: {source.repo}" + ("" if source.revision == "main" else f" at {source.revision}")
        case UrlSource():
            return variant.files[0].url or ""
        case EmbeddedSource():
            return "comes with Tundish"
        case LocalSource():
            return "files"


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows under their titles, without the columns that nothing is known for."""
    heads, *lines = rows
    known = [column for column in range(len(heads)) if any(line[column] for line in lines)]
    widths = {column: max(len(row[column]) for row in rows) for column in known}
    return "\n".join("  ".join(f"{row[column]:<{widths[column]}}" for column in known).rstrip() for row in rows)
