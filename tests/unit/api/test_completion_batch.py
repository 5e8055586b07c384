"""Several prompts as one answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from tundish.api.completion_batch import complete_all
from tundish.core.errors import BackendDied
from tundish.core.events import ChoiceFinished, Finished, FinishReason, GenerationEvent, TextDelta, Usage
from tundish.core.request import CompletionRequest
from tundish.engines.scripted import EventStep, Pause, ScriptedBackend

USAGE = Usage(prompt_tokens=2, completion_tokens=1)
ANSWER: list[EventStep] = [
    TextDelta("a", 0),
    TextDelta("b", 1),
    ChoiceFinished(FinishReason.STOP, 0),
    ChoiceFinished(FinishReason.STOP, 1),
    Finished(USAGE),
]
REQUESTS = [CompletionRequest(model="m", prompt=str(index), n=2) for index in range(6)]


async def test_choices_are_numbered_through_and_usage_is_the_sum() -> None:
    backend = ScriptedBackend(ANSWER)
    await backend.start()
    events = [event async for event in complete_all(REQUESTS, backend.complete)]
    assert events[-1] == Finished(Usage(prompt_tokens=12, completion_tokens=6))
    texts = {event.choice: event.text for event in events if isinstance(event, TextDelta)}
    assert texts == {choice: "ab"[choice % 2] for choice in range(12)}
    assert sum(isinstance(event, ChoiceFinished) for event in events) == 12
    assert [request.prompt for request in backend.requests] == ["0", "1", "2", "3", "4", "5"]


async def test_few_run_at_once_and_closing_ends_them() -> None:
    backend = ScriptedBackend([TextDelta("a"), Pause(seconds=float("inf"))])
    await backend.start()
    async with aclosing(complete_all(REQUESTS, backend.complete)) as events:
        for _ in range(4):
            await anext(events)
        assert backend.active == 4
        stuck = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        stuck.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stuck
    assert backend.active == 0
    assert len(backend.requests) == 4


async def test_the_first_that_fails_ends_all() -> None:
    backend = ScriptedBackend(
        [TextDelta("a"), Pause(seconds=float("inf"))], [TextDelta("a"), BackendDied("The engine died.")]
    )
    await backend.start()

    async def read() -> list[GenerationEvent]:
        return [event async for event in complete_all(REQUESTS, backend.complete)]

    with pytest.raises(BackendDied):
        await read()
    assert backend.active == 0


async def test_a_generator_that_was_never_begun_is_closed() -> None:
    started = 0

    async def complete(_: CompletionRequest) -> AsyncGenerator[GenerationEvent, None]:
        nonlocal started
        started += 1
        yield Finished(USAGE)

    await complete_all(REQUESTS, complete).aclose()
    assert started == 0
