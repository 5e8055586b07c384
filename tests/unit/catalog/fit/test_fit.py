"""The choices that a plan makes, and how it says them."""

from __future__ import annotations

import dataclasses

import pytest

from tundish.catalog import fit
from tundish.catalog.errors import DoesNotFit
from tundish.catalog.fit.memory import need
from tundish.catalog.fit.plan import Wishes
from tundish.catalog.gguf.facts import LayerFacts
from tundish.catalog.hardware import Gpu
from tundish.core.errors import ModelLoadFailed

GB = 10**9


def test_with_plenty_of_memory_everything_is_given(facts, computer) -> None:
    plan = fit.plan(facts, computer(128), Wishes())
    assert (plan.context_length, plan.slots, plan.kv_type) == (131_072, 4, "f16")
    assert plan.repack
    assert plan.threads == 8
    assert plan.gpu_layers == 0
    assert plan.kv_tokens == 4 * 131_072
    assert plan.prompt_cache_mib > 1000


def test_gpt_oss_20b_on_24_gb(facts, computer) -> None:
    plan = fit.plan(facts, computer(23.2, total_gb=25.3, cores=2), Wishes())
    assert (plan.slots, plan.kv_type, plan.repack) == (4, "f16", False)
    assert plan.context_length >= 32_768
    assert plan.memory_bytes < 22 * GB
    assert plan.reason == (
        "gpt-oss-20b: 12.1 GB weights + 3.2 GB KV for 4 × 32768 tokens + 0.6 GB beside, of 23.2 GB free: "
        "context 32768, of the model's 131072, 2 threads, f16 KV, no repacking (would need 26.1 GB)"
    )


def test_gpt_oss_20b_on_a_laptop_with_16_gb(facts, computer) -> None:
    """14.2 GB left by the system and an editor: a modest context in 8 bits rather than none."""
    plan = fit.plan(facts, computer(14.2, total_gb=16.8), Wishes())
    assert plan.context_length >= 8_192
    assert not plan.repack


def test_8_bits_come_before_a_short_context(facts, computer) -> None:
    memories = [14.2 + tenth / 10 for tenth in range(80)]
    plans = [fit.plan(facts, computer(gb, total_gb=32), Wishes(slots=4)) for gb in memories]
    chosen = list(dict.fromkeys((plan.context_length, plan.kv_type, plan.slots) for plan in plans))
    assert (8_192, "q8_0", 4) in chosen
    assert (32_768, "q8_0", 4) in chosen
    assert all(kv_type == "f16" for context, kv_type, _ in chosen if context > 32_768)
    assert all(slots == 4 for context, _, slots in chosen if context > 8_192)


def test_keys_of_odd_length_stay_in_f16(facts, computer) -> None:
    odd = dataclasses.replace(facts, key_length=80)
    for gb in range(14, 40):
        try:
            assert fit.plan(odd, computer(gb), Wishes(kv_type="q8_0")).kv_type == "f16"
        except DoesNotFit:
            assert gb < 16


def test_slots_are_given_up_before_the_context(facts, computer) -> None:
    plan = fit.plan(facts, computer(13.55, total_gb=16), Wishes(slots=8))
    assert plan.context_length == 8_192
    assert plan.slots < 8
    assert f"{plan.slots} instead of 8 slots" in plan.reason


# --- wishes ---


def test_an_asked_context_is_given_exactly(facts, computer) -> None:
    plan = fit.plan(facts, computer(64), Wishes(context_length=5_000, slots=2))
    assert (plan.context_length, plan.slots) == (5_000, 2)


def test_more_context_than_the_model_has_is_not_given(facts, computer) -> None:
    plan = fit.plan(facts, computer(128), Wishes(context_length=1_000_000))
    assert plan.context_length == 131_072
    assert "the model has no more than 131072" in plan.reason


def test_an_asked_context_that_does_not_fit_is_refused_with_the_nearest_that_does(facts, computer) -> None:
    with pytest.raises(DoesNotFit) as failure:
        fit.plan(facts, computer(14.5, total_gb=16), Wishes(context_length=131_072))
    error = failure.value
    assert isinstance(error, ModelLoadFailed)
    assert error.nearest_context_length is not None
    assert f"A context of {error.nearest_context_length} tokens" in error.message
    assert "131072" in error.message
    assert error.needed_bytes > error.available_bytes
    # … and it is true
    fitting = fit.plan(facts, computer(14.5, total_gb=16), Wishes(context_length=error.nearest_context_length))
    assert fitting.context_length == error.nearest_context_length


def test_a_model_that_is_too_large_is_refused_with_what_would_fit(facts, computer) -> None:
    with pytest.raises(DoesNotFit, match=r"12\.1 GB weights") as failure:
        fit.plan(facts, computer(8), Wishes())
    error = failure.value
    assert "Weights of at most 7.3 GB would fit" in error.message
    assert error.nearest_context_length is None
    assert error.available_bytes < 8 * GB < error.needed_bytes


def test_a_limit_on_memory_is_named(facts, computer) -> None:
    with pytest.raises(DoesNotFit, match="no more is allowed to it"):
        fit.plan(facts, computer(64), Wishes(memory_bytes=10 * GB))
    contained = computer(8)
    memory = dataclasses.replace(contained.memory, limited_by="control group")
    with pytest.raises(DoesNotFit, match="a limit of its control group"):
        fit.plan(facts, dataclasses.replace(contained, memory=memory), Wishes())


def test_the_owner_decides_on_repacking(facts, computer) -> None:
    assert not fit.plan(facts, computer(128), Wishes(repack=False)).repack
    assert fit.plan(facts, computer(40), Wishes(repack=True, context_length=8192)).repack
    assert not fit.plan(facts, computer(16), Wishes(repack=True)).repack  # it would not fit


def test_weights_that_take_long_to_repack_are_left_as_they_are(facts, computer) -> None:
    large = dataclasses.replace(facts, repackable_bytes={"mxfp4": 60 * GB})
    assert not fit.plan(large, computer(500), Wishes()).repack


def test_threads_are_as_asked_or_the_cores(facts, computer) -> None:
    assert fit.plan(facts, computer(64, cores=6), Wishes()).threads == 6
    assert fit.plan(facts, computer(64, cores=6), Wishes(threads=2)).threads == 2


def test_a_batch_takes_no_longer_than_a_cancelled_request_may(facts, computer) -> None:
    assert fit.plan(facts, computer(64, cores=2), Wishes()).batch_tokens == 64
    assert fit.plan(facts, computer(64, cores=32), Wishes()).batch_tokens == 256
    small = dataclasses.replace(facts, active_parameters=30_000_000)
    assert fit.plan(small, computer(64, cores=2), Wishes()).batch_tokens == 512
    assert fit.plan(facts, computer(64, cores=2), Wishes(batch_tokens=32)).batch_tokens == 32


def test_a_plan_can_be_made_again(facts, computer) -> None:
    first = fit.plan(facts, computer(40), Wishes())
    again = fit.plan(facts, computer(90), first.as_wishes())
    assert dataclasses.replace(again, reason="") == dataclasses.replace(first, reason="")


# --- GPUs ---


def _gpu(free_gb: float, **changes: object) -> Gpu:
    gpu = Gpu(name="RTX", interface="CUDA", total_bytes=24 * GB, free_bytes=int(free_gb * GB), usable=True)
    return dataclasses.replace(gpu, **changes)


def test_a_gpu_that_llama_cpp_cannot_use_does_not_count(facts, computer) -> None:
    assert fit.plan(facts, computer(64, gpus=(_gpu(24, usable=False),)), Wishes()).gpu_layers == 0


def test_a_model_that_fits_is_put_on_the_gpu_as_a_whole(facts, computer) -> None:
    plan = fit.plan(facts, computer(32, gpus=(_gpu(24),)), Wishes(context_length=8_192))
    assert plan.gpu_layers == 25
    assert plan.gpu_bytes > 11 * GB
    assert plan.memory_bytes - plan.need.prompt_cache < 2 * GB
    assert plan.batch_tokens == 512
    assert plan.need.repacked == 0
    assert "25 of 25 layers on RTX" in plan.reason


def test_a_small_gpu_takes_some_layers(facts, computer) -> None:
    plan = fit.plan(facts, computer(32, gpus=(_gpu(6),)), Wishes(context_length=8_192))
    assert 0 < plan.gpu_layers < 24
    assert plan.gpu_bytes < 6 * GB
    assert plan.memory_bytes + plan.gpu_bytes == plan.need.total


def test_layers_on_the_gpu_are_at_most_those_wished(facts, computer) -> None:
    assert fit.plan(facts, computer(32, gpus=(_gpu(24),)), Wishes(gpu_layers=3)).gpu_layers == 3
    assert fit.plan(facts, computer(32, gpus=(_gpu(24),)), Wishes(gpu_layers=0)).gpu_bytes == 0


def test_a_gpu_makes_models_fit_that_main_memory_does_not_hold(facts, computer) -> None:
    with pytest.raises(DoesNotFit):
        fit.plan(facts, computer(8), Wishes())
    assert fit.plan(facts, computer(8, gpus=(_gpu(24),)), Wishes()).gpu_layers == 25


def test_unified_memory_is_counted_once(facts, computer) -> None:
    apple = _gpu(14, interface="Metal", unified=True)
    plan = fit.plan(facts, computer(24, gpus=(apple,)), Wishes(context_length=8_192))
    assert plan.gpu_layers > 0
    assert plan.gpu_bytes == 0
    with pytest.raises(DoesNotFit):
        fit.plan(facts, computer(8, gpus=(apple,)), Wishes())


# --- other kinds of models ---


def test_an_embedding_model_reads_its_input_in_one_batch(facts, computer) -> None:
    encoder = dataclasses.replace(
        facts,
        architecture="bert",
        is_embedding_model=True,
        context_length=512,
        layers=tuple(LayerFacts(kv_heads=0, window=None) for _ in range(24)),
    )
    plan = fit.plan(encoder, computer(64), Wishes())
    assert plan.batch_tokens == plan.context_length == 512
    assert plan.need.kv == 0
    assert plan.prompt_cache_mib == 0


def test_a_recurrent_model_keeps_a_state_for_each_slot(facts) -> None:
    recurrent = dataclasses.replace(
        facts,
        layers=tuple(LayerFacts(kv_heads=0, window=None) for _ in range(24)),
        recurrent_state_bytes=10_000_000,
    )
    one, four = (need(recurrent, context_length=1024, slots=n, batch_tokens=64, kv_type="f16") for n in (1, 4))
    assert one.kv == four.kv == 0
    assert four.engine - one.engine >= 30_000_000


# --- sizes that llama.cpp printed for files of this shape (two of the 24 layers) ---


def _two_layers(facts):
    return dataclasses.replace(facts, block_count=2, layers=facts.layers[:2])


@pytest.mark.parametrize(
    ("context", "batch", "slots", "kv_mib"),
    [
        (8192, 512, 1, 16.0 + 1.5),
        (8192, 512, 4, 16.0 + 2.0),
        (65536, 512, 4, 128.0 + 2.0),
        (65536, 128, 4, 128.0 + 1.5),
    ],
)
def test_the_cache_is_as_large_as_llama_cpp_makes_it(facts, context, batch, slots, kv_mib) -> None:
    needed = need(_two_layers(facts), context_length=context // slots, slots=slots, batch_tokens=batch, kv_type="f16")
    assert needed.kv == kv_mib * 2**20


@pytest.mark.parametrize(
    ("context", "batch", "slots", "compute_mib"),
    [(8192, 512, 1, 104.40), (8192, 512, 4, 104.65), (65536, 512, 4, 160.65), (65536, 128, 4, 40.10)],
)
def test_the_room_to_compute_is_bounded_closely(facts, context, batch, slots, compute_mib) -> None:
    needed = need(_two_layers(facts), context_length=context // slots, slots=slots, batch_tokens=batch, kv_type="f16")
    assert compute_mib * 2**20 <= needed.compute <= 1.2 * compute_mib * 2**20


def test_eight_bits_take_little_more_than_half(facts) -> None:
    f16, q8 = (
        need(facts, context_length=32_768, slots=4, batch_tokens=64, kv_type=kv_type).kv for kv_type in ("f16", "q8_0")
    )
    assert q8 * 32 == f16 * 17
