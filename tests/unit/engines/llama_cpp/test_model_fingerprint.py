from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from tundish.engines.llama_cpp.model_fingerprint import fingerprint
from tundish.engines.llama_cpp.options import EngineOptions


@pytest.fixture
def options(tmp_path: Path) -> EngineOptions:
    path = tmp_path / "model.gguf"
    path.write_bytes(bytes(3 * 2**20))
    os.utime(path, (1e9, 1e9))
    return EngineOptions(
        model_path=path,
        context_length=1024,
        slots=2,
        queue_limit=8,
        batch_tokens=128,
        threads=1,
        gpu_layers=0,
        prompt_cache_mib=0,
    )


@pytest.mark.parametrize(
    "change",
    [{"context_length": 2048}, {"slots": 3}, {"gpu_layers": 1}, {"kv_type": "q8_0"}, {"kv_tokens": 1500}],
)
def test_how_the_model_is_run_counts(options: EngineOptions, change: dict[str, object]) -> None:
    assert fingerprint(dataclasses.replace(options, **change)) != fingerprint(options)


@pytest.mark.parametrize("change", [{"threads": 8}, {"queue_limit": 1}, {"load_timeout_s": 1.0}])
def test_what_changes_nothing_in_the_state_does_not(options: EngineOptions, change: dict[str, object]) -> None:
    assert fingerprint(dataclasses.replace(options, **change)) == fingerprint(options)


@pytest.mark.parametrize("place", [0, 3 * 2**20 - 1], ids=["beginning", "end"])
def test_other_weights_of_the_same_size_and_time_count(options: EngineOptions, place: int) -> None:
    before = fingerprint(options)
    with options.model_path.open("r+b") as file:
        file.seek(place)
        file.write(b"\x01")
    os.utime(options.model_path, (1e9, 1e9))
    assert fingerprint(options) != before


def test_size_and_time_count(options: EngineOptions) -> None:
    before = fingerprint(options)
    os.utime(options.model_path, (1e9, 1e9 + 1))
    touched = fingerprint(options)
    os.truncate(options.model_path, 2 * 2**20)
    os.utime(options.model_path, (1e9, 1e9 + 1))
    assert len({before, touched, fingerprint(options)}) == 3


def test_a_file_smaller_than_a_sample(options: EngineOptions) -> None:
    options.model_path.write_bytes(b"tiny")
    assert len(fingerprint(options)) == 32
