"""Which variant of a card would fit, before it is fetched."""

from __future__ import annotations

from tundish.catalog.card import EmbeddedSource, HubSource, ModelFile, Variant, WeightFormat
from tundish.catalog.fit.variants import Verdict, judge, recommend
from tundish.catalog.hardware import Gpu

GB = 10**9


def _variant(
    id_: str, size: int | None, *, format_: WeightFormat = WeightFormat.GGUF, wants: int | None = None
) -> Variant:
    return Variant(
        id=id_,
        format=format_,
        quantisation="q",
        source=HubSource(repo="a/b"),
        files=(ModelFile(path=f"{id_}.{format_.value}", size_bytes=size),),
        memory_bytes=wants,
    )


def test_sizes_are_compared_with_what_can_be_used(computer) -> None:
    assert judge(_variant("small", 4 * GB), computer(16)).verdict is Verdict.FITS
    assert judge(_variant("nearly", 15 * GB), computer(16)).verdict is Verdict.TIGHT
    too_large = judge(_variant("large", 60 * GB), computer(16))
    assert too_large.verdict is Verdict.TOO_LARGE
    assert too_large.explanation == "67.5 GB weights and a modest context, 15.0 GB can be used"


def test_without_a_size_the_publishers_word_counts(computer) -> None:
    assert judge(_variant("x", None, wants=16 * GB), computer(14, total_gb=16.8)).verdict is Verdict.FITS
    assert judge(_variant("x", None, wants=80 * GB), computer(14, total_gb=16.8)).verdict is Verdict.TOO_LARGE
    assert judge(_variant("x", None), computer(14)).verdict is Verdict.UNKNOWN


def test_other_formats_are_for_other_engines(computer) -> None:
    verdict = judge(_variant("x", GB, format_=WeightFormat.SAFETENSORS), computer(64))
    assert verdict.verdict is Verdict.OTHER_ENGINE
    assert "safetensors" in verdict.explanation


def test_the_embedded_model_always_fits(computer) -> None:
    variant = Variant(id="x", format=WeightFormat.GGUF, quantisation="mxfp4", source=EmbeddedSource())
    assert judge(variant, computer(0.1)).verdict is Verdict.FITS


def test_memory_of_usable_gpus_counts(computer) -> None:
    gpu = Gpu(name="RTX", interface="CUDA", free_bytes=24 * GB, usable=True)
    assert judge(_variant("x", 20 * GB), computer(8, gpus=(gpu,))).verdict is Verdict.FITS
    assert judge(_variant("x", 20 * GB), computer(8)).verdict is Verdict.TOO_LARGE


def test_the_first_that_fits_is_recommended(computer) -> None:
    q8, q4, q2 = _variant("q8", 30 * GB), _variant("q4", 15 * GB), _variant("q2", 8 * GB)
    for memory_gb, expected in ((64, "q8"), (20, "q4"), (12, "q2")):
        recommended = recommend([q8, q4, q2], computer(memory_gb))
        assert recommended is not None
        assert recommended.variant.id == expected


def test_what_nearly_fits_is_better_than_nothing(computer) -> None:
    recommended = recommend([_variant("q8", 30 * GB), _variant("q4", 15 * GB)], computer(16.2))
    assert recommended is not None
    assert (recommended.variant.id, recommended.verdict) == ("q4", Verdict.TIGHT)
    assert recommend([_variant("q8", 30 * GB)], computer(8)) is None
    assert recommend([], computer(8)) is None
