from __future__ import annotations

import itertools
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tundish.engines.llama_cpp.options import EngineOptions, RestartPolicy


def options(**changes: int) -> EngineOptions:
    given = {"context_length": 1000, "slots": 4, "queue_limit": 1, "batch_tokens": 1, "threads": 1, "gpu_layers": 0}
    return EngineOptions(model_path=Path("model.gguf"), prompt_cache_mib=0, **{**given, **changes})


def test_the_kv_cache_is_enough_for_all_unless_told_otherwise() -> None:
    assert options().kv_pool_tokens == 4000
    assert options(kv_tokens=2500).kv_pool_tokens == 2500


def test_the_kv_cache_holds_one_whole_request_at_least() -> None:
    assert options(kv_tokens=10).kv_pool_tokens == 1000


def test_each_young_death_doubles_the_wait_up_to_the_limit() -> None:
    policy = RestartPolicy(first_s=0.25, limit_s=30.0)
    assert [policy.delay_s(deaths) for deaths in (1, 2, 3, 4)] == [0.25, 0.5, 1.0, 2.0]
    assert policy.delay_s(20) == 30.0


@given(st.integers(0, 10_000))
def test_the_wait_never_shrinks_and_never_overflows(deaths: int) -> None:
    policy = RestartPolicy()
    waits = [policy.delay_s(deaths), policy.delay_s(deaths + 1)]
    assert all(0 < wait <= policy.limit_s for wait in waits)
    assert all(before <= after for before, after in itertools.pairwise(waits))
