"""The fakes do what they are told, when they are told; what they share with real backends is in tests/contract."""

from __future__ import annotations

import asyncio

import pytest

from tundish.core.errors import BackendDied
from tundish.core.events import ChoiceFinished, Finished, FinishReason, TextDelta, Usage
from tundish.core.request import CompletionRequest, Request, UserMessage
from tundish.core.tokens import TokenDelta, TokenRequest, TokensFinished, TokenStop
from tundish.engines.scripted import Pause, ScriptedBackend, ScriptedEngine

REQUEST = Request(model="m", messages=(UserMessage(text="Hello!"),))
ENDING = (ChoiceFinished(FinishReason.STOP), Finished(Usage(prompt_tokens=1, completion_tokens=1)))


async def test_each_request_gets_its_script_and_the_last_again_and_again() -> None:
    engine = ScriptedEngine([1], [2, (3, 4)])
    await engine.start()
    answers = [[event async for event in engine.generate(TokenRequest(prompt=(9,)))] for _ in range(3)]
    second = [TokenDelta((2,)), TokenDelta((3, 4)), TokensFinished(TokenStop.END, 1, 0, 3)]
    assert answers == [[TokenDelta((1,)), TokensFinished(TokenStop.END, 1, 0, 1)], second, second]
    assert [asked.prompt for asked in engine.requests] == [(9,), (9,), (9,)]


async def test_an_error_in_a_script_is_raised_where_it_stands() -> None:
    backend = ScriptedBackend([TextDelta("a"), BackendDied("gone")])
    await backend.start()
    events = backend.generate(REQUEST)
    assert await anext(events) == TextDelta("a")
    with pytest.raises(BackendDied):
        await anext(events)
    assert backend.active == 0


async def test_an_endless_pause_ends_with_the_task() -> None:
    backend = ScriptedBackend([Pause(seconds=float("inf")), *ENDING])
    await backend.start()
    task = asyncio.ensure_future(anext(backend.generate(REQUEST)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert backend.active == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert backend.active == 0


async def test_completions_replay_the_same_script() -> None:
    backend = ScriptedBackend([TextDelta("a"), *ENDING])
    await backend.start()
    asked = CompletionRequest(model="m", prompt="p")
    assert [event async for event in backend.complete(asked)] == [TextDelta("a"), *ENDING]
    assert backend.requests == [asked]
