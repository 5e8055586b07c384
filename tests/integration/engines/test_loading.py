"""A child is started, says why it cannot load, and opens to its parent alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tundish.core.backend import Health
from tundish.core.errors import BackendStopped, ModelLoadFailed, Unavailable
from tundish.engines.llama_cpp.engine import LlamaCppEngine
from tundish.http.client import HttpClient, Origin

from .conftest import StartEngine, all_of, options_for, saying


def damaged(model: Path, folder: Path, kind: str) -> Path:
    good = model.read_bytes()
    path = folder / f"{kind}.gguf"
    match kind:
        case "truncated":
            path.write_bytes(good[: len(good) // 2])
        case "foreign":
            path.write_bytes(b"<html>nothing here</html>")
        case "empty":
            path.write_bytes(b"")
        case "unknown architecture":
            path.write_bytes(good.replace(b"gpt-oss", b"gpt-xxx", 1))
        case "aborting":
            key = b"gpt-oss.expert_used_count"
            at = good.index(key) + len(key) + 4
            path.write_bytes(good[:at] + (99).to_bytes(4, "little") + good[at + 4 :])
        case _:
            pass  # it is missing
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "No such file"),
        ("truncated", "not within the file bounds"),
        ("foreign", "expected 'GGUF'"),
        ("empty", "failed to read magic"),
        ("unknown architecture", "unknown model architecture: 'gpt-xxx'"),
        ("aborting", "n_expert_used"),
    ],
)
async def test_the_real_reason_is_told(tiny_gpt_oss: Path, tmp_path: Path, kind: str, reason: str) -> None:
    path = damaged(tiny_gpt_oss, tmp_path, kind)
    engine = LlamaCppEngine(options_for(path))
    with pytest.raises(ModelLoadFailed) as caught:
        await engine.start()
    assert reason in caught.value.message
    assert str(path) in caught.value.message
    assert engine.status().health is Health.FAILED
    assert reason in engine.status().detail
    with pytest.raises(Unavailable):
        await all_of(engine, saying(5, count=1))


async def test_loading_has_a_time_limit(tiny_gpt_oss: Path) -> None:
    engine = LlamaCppEngine(options_for(tiny_gpt_oss, load_timeout_s=0.02))
    with pytest.raises(ModelLoadFailed, match=r"longer than 0\.02 s"):
        await engine.start()
    assert engine.pid is None


async def test_stopping_ends_a_load(tiny_gpt_oss: Path) -> None:
    engine = LlamaCppEngine(options_for(tiny_gpt_oss))
    starting = asyncio.ensure_future(engine.start())
    await asyncio.sleep(0)
    assert engine.status().health is Health.STARTING
    await engine.stop()
    with pytest.raises(BackendStopped):
        await starting
    assert engine.status().health is Health.STOPPED


async def test_cancelling_start_leaves_nothing_behind(tiny_gpt_oss: Path) -> None:
    engine = LlamaCppEngine(options_for(tiny_gpt_oss))
    starting = asyncio.ensure_future(engine.start())
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert engine.pid is None
    assert engine.status().health is Health.STOPPED


async def test_the_child_opens_to_its_parent_alone(start_engine: StartEngine, chat_model: Path) -> None:
    engine = await start_engine(chat_model)
    async with engine.connection(slots=0) as link:
        url, key = link.child.url, link.headers["authorization"]
    stranger = HttpClient(Origin.of(url))
    for path in ("/slots", "/props", "/v1/models"):
        status, _ = await stranger.request("GET", path)
        assert status == 401
    status, _ = await stranger.request("POST", "/completion", body=b'{"prompt":"hello"}')
    assert status == 401
    status, _ = await stranger.request("GET", "/slots", headers={"authorization": key})
    assert status == 200
    stranger.close()


@pytest.mark.parametrize("changes", [{"kv_type": "q8_0"}, {"repack": False}, {"slots": 1}])
async def test_options_reach_the_engine(
    start_engine: StartEngine, chat_model: Path, changes: dict[str, object]
) -> None:
    engine = await start_engine(chat_model, **changes)
    assert len(await all_of(engine, saying(5, count=4))) == 5
