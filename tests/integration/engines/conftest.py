"""Engines with a real child process each."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol

import pytest
from benchmarks.markov_model import byte_letters

from tundish.core.request import Sampling
from tundish.core.tokens import TokenDelta, TokenEvent, TokenRequest
from tundish.engines.llama_cpp.engine import EngineOptions, LlamaCppEngine
from tundish.engines.llama_cpp.options import RestartPolicy

EAGER = RestartPolicy(first_s=0.01, limit_s=0.05)


def options_for(path: Path, **changes: object) -> EngineOptions:
    options = EngineOptions(
        model_path=path,
        context_length=1024,
        slots=4,
        queue_limit=8,
        batch_tokens=128,
        threads=1,
        gpu_layers=0,
        prompt_cache_mib=0,
        load_timeout_s=120.0,
        restart=EAGER,
    )
    return dataclasses.replace(options, **changes)


class StartEngine(Protocol):
    async def __call__(self, path: Path, **changes: object) -> LlamaCppEngine: ...


@pytest.fixture
async def start_engine() -> AsyncIterator[StartEngine]:
    """Starts engines of a model file, with `EngineOptions` changed as named; stops them in the end."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(path: Path, **changes: object) -> LlamaCppEngine:
            engine = LlamaCppEngine(options_for(path, **changes))
            stack.push_async_callback(engine.stop)
            await engine.start()
            return engine

        yield start


def saying(token: int, *, count: int | None = None, prompt: int = 3, **more: object) -> TokenRequest:
    """A request that is answered with `token`, again and again; `prompt` is its length."""
    sampling = Sampling(max_tokens=count, temperature=0.0, logit_bias={token: 100.0})
    return TokenRequest(prompt=list(range(1, 1 + prompt)), sampling=sampling, **more)


async def all_of(engine: LlamaCppEngine, request: TokenRequest) -> list[TokenEvent]:
    return [event async for event in engine.generate(request)]


def tokens_of(events: list[TokenEvent], choice: int = 0) -> list[int]:
    deltas = [event for event in events if isinstance(event, TokenDelta) and event.choice == choice]
    return [token for delta in deltas for token in delta.tokens]


def token_of(byte: int) -> int:
    """The id of a byte in the vocabulary of the `chat_model`: sorted by the letter that stands for it."""
    return sorted(byte_letters()).index(byte_letters()[byte])


def bytes_of(tokens: list[int]) -> bytes:
    """What tokens of the `chat_model` spell, when each is a byte; others are left out."""
    spelt = {token_of(byte): byte for byte in range(256)}
    return bytes(spelt[token] for token in tokens if token in spelt)


async def until(condition: Callable[[], bool], *, seconds: float = 60.0) -> None:
    """Wait for what another process must do first."""
    for _ in range(int(seconds / 0.005)):
        if condition():
            return
        await asyncio.sleep(0.005)
    pytest.fail(f"it did not come to pass within {seconds:g} s")
