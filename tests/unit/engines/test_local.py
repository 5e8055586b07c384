"""A local model whose start fails half-way leaves nothing running."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tundish.catalog.fit.plan import Plan, Wishes
from tundish.catalog.gguf.facts import GgufFacts
from tundish.core.backend import Backend, Health
from tundish.core.clock import FixedClock
from tundish.core.errors import BackendError
from tundish.engines.gpt_oss import GptOssBackend
from tundish.engines.local import LocalModel
from tundish.engines.scripted import ScriptedEngine

CLOCK = FixedClock(datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC))


class HalfStarted(GptOssBackend):
    """Its engine runs, and then something else goes wrong, or takes for ever."""

    def __init__(self, then: Callable[[], Awaitable[object]]) -> None:
        super().__init__(ScriptedEngine(), clock=CLOCK)
        self._then = then
        self.running = asyncio.Event()

    async def start(self) -> None:
        self.running.set()
        await self._then()

    async def stop(self) -> None:
        self.running.clear()


class Model(LocalModel):
    """Runs a backend of ours instead of the file."""

    def __init__(self, path: Path, backend: Backend) -> None:
        super().__init__(name="m", find=lambda: path, wishes=Wishes(), queue_limit=1, load_timeout_s=1.0, clock=CLOCK)
        self._ours = backend

    def _built(self, path: Path, facts: GgufFacts, plan: Plan) -> Backend:
        return self._ours


async def fail() -> None:
    raise BackendError("its properties cannot be read")


async def test_a_failed_start_ends_what_was_started(chat_model: Path) -> None:
    backend = HalfStarted(fail)
    model = Model(chat_model, backend)
    with pytest.raises(BackendError, match="properties"):
        await model.start()
    assert not backend.running.is_set()
    assert model.status().health is Health.FAILED
    assert model.status().detail == "its properties cannot be read"


async def test_a_cancelled_start_ends_what_was_started(chat_model: Path) -> None:
    backend = HalfStarted(asyncio.Event().wait)
    starting = asyncio.ensure_future(Model(chat_model, backend).start())
    await backend.running.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not backend.running.is_set()
