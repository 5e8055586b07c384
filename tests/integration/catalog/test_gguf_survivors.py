"""Whatever our reader lets pass: llama.cpp loads it or refuses it in words, and does not abort on it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tundish.catalog import gguf
from tundish.core.errors import ModelLoadFailed
from tundish.engines.llama_cpp.engine import EngineOptions, LlamaCppEngine
from tundish.engines.llama_cpp.options import RestartPolicy


@pytest.fixture(scope="module")
def files() -> ModuleType:
    """The writer of odd files that the unit tests use."""
    path = Path(__file__).parents[2] / "unit/catalog/gguf/conftest.py"
    spec = importlib.util.spec_from_file_location("odd_gguf_files", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["odd_gguf_files"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


async def _outcome(path: Path) -> str:
    """ "loaded", or llama.cpp's reason."""
    engine = LlamaCppEngine(
        EngineOptions(
            model_path=path,
            context_length=256,
            slots=1,
            queue_limit=1,
            batch_tokens=64,
            threads=1,
            gpu_layers=0,
            prompt_cache_mib=0,
            load_timeout_s=60.0,
            restart=RestartPolicy(first_s=0.01, limit_s=0.05),
        )
    )
    try:
        await engine.start()
    except ModelLoadFailed as error:
        return error.message
    finally:
        await engine.stop()
    return "loaded"


LOADED: dict[str, Callable[[Any], Any]] = {
    "as it is": lambda f: f,
    "version 2": lambda f: setattr(f, "version", 2) or f,
    "wider alignment": lambda f: setattr(f, "alignment", 4096) or f.set("general.alignment", 4096),
    "empty tokens, a context of one, no special ids": lambda f: (
        f.set_array("tokenizer.ggml.tokens", "string", [""] * 265)
        .set("gpt-oss.context_length", 1)
        .drop("tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id")
    ),
    "special ids beyond the vocabulary": lambda f: f.set("tokenizer.ggml.eos_token_id", 2**32 - 1),
    "no rope scaling and an endless window": lambda f: f.drop("gpt-oss.rope.scaling.type").set(
        "gpt-oss.attention.sliding_window", 2**31 - 1
    ),
}

REFUSED: dict[str, Callable[[Any], Any]] = {
    "unknown tokenizer": lambda f: f.set("tokenizer.ggml.model", "abacus"),
    "unknown pre-tokenizer": lambda f: f.set("tokenizer.ggml.pre", "abacus"),
    "a tensor too many": lambda f: f.with_tensor("blk.0.attn_q.bias", name="blk.0.attn_q.scent"),
    "counts in 64 bits": lambda f: f.set("gpt-oss.block_count", 2, "u64"),
}


@pytest.mark.parametrize("name", [*LOADED, *REFUSED])
async def test_a_survivor_is_loaded_or_refused_in_words(name: str, files: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "odd.gguf"
    path.write_bytes((LOADED | REFUSED)[name](files.gpt_oss_file()).encode())
    gguf.read(path)
    outcome = await _outcome(path)
    if name in LOADED:
        assert outcome == "loaded"
    else:
        assert "cannot load" in outcome
        assert "signal" not in outcome
        assert "GGML_ASSERT" not in outcome


async def test_what_our_reader_keeps_away_would_end_the_process(files: ModuleType, tmp_path: Path) -> None:
    """Else the rules would have outlived their reason. The parent, which is this test, lives on."""
    path = tmp_path / "aborts.gguf"
    path.write_bytes(files.gpt_oss_file().set("gpt-oss.expert_used_count", 99).encode())
    assert "GGML_ASSERT" in await _outcome(path)


async def test_parts_are_loaded_by_their_first(files: ModuleType, tmp_path: Path) -> None:
    file = files.gpt_oss_file()
    tensors, metadata = file.tensors, file.metadata
    for part, share in enumerate((tensors[:20], tensors[20:])):
        file.tensors, file.metadata = share, list(metadata) if part == 0 else []
        file.set("split.no", part, "u16").set("split.count", 2, "u16").set("split.tensors.count", len(tensors), "i32")
        (tmp_path / f"two-0000{part + 1}-of-00002.gguf").write_bytes(file.encode())
    facts = gguf.read(tmp_path / "two-00001-of-00002.gguf")
    assert await _outcome(facts.path) == "loaded"
