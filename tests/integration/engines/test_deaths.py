"""A child dies, by itself or with its parent; nothing else does."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest

from tundish.core.backend import Health
from tundish.core.errors import BackendDied, BackendError, BackendTimeout, Unavailable
from tundish.engines.llama_cpp.engine import LlamaCppEngine
from tundish.engines.llama_cpp.options import RestartPolicy
from tundish.http.errors import ConnectFailed, HttpError, ResponseInvalid

from .conftest import StartEngine, all_of, saying, tokens_of, until

KILL = signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL


async def disturbed(engine: LlamaCppEngine, *, after: int, number: signal.Signals) -> None:
    """An endless answer whose engine gets a signal after so many tokens."""
    seen = 0
    async for _ in engine.generate(saying(5)):
        seen += 1
        if seen == after:
            os.kill(engine.pid, number)


async def test_killed_between_requests(start_engine: StartEngine, chat_model: Path) -> None:
    engine = await start_engine(chat_model)
    os.kill(engine.pid, KILL)
    await until(lambda: engine.status().restarts == 1 and engine.status().health is Health.READY)
    assert tokens_of(await all_of(engine, saying(5, count=3))) == [5, 5, 5]


async def test_a_request_waits_for_a_restart(start_engine: StartEngine, chat_model: Path) -> None:
    engine = await start_engine(chat_model)
    os.kill(engine.pid, KILL)
    await until(lambda: engine.status().health is Health.RESTARTING)
    assert "signal 9" in engine.status().detail or sys.platform == "win32"
    assert tokens_of(await all_of(engine, saying(5, count=3))) == [5, 5, 5]


async def test_killed_before_the_first_token(start_engine: StartEngine, slow_gpt_oss: Path) -> None:
    engine = await start_engine(slow_gpt_oss, context_length=16_384, slots=1)
    task = asyncio.ensure_future(all_of(engine, saying(5, prompt=16_000)))
    await until(lambda: engine.status().slots_busy == 1)
    await asyncio.sleep(0.2)
    os.kill(engine.pid, KILL)
    with pytest.raises(BackendDied):
        await task
    await until(lambda: engine.status().health is Health.READY and not engine.status().slots_busy)


async def test_killed_in_the_middle_of_an_answer(start_engine: StartEngine, chat_model: Path) -> None:
    engine = await start_engine(chat_model)
    other = await start_engine(chat_model)
    async with aclosing(other.generate(saying(6))) as undisturbed:
        await anext(undisturbed)
        with pytest.raises(BackendDied):
            await disturbed(engine, after=10, number=KILL)
        assert engine.status().health is not Health.FAILED
        await anext(undisturbed)
    assert other.status().restarts == 0
    assert tokens_of(await all_of(engine, saying(5, count=2))) == [5, 5]


async def test_all_that_run_are_told(start_engine: StartEngine, chat_model: Path) -> None:
    engine = await start_engine(chat_model, context_length=4096)
    tasks = [asyncio.ensure_future(all_of(engine, saying(5))) for _ in range(4)]
    queued = asyncio.ensure_future(all_of(engine, saying(5, count=2)))
    await until(lambda: engine.status().queued == 1)
    os.kill(engine.pid, KILL)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, BackendDied) for result in results)
    assert tokens_of(await queued) == [5, 5]
    await until(lambda: not engine.status().slots_busy)


async def test_a_model_that_keeps_dying_counts_as_failed_and_comes_back(
    start_engine: StartEngine, chat_model: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model.gguf"
    shutil.copy(chat_model, model)
    policy = RestartPolicy(first_s=0.001, limit_s=0.01, deaths_allowed=2)
    engine = await start_engine(model, restart=policy)
    model.rename(tmp_path / "elsewhere.gguf")
    os.kill(engine.pid, KILL)
    await until(lambda: engine.status().health is Health.FAILED)
    assert "No such file" in engine.status().detail
    (tmp_path / "elsewhere.gguf").rename(model)
    await until(lambda: engine.status().health is Health.READY)
    assert tokens_of(await all_of(engine, saying(5, count=2))) == [5, 5]


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be halted there")
async def test_a_child_that_hangs_is_replaced(start_engine: StartEngine, chat_model: Path) -> None:
    engine = await start_engine(chat_model, silence_timeout_s=0.5)
    with pytest.raises(BackendTimeout):
        await disturbed(engine, after=5, number=signal.SIGSTOP)
    await until(lambda: engine.status().health is Health.READY)
    assert tokens_of(await all_of(engine, saying(5, count=2))) == [5, 5]


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (ConnectFailed("127.0.0.1 cannot be reached: Too many open files."), Unavailable),
        (ResponseInvalid("The response is larger than 16777216 bytes."), BackendError),
    ],
)
async def test_trouble_of_our_own_is_no_reason_to_end_a_child(
    start_engine: StartEngine, chat_model: Path, trouble: HttpError, told: type[Exception]
) -> None:
    engine = await start_engine(chat_model)
    pid = engine.pid
    async with aclosing(engine.generate(saying(5))) as other:
        await anext(other)
        with pytest.raises(told) as caught:
            async with engine.connection():
                raise trouble
        assert not isinstance(caught.value, HttpError | BackendDied)
        assert str(trouble) in str(caught.value)
        await anext(other)  # whoever else is there goes on
    assert engine.pid == pid
    await until(lambda: not engine.status().slots_busy)
    assert engine.status().restarts == 0


PARENT = """
import asyncio, sys
from pathlib import Path
from tundish.core.tokens import TokenRequest
from tundish.engines.llama_cpp.engine import EngineOptions, LlamaCppEngine

async def main():
    engine = LlamaCppEngine(EngineOptions(
        model_path=Path(sys.argv[1]), context_length=16384, slots=1, queue_limit=1, batch_tokens=2048, threads=1,
        gpu_layers=0, prompt_cache_mib=0,
    ))
    await engine.start()
    print(engine.pid, flush=True)
    if sys.argv[2] == "busy":
        async for _ in engine.generate(TokenRequest(prompt=list(range(1, 16000)))):
            pass
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_a_child_does_not_outlive_its_parent(slow_gpt_oss: Path, state: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(slow_gpt_oss), state], stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        if state == "busy":
            computed = sum(child.cpu_times()[:2])
            while sum(child.cpu_times()[:2]) < computed + 0.1:
                time.sleep(0.01)  # until it is in the middle of a prompt
        parent.kill()
    child.wait(timeout=30)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
async def test_signals_to_the_group_leave_the_child_to_its_parent(start_engine: StartEngine, chat_model: Path) -> None:
    engine = await start_engine(chat_model)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(engine.pid, number)
    assert tokens_of(await all_of(engine, saying(5, count=200))) == [5] * 200
    assert engine.status().restarts == 0
