"""What `fit` predicts against what a real engine takes."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tundish.catalog import fit, gguf
from tundish.catalog.fit.plan import Wishes
from tundish.core.request import Sampling
from tundish.core.tokens import TokenRequest, TokensFinished
from tundish.engines import hardware
from tundish.engines.llama_cpp.engine import EngineOptions, LlamaCppEngine

_SLACK = 40 * 10**6
"""A prediction that is far too high refuses models that fit."""


@pytest.mark.parametrize(
    ("model", "wishes"),
    [
        ("tiny_gpt_oss", Wishes(slots=1, context_length=2048, repack=False)),
        ("tiny_gpt_oss", Wishes(slots=4)),
        ("slow_gpt_oss", Wishes(slots=4, context_length=8192, kv_type="q8_0")),
        ("chat_model", Wishes(slots=2)),
    ],
)
async def test_the_predicted_memory_is_what_the_engine_takes(
    model: str, wishes: Wishes, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(model)
    facts = gguf.read(path)
    plan = fit.plan(facts, hardware.snapshot(), wishes)
    engine = LlamaCppEngine(
        EngineOptions(
            model_path=path,
            context_length=plan.context_length,
            slots=plan.slots,
            queue_limit=4,
            batch_tokens=plan.batch_tokens,
            threads=1,
            gpu_layers=plan.gpu_layers,
            prompt_cache_mib=plan.prompt_cache_mib,
            kv_type=plan.kv_type,
            repack=plan.repack,
        )
    )
    await engine.start()
    try:
        prompt = [1 + index % 50 for index in range(min(300, plan.context_length // 2))]
        drawn = [event async for event in engine.generate(TokenRequest(prompt=prompt, sampling=Sampling(max_tokens=4)))]
        assert isinstance(drawn[-1], TokensFinished)
        assert engine.pid is not None
        measured = psutil.Process(engine.pid).memory_info().rss
    finally:
        await engine.stop()
    predicted = plan.memory_bytes - plan.need.prompt_cache  # which nothing has filled yet
    # Room to compute in is only touched as far as a prompt is long.
    assert measured <= predicted <= 1.1 * measured + plan.need.compute + _SLACK
