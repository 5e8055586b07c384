"""What holds for every model on every machine."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tundish.catalog import fit
from tundish.catalog.errors import DoesNotFit
from tundish.catalog.fit.plan import Plan, Wishes
from tundish.catalog.gguf.facts import GgufFacts, LayerFacts, TensorBytes
from tundish.catalog.hardware import Gpu, Hardware, Memory, Processor

_BYTES = st.integers(0, 200 * 10**9)
_ENOUGH_BYTES = st.integers(5 * 10**9, 400 * 10**9)


@st.composite
def _facts(draw: st.DrawFn) -> GgufFacts:
    blocks = draw(st.integers(1, 80))
    weights = draw(st.integers(10**5, 40 * 10**9))
    window = draw(st.sampled_from([None, 128, 1024, 4096]))
    kv_heads = draw(st.sampled_from([0, 1, 2, 8, 32]))
    experts = draw(st.sampled_from([0, 8, 128]))
    return GgufFacts(
        parts=(Path("model.gguf"),),
        architecture="any",
        name="model",
        quantisation="q4_k",
        context_length=draw(st.integers(1, 2**20)),
        block_count=blocks,
        layers=tuple(LayerFacts(kv_heads=kv_heads, window=window if layer % 2 else None) for layer in range(blocks)),
        embedding_length=draw(st.sampled_from([64, 2880, 8192])),
        head_count=32,
        key_length=draw(st.sampled_from([32, 64, 80, 128, 576])),
        value_length=64,
        recurrent_state_bytes=draw(st.sampled_from([0, 10**7])),
        vocabulary_size=draw(st.integers(1, 300_000)),
        feed_forward_length=draw(st.sampled_from([64, 2880, 28_672])),
        expert_count=experts,
        expert_used_count=min(experts, 4),
        expert_feed_forward_length=2880,
        parameters=weights * 2,
        active_parameters=max(weights // 4, 1),
        file_bytes=weights,
        tensor_bytes=TensorBytes(
            experts=weights // 2,
            attention=weights // 8,
            feed_forward=0,
            embedding=weights // 8,
            output=draw(st.sampled_from([0, weights // 8])),
            other=weights // 8,
        ),
        repackable_bytes={"q4_k": weights // 2},
        has_chat_template=True,
        is_embedding_model=draw(st.booleans()),
    )


@st.composite
def _machines(draw: st.DrawFn) -> Hardware:
    available = draw(st.one_of(_ENOUGH_BYTES, _BYTES))
    gpus = draw(
        st.lists(
            st.builds(
                Gpu,
                name=st.just("GPU"),
                interface=st.just("CUDA"),
                free_bytes=st.integers(0, 80 * 10**9),
                unified=st.booleans(),
                usable=st.booleans(),
            ),
            max_size=2,
        )
    )
    return Hardware(
        system="Linux",
        memory=Memory(total_bytes=available + draw(_BYTES), available_bytes=available),
        processor=Processor(
            name="CPU", architecture=draw(st.sampled_from(["x86_64", "arm64"])), physical_cores=64, usable_cores=8
        ),
        gpus=tuple(gpus),
    )


_WISHES = st.builds(
    Wishes,
    context_length=st.none() | st.integers(16, 2**20),
    slots=st.integers(1, 64),
    threads=st.none() | st.integers(1, 64),
    gpu_layers=st.none() | st.integers(0, 100),
    batch_tokens=st.none() | st.integers(1, 2048),
    kv_type=st.sampled_from([None, "f16", "q8_0"]),
    repack=st.sampled_from([None, True, False]),
    prompt_cache_mib=st.none() | st.integers(0, 10_000),
    memory_bytes=st.none() | _ENOUGH_BYTES,
)


def _plan(facts: GgufFacts, machine: Hardware, wishes: Wishes) -> Plan | None:
    try:
        return fit.plan(facts, machine, wishes)
    except DoesNotFit as refusal:
        budget = fit.budget_bytes(machine.memory, wishes.memory_bytes)
        if refusal.needed_bytes <= budget or refusal.available_bytes != budget:
            raise AssertionError("it was refused although it fits") from refusal
        return None


@settings(deadline=None, max_examples=150)
@given(facts=_facts(), machine=_machines(), wishes=_WISHES)
def test_a_plan_stays_within_the_memory_and_the_wishes(facts: GgufFacts, machine: Hardware, wishes: Wishes) -> None:
    plan = _plan(facts, machine, wishes)
    if plan is None:
        return
    assert plan.memory_bytes <= fit.budget_bytes(machine.memory, wishes.memory_bytes)
    assert plan.memory_bytes > 0
    assert 1 <= plan.context_length <= min(facts.context_length, wishes.context_length or facts.context_length)
    assert 1 <= plan.slots <= wishes.slots
    assert 1 <= plan.batch_tokens <= plan.context_length
    assert 0 <= plan.gpu_layers <= min(facts.block_count + 1, 1000 if wishes.gpu_layers is None else wishes.gpu_layers)
    assert plan.threads == (wishes.threads or 8)
    assert plan.prompt_cache_mib >= 0
    assert 0 <= plan.gpu_bytes <= sum(gpu.free_bytes for gpu in machine.usable_gpus)
    assert not plan.repack or wishes.repack is not False
    assert "\n" not in plan.reason
    if not machine.usable_gpus:
        assert plan.gpu_layers == plan.gpu_bytes == 0


@settings(deadline=None, max_examples=150)
@given(facts=_facts(), machine=_machines(), wishes=_WISHES)
def test_a_plan_makes_itself_again(facts: GgufFacts, machine: Hardware, wishes: Wishes) -> None:
    first = _plan(facts, machine, wishes)
    if first is None:
        return
    again = fit.plan(facts, machine, first.as_wishes())
    assert dataclasses.replace(again, reason="") == dataclasses.replace(first, reason="")


@settings(deadline=None, max_examples=150)
@given(facts=_facts(), machine=_machines(), wishes=_WISHES, more=_BYTES)
def test_more_memory_never_gives_a_shorter_context(
    facts: GgufFacts, machine: Hardware, wishes: Wishes, more: int
) -> None:
    less = _plan(facts, machine, wishes)
    if less is None:
        return
    memory = dataclasses.replace(machine.memory, available_bytes=machine.memory.available_bytes + more)
    richer = fit.plan(facts, dataclasses.replace(machine, memory=memory), wishes)
    assert richer.context_length >= less.context_length
    assert (richer.context_length, richer.slots) >= (less.context_length, less.slots)


@settings(deadline=None, max_examples=100)
@given(facts=_facts(), machine=_machines(), wishes=_WISHES)
def test_what_is_named_as_the_nearest_fits(facts: GgufFacts, machine: Hardware, wishes: Wishes) -> None:
    try:
        fit.plan(facts, machine, wishes)
    except DoesNotFit as refusal:
        nearest = refusal.nearest_context_length
        if nearest is not None:
            free = dataclasses.replace(wishes, context_length=nearest, kv_type=None)
            assert fit.plan(facts, machine, free).context_length == nearest
