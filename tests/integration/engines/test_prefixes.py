"""Warm prefixes with a real child: saved at the second use, restored after a restart, never a wrong answer."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import filelock
import pytest

from tundish.core.backend import Health
from tundish.core.request import Sampling
from tundish.core.tokens import TokenDelta, TokenRequest, TokensFinished
from tundish.engines.llama_cpp.engine import LlamaCppEngine
from tundish.engines.llama_cpp.model_fingerprint import fingerprint
from tundish.engines.llama_cpp.prefix_cache import PrefixCache
from tundish.engines.llama_cpp.prefix_entry import packed
from tundish.engines.llama_cpp.prefix_store import PrefixStore

from .conftest import all_of, options_for, tokens_of, until

KILL = signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL
START = 200_006
PREFIX = [START, *(1_000 + 7 * number for number in range(599))]
LIMIT = 100 * 2**20


class StartWarm(Protocol):
    async def __call__(self, path: Path, root: Path, **changes: object) -> LlamaCppEngine: ...


def engine_of(path: Path, root: Path, *, limit_bytes: int = LIMIT, **changes: object) -> LlamaCppEngine:
    options = options_for(path, context_length=2048, **changes)
    store = PrefixStore(root, fingerprint(options), limit_bytes=limit_bytes)
    prefixes = PrefixCache(store, slots=options.slots, moves_idle_slots=options.prompt_cache_mib > 0)
    return LlamaCppEngine(dataclasses.replace(options, slot_folder=store.folder), prefixes=prefixes)


@pytest.fixture
async def start_warm() -> AsyncIterator[StartWarm]:
    """Starts engines that keep prefixes under a root; stops them in the end."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(path: Path, root: Path, **changes: object) -> LlamaCppEngine:
            engine = engine_of(path, root, **changes)
            stack.push_async_callback(engine.stop)
            await engine.start()
            return engine

        yield start


def asking(question: int, *, prefix: list[int] = PREFIX, count: int = 8, n: int = 1) -> TokenRequest:
    """A greedy request: what all begin with, then what this one asks."""
    said = [START, 1428, 200_008, *(50_000 + 11 * question + number for number in range(40))]
    return TokenRequest(
        prompt=[*prefix, *said],
        sampling=Sampling(max_tokens=count, temperature=0.0, top_logprobs=10),
        prefix_tokens=len(prefix),
        n=n,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Told:
    tokens: list[int]
    cached: int
    likely: dict[int, float]
    """The likeliest first tokens and their natural log probabilities."""

    def is_like(self, other: Told) -> bool:
        """Whether both come from the same prompt: random weights have near ties, which the batches' sizes decide.

        What is computed in other batches differs by 0.003, what follows another prefix by 0.04.
        """
        if not self.likely and not other.likely:  # the first token ends within a character: its id is all there is
            return self.tokens[0] == other.tokens[0]
        both = self.likely.keys() & other.likely.keys()
        return len(both) >= 7 and all(abs(self.likely[token] - other.likely[token]) < 0.01 for token in both)


async def ask(engine: LlamaCppEngine, request: TokenRequest) -> Told:
    events = await all_of(engine, request)
    cached = next(event.cached_tokens for event in events if isinstance(event, TokensFinished))
    first = next(event for event in events if isinstance(event, TokenDelta))
    return Told(tokens_of(events), cached, dict(first.probabilities[0].top))


_COLD: dict[tuple[Path, tuple[int, ...]], Told] = {}


async def cold(path: Path, request: TokenRequest) -> Told:
    """What a child that has nothing saved says; each is asked once."""
    key = path, tuple(request.prompt)
    if key not in _COLD:
        _COLD[key] = await asked_anew(path, request)
    return _COLD[key]


async def asked_anew(path: Path, request: TokenRequest) -> Told:
    engine = LlamaCppEngine(options_for(path, context_length=2048))
    await engine.start()
    try:
        return await ask(engine, request)
    finally:
        await engine.stop()


async def save_prefix(path: Path, root: Path, *, prefix: list[int] = PREFIX, **changes: object) -> Path:
    """Have an endpoint save it, and stop; the folder it is in."""
    engine = engine_of(path, root, **changes)
    await engine.start()
    try:
        for question in (1, 2):
            await ask(engine, asking(question, prefix=prefix))
    finally:
        await engine.stop()
    folder = engine.options.slot_folder
    assert folder is not None
    return folder


def files(folder: Path, kind: str = "*") -> list[Path]:
    return sorted(path for path in folder.glob(kind) if path.is_file())


@pytest.mark.parametrize("prompt_cache_mib", [0, 64])
async def test_a_restart_keeps_it(
    start_warm: StartWarm, tiny_gpt_oss: Path, tmp_path: Path, prompt_cache_mib: int
) -> None:
    folder = await save_prefix(tiny_gpt_oss, tmp_path, prompt_cache_mib=prompt_cache_mib)
    assert [path.suffix for path in files(folder)] == [".json", ".kv"]
    engine = await start_warm(tiny_gpt_oss, tmp_path, prompt_cache_mib=prompt_cache_mib)
    told = await ask(engine, asking(3))
    assert told.cached == len(PREFIX)
    assert told.is_like(await cold(tiny_gpt_oss, asking(3)))


async def test_the_request_that_saves_it_is_answered_and_counted_as_any_other(
    start_warm: StartWarm, tiny_gpt_oss: Path, tmp_path: Path
) -> None:
    engine = await start_warm(tiny_gpt_oss, tmp_path)
    first, second = [await ask(engine, asking(number)) for number in (1, 2)]
    assert first.cached == 0
    assert second.cached >= len(PREFIX)  # from the slot of the first, and not what was computed to be saved
    assert second.is_like(await cold(tiny_gpt_oss, asking(2)))


async def test_a_cold_second_use_is_counted_as_cold(start_warm: StartWarm, tiny_gpt_oss: Path, tmp_path: Path) -> None:
    engine = await start_warm(tiny_gpt_oss, tmp_path, slots=1)
    await ask(engine, asking(1))
    await ask(engine, asking(1, prefix=[START, *range(3_000, 3_100)]))  # the only slot holds something else now
    assert (await ask(engine, asking(2))).cached < 8


async def test_a_used_once_or_short_prefix_is_not_saved(
    start_warm: StartWarm, tiny_gpt_oss: Path, tmp_path: Path
) -> None:
    engine = await start_warm(tiny_gpt_oss, tmp_path)
    await ask(engine, asking(1))
    for question in (1, 2, 3):
        await ask(engine, asking(question, prefix=PREFIX[:255]))
    await engine.stop()
    assert files(tmp_path, "*/*") == []


async def test_requests_at_the_same_time_all_have_it(start_warm: StartWarm, tiny_gpt_oss: Path, tmp_path: Path) -> None:
    await save_prefix(tiny_gpt_oss, tmp_path)
    engine = await start_warm(tiny_gpt_oss, tmp_path)
    told = await asyncio.gather(*(ask(engine, asking(question, count=30)) for question in range(10, 18)))
    assert min(one.cached for one in told) >= len(PREFIX) - 2
    for question in (10, 13, 16):
        assert told[question - 10].is_like(await cold(tiny_gpt_oss, asking(question, count=30)))


@pytest.mark.parametrize("prompt_cache_mib", [0, 64])
async def test_a_conversation_keeps_more_than_its_prefix(
    start_warm: StartWarm, tiny_gpt_oss: Path, tmp_path: Path, prompt_cache_mib: int
) -> None:
    await save_prefix(tiny_gpt_oss, tmp_path, prompt_cache_mib=prompt_cache_mib)
    engine = await start_warm(tiny_gpt_oss, tmp_path, prompt_cache_mib=prompt_cache_mib)
    first = asking(3, count=16)
    told = await ask(engine, first)
    longer = [*first.prompt, *told.tokens, START, 1428, 200_008, 5, 6, 7]
    turn = dataclasses.replace(first, prompt=longer)
    assert (await ask(engine, turn)).cached >= len(first.prompt)
    # Another conversation that begins so does not write over it, not even while it runs.
    async with contextlib.aclosing(engine.generate(asking(4, count=None))) as running:
        await anext(running)
        again = dataclasses.replace(turn, prompt=[*longer, *range(9_000, 9_040)])
        assert (await ask(engine, again)).cached >= len(first.prompt)


async def test_several_choices_share_it(start_warm: StartWarm, tiny_gpt_oss: Path, tmp_path: Path) -> None:
    await save_prefix(tiny_gpt_oss, tmp_path)
    engine = await start_warm(tiny_gpt_oss, tmp_path)
    events = await all_of(engine, asking(3, n=3))
    cached = [event.cached_tokens for event in events if isinstance(event, TokensFinished)]
    assert len(cached) == 3
    assert max(cached) == len(PREFIX)
    expected = await cold(tiny_gpt_oss, asking(3))
    for choice in range(3):
        first = next(event for event in events if isinstance(event, TokenDelta) and event.choice == choice)
        assert Told([], 0, dict(first.probabilities[0].top)).is_like(expected)


async def test_a_child_that_died_gets_it_back(start_warm: StartWarm, tiny_gpt_oss: Path, tmp_path: Path) -> None:
    engine = await start_warm(tiny_gpt_oss, tmp_path)
    for question in (1, 2):
        await ask(engine, asking(question))
    await until(lambda: len(files(tmp_path, "*/*.json")) == 1)
    os.kill(engine.pid, KILL)
    await until(lambda: engine.status().restarts == 1 and engine.status().health is Health.READY)
    assert (await ask(engine, asking(3))).cached == len(PREFIX)


# --- what is damaged is never used ---


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0x10]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [flip, lambda content: content[:-100], lambda content: content[:10], lambda content: b"", lambda c: c + b"x"],
    ids=["flipped", "cut", "cut to its head", "empty", "longer"],
)
async def test_a_damaged_state_is_dropped_and_made_anew(
    start_warm: StartWarm, tiny_gpt_oss: Path, tmp_path: Path, damage
) -> None:
    folder = await save_prefix(tiny_gpt_oss, tmp_path)
    (state,) = files(folder, "*.kv")
    state.write_bytes(damage(state.read_bytes()))
    engine = await start_warm(tiny_gpt_oss, tmp_path)
    told = await ask(engine, asking(3))
    assert told.cached == 0
    assert told.is_like(await cold(tiny_gpt_oss, asking(3)))
    await ask(engine, asking(4))
    await engine.stop()
    later = await start_warm(tiny_gpt_oss, tmp_path)
    assert (await ask(later, asking(5))).cached == len(PREFIX)


async def test_a_state_that_llama_cpp_refuses_is_dropped(
    start_warm: StartWarm, tiny_gpt_oss: Path, tmp_path: Path
) -> None:
    """Whole, and of another shape: as if the fingerprint had missed something."""
    other = await save_prefix(tiny_gpt_oss, tmp_path / "other", kv_type="q8_0")
    options = options_for(tiny_gpt_oss, context_length=2048)
    folder = tmp_path / fingerprint(options)
    folder.mkdir()
    for path in files(other):
        content = path.read_bytes().replace(other.name.encode(), folder.name.encode())
        (folder / path.name).write_bytes(content)
    engine = await start_warm(tiny_gpt_oss, tmp_path)
    told = await ask(engine, asking(3))
    assert told.cached == 0
    assert told.is_like(await cold(tiny_gpt_oss, asking(3)))
    assert files(folder, "*.json") == []


async def test_a_state_of_other_tokens_is_not_taken_for_these(
    start_warm: StartWarm, tiny_gpt_oss: Path, tmp_path: Path
) -> None:
    """Whole, and filed under the wrong name: llama.cpp reuses less than was promised, and it goes."""
    folder = await save_prefix(tiny_gpt_oss, tmp_path, prefix=[START, *range(4_000, 4_599)])
    right = await save_prefix(tiny_gpt_oss, tmp_path / "right")
    (wrong_state,), (wrong_entry,) = files(folder, "*.kv"), files(folder, "*.json")
    (entry,) = files(right, "*.json")
    name = entry.stem
    (folder / f"{name}.json").write_bytes(wrong_entry.read_bytes().replace(wrong_entry.stem.encode(), name.encode()))
    (folder / f"{name}.kv").write_bytes(wrong_state.read_bytes())
    engine = await start_warm(tiny_gpt_oss, tmp_path)
    told = await ask(engine, asking(3))
    assert told.cached < 8
    assert told.is_like(await cold(tiny_gpt_oss, asking(3)))
    await until(lambda: not (folder / f"{name}.json").exists())


async def test_other_weights_or_settings_have_their_own(
    start_warm: StartWarm, tiny_gpt_oss: Path, tmp_path: Path
) -> None:
    await save_prefix(tiny_gpt_oss, tmp_path)
    engine = await start_warm(tiny_gpt_oss, tmp_path, kv_type="q8_0")
    assert (await ask(engine, asking(3))).cached == 0
    os.utime(tiny_gpt_oss)  # the file was replaced, for all that is known
    again = await start_warm(tiny_gpt_oss, tmp_path)
    assert (await ask(again, asking(3))).cached == 0


# --- a folder that cannot be used as one would like ---


async def test_without_a_folder_all_goes_on(start_warm: StartWarm, tiny_gpt_oss: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    engine = await start_warm(tiny_gpt_oss, tmp_path / "file" / "prefixes")
    told = [await ask(engine, asking(question)) for question in (1, 2, 3)]
    assert told[2].is_like(await cold(tiny_gpt_oss, asking(3)))


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, which not even root can write to")
async def test_a_read_only_place(start_warm: StartWarm, tiny_gpt_oss: Path) -> None:
    engine = await start_warm(tiny_gpt_oss, Path("/proc/tundish-prefixes"))
    told = [await ask(engine, asking(question)) for question in (1, 2, 3)]
    assert told[2].is_like(await cold(tiny_gpt_oss, asking(3)))


async def test_a_folder_that_vanishes(start_warm: StartWarm, tiny_gpt_oss: Path, tmp_path: Path) -> None:
    folder = await save_prefix(tiny_gpt_oss, tmp_path)
    engine = await start_warm(tiny_gpt_oss, tmp_path)
    for path in files(folder):
        path.unlink()
    folder.rmdir()
    for question in (3, 4, 5):
        assert (await ask(engine, asking(question))).is_like(await cold(tiny_gpt_oss, asking(question)))


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are Linux's")
async def test_a_full_disk_evicts_and_then_ends_saving(
    start_warm: StartWarm, tiny_gpt_oss: Path, tmp_path: Path
) -> None:
    import resource

    engine = await start_warm(tiny_gpt_oss, tmp_path)
    for question in (1, 2):
        await ask(engine, asking(question))
    await until(lambda: len(files(tmp_path, "*/*.json")) == 1)
    resource.prlimit(engine.pid, resource.RLIMIT_FSIZE, (100_000, 100_000))
    for start in (5_000, 6_000, 7_000):
        other = [START, *range(start, start + 600)]
        told = [await ask(engine, asking(question, prefix=other)) for question in (1, 2, 3)]
        assert told[2].is_like(await cold(tiny_gpt_oss, asking(3, prefix=other)))
    await until(lambda: files(tmp_path, "*/*") == [])  # the one that was there made room, and nothing half is left
    assert engine.status().health is Health.READY
    assert engine.status().restarts == 0


async def test_two_endpoints_share_a_folder(start_warm: StartWarm, tiny_gpt_oss: Path, tmp_path: Path) -> None:
    one, two = [await start_warm(tiny_gpt_oss, tmp_path) for _ in range(2)]
    others = [[START, *range(start, start + 400)] for start in (5_000, 6_000)]
    for question in (1, 2, 3):
        await asyncio.gather(
            *(ask(engine, asking(question, prefix=prefix)) for engine in (one, two) for prefix in (PREFIX, *others))
        )
    await one.stop()
    await two.stop()
    assert [path for path in files(tmp_path, "*/*") if path.suffix not in (".kv", ".json")] == []
    three = await start_warm(tiny_gpt_oss, tmp_path)
    assert (await ask(three, asking(7))).cached == len(PREFIX)


async def test_while_another_endpoint_writes_nothing_is_saved_and_all_is_answered(
    start_warm: StartWarm, tiny_gpt_oss: Path, tmp_path: Path
) -> None:
    engine = await start_warm(tiny_gpt_oss, tmp_path)
    with filelock.FileLock(tmp_path / ".lock"):
        told = [await ask(engine, asking(question)) for question in (1, 2, 3)]
        await engine.stop()
    assert told[2].is_like(await cold(tiny_gpt_oss, asking(3)))
    assert files(tmp_path, "*/*") == []


SAVER = """
import asyncio, sys
from pathlib import Path
from tests.integration.engines.test_prefixes import START, asking, ask, engine_of
async def main():
    engine = engine_of(Path(sys.argv[1]), Path(sys.argv[2]))
    await engine.start()
    print("ready", flush=True)
    for start in range(10_000, 60_000, 400):
        for question in (1, 2):
            await ask(engine, asking(question, prefix=[START, *range(start, start + 400)], count=1))
asyncio.run(main())
"""


async def test_an_endpoint_killed_while_it_saves(start_warm: StartWarm, tiny_gpt_oss: Path, tmp_path: Path) -> None:
    for delay_s in (0.15, 0.33, 0.52):
        process = subprocess.Popen(  # noqa: ASYNC220 - it is waited for
            [sys.executable, "-c", SAVER, str(tiny_gpt_oss), str(tmp_path)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[3],
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        await asyncio.sleep(delay_s)  # a moment like any other
        process.kill()
        process.wait()
        process.stdout.close()
    options = options_for(tiny_gpt_oss, context_length=2048)
    store = PrefixStore(tmp_path, fingerprint(options), limit_bytes=LIMIT)
    await until(lambda: not (store.open() or [path for path in files(store.folder, "*.kv") if _is_half(path)]))
    assert all(store.usable(entry) for entry in store.entries)
    start = next(start for start in range(10_000, 60_000, 400) if _is_saved(store, start))
    engine = await start_warm(tiny_gpt_oss, tmp_path)
    prefix = [START, *range(start, start + 400)]
    told = await ask(engine, asking(3, prefix=prefix))
    assert told.cached == len(prefix)
    assert told.is_like(await cold(tiny_gpt_oss, asking(3, prefix=prefix)))


def _is_half(path: Path) -> bool:
    return not path.with_suffix(".json").exists()


def _is_saved(store: PrefixStore, start: int) -> bool:
    return store.longest(packed([START, *range(start, start + 400)])) is not None


async def test_loading_says_how_far_it_is(slow_gpt_oss: Path) -> None:
    engine = LlamaCppEngine(options_for(slow_gpt_oss, resident_bytes=200 * 2**20))
    starting = asyncio.ensure_future(engine.start())
    seen: list[float] = []
    began_s = time.monotonic()
    while not starting.done() and time.monotonic() - began_s < 60:
        progress = engine.status().load_progress
        if progress is not None:
            seen.append(progress)
        await asyncio.sleep(0.01)
    await starting
    try:
        assert seen == sorted(seen)
        assert 0.0 < seen[-1] < 1.0
        assert engine.status().load_progress is None  # it is loaded
    finally:
        await engine.stop()
