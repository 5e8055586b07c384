"""Models and machines of any size, made of numbers alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from tundish.catalog.gguf.facts import GgufFacts, LayerFacts, TensorBytes
from tundish.catalog.hardware import Gpu, Hardware, Memory, Processor

GB = 10**9


def gpt_oss_20b(**changes: object) -> GgufFacts:
    """As the published file (MXFP4 experts, the rest Q8_0) is read."""
    facts = GgufFacts(
        parts=(Path("gpt-oss-20b.gguf"),),
        architecture="gpt-oss",
        name="gpt-oss-20b",
        quantisation="mxfp4",
        context_length=131_072,
        block_count=24,
        layers=tuple(LayerFacts(kv_heads=8, window=None if layer % 2 else 128) for layer in range(24)),
        embedding_length=2880,
        head_count=64,
        key_length=64,
        value_length=64,
        recurrent_state_bytes=0,
        vocabulary_size=201_088,
        feed_forward_length=2880,
        expert_count=32,
        expert_used_count=4,
        expert_feed_forward_length=2880,
        parameters=20_900_000_000,
        active_parameters=3_600_000_000,
        file_bytes=12_110_000_000,
        tensor_bytes=TensorBytes(
            experts=10_200_000_000,
            attention=650_000_000,
            feed_forward=10_000_000,
            embedding=615_000_000,
            output=615_000_000,
            other=1_000_000,
        ),
        repackable_bytes={"mxfp4": 10_152_000_000, "q8_0": 640_000_000},
        has_chat_template=True,
        is_embedding_model=False,
    )
    return dataclasses.replace(facts, **changes)


def machine(memory_gb: float, *, total_gb: float | None = None, cores: int = 8, gpus: tuple[Gpu, ...] = ()) -> Hardware:
    total = memory_gb * 1.2 if total_gb is None else total_gb
    return Hardware(
        system="Linux",
        memory=Memory(total_bytes=int(total * GB), available_bytes=int(memory_gb * GB)),
        processor=Processor(name="CPU", architecture="x86_64", physical_cores=cores, usable_cores=cores),
        gpus=gpus,
    )


@pytest.fixture
def facts() -> GgufFacts:
    return gpt_oss_20b()


@pytest.fixture
def computer() -> Callable[..., Hardware]:
    return machine
