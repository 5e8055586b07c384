"""Which variant of a model card fits a machine: a first answer from the card's sizes, before any file is here."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence

from tundish.catalog.card import EmbeddedSource, Variant, WeightFormat
from tundish.catalog.fit.plan import budget_bytes, gigabytes
from tundish.catalog.hardware import Hardware

_BESIDE_SHARE = 8
"""The cache for a modest context and all else take about an eighth of the weights, …"""
_BESIDE_LEAST = 300 * 10**6
"""… and no less than this."""


class Verdict(enum.Enum):
    """Whether a variant fits."""

    FITS = "fits"
    TIGHT = "tight"
    """Its weights fit, hardly more."""
    TOO_LARGE = "too large"
    OTHER_ENGINE = "other engine"
    """In a format that no engine here reads."""
    UNKNOWN = "unknown"
    """The card does not say how large it is."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VariantFit:
    """What can be said of a variant before it is fetched."""

    variant: Variant
    verdict: Verdict
    explanation: str
    """For people, with the numbers."""


def judge(variant: Variant, hardware: Hardware) -> VariantFit:
    """Whether `variant` would fit the machine as it is now."""
    verdict, explanation = _judge(variant, hardware)
    return VariantFit(variant=variant, verdict=verdict, explanation=explanation)


def _judge(variant: Variant, hardware: Hardware) -> tuple[Verdict, str]:
    if isinstance(variant.source, EmbeddedSource):
        return Verdict.FITS, "comes with Tundish"
    if variant.format is not WeightFormat.GGUF:
        return Verdict.OTHER_ENGINE, f"the engine that comes with Tundish does not read {variant.format.value}"
    weights = variant.size_bytes
    if weights is None and variant.memory_bytes is None:
        return Verdict.UNKNOWN, "its size is asked when it is pulled"
    if weights is None:
        # What a publisher asks for is for the whole machine, other programs included.
        asked = variant.memory_bytes or 0
        return _compare(asked, asked, hardware.memory.total_bytes, "asked for by its publisher")
    needed = weights + max(weights // _BESIDE_SHARE, _BESIDE_LEAST)
    return _compare(weights, needed, _usable(hardware), "weights and a modest context")


def _compare(least: int, needed: int, usable: int, what: str) -> tuple[Verdict, str]:
    numbers = f"{gigabytes(needed)} {what}, {gigabytes(usable)} can be used"
    if needed <= usable:
        return Verdict.FITS, numbers
    return (Verdict.TIGHT if least <= usable else Verdict.TOO_LARGE), numbers


def _usable(hardware: Hardware) -> int:
    own = sum(gpu.free_bytes for gpu in hardware.usable_gpus if not gpu.unified)
    return budget_bytes(hardware.memory) + own


def recommend(variants: Sequence[Variant], hardware: Hardware) -> VariantFit | None:
    """The variant to fetch: the first that fits, in the card's order of preference; else one that nearly does.

    None when every variant is too large or for another engine.
    """
    judged = [judge(variant, hardware) for variant in variants]
    for wanted in (Verdict.FITS, Verdict.TIGHT, Verdict.UNKNOWN):
        for fit in judged:
            if fit.verdict is wanted:
                return fit
    return None
