"""What gpt-oss as a backend adds to harmony: choices, limits, usage, and when it stops listening to the engine."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tundish.core.clock import FixedClock
from tundish.core.errors import BackendDied, ContextLengthExceeded, InvalidRequest
from tundish.core.events import ChoiceFinished, Finished, FinishReason, GenerationEvent, ReasoningDelta, TextDelta
from tundish.core.request import (
    AssistantMessage,
    CompletionRequest,
    FunctionTool,
    Request,
    Sampling,
    ToolCall,
    UserMessage,
)
from tundish.engines.gpt_oss import GptOssBackend
from tundish.engines.scripted import Pause, ScriptedEngine, TokenStep
from tundish.harmony.tokens import CALL, CHANNEL, END, END_OF_TEXT, MESSAGE, RETURN, START, STOP_TOKENS
from tundish.harmony.vocabulary import O200K_HARMONY

CLOCK = FixedClock(datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC))
HANG = Pause(seconds=float("inf"))


def text(said: str) -> list[int]:
    return O200K_HARMONY().encode(said)


def turn(reasoning: str, answer: str) -> list[TokenStep]:
    analysis = [CHANNEL, *text("analysis"), MESSAGE, *text(reasoning), END, START, *text("assistant")]
    return [*analysis, CHANNEL, *text("final"), MESSAGE, *text(answer), RETURN]


async def backend_of(*scripts: list[TokenStep], **more: int) -> tuple[GptOssBackend, ScriptedEngine]:
    engine = ScriptedEngine(*scripts, **more)
    backend = GptOssBackend(engine, clock=CLOCK)
    await backend.start()
    return backend, engine


def request(**more: object) -> Request:
    return Request(**{"model": "m", "messages": (UserMessage(text="Hello!"),), **more})


async def all_of(events: AsyncIterator[GenerationEvent]) -> list[GenerationEvent]:
    return [event async for event in events]


def shown(events: list[GenerationEvent], choice: int = 0) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta) and event.choice == choice)


async def test_a_turn_and_what_it_took() -> None:
    backend, engine = await backend_of(turn("Be nice.", "Hello you!"), cached_tokens=7)
    events = await all_of(backend.generate(request()))
    assert "".join(event.text for event in events if isinstance(event, ReasoningDelta)) == "Be nice."
    assert shown(events) == "Hello you!"
    assert isinstance(events[-1], Finished)
    usage = events[-1].usage
    assert usage.prompt_tokens == len(engine.requests[0].prompt)
    assert usage.completion_tokens == len(turn("Be nice.", "Hello you!"))
    assert usage.reasoning_tokens == len(text("Be nice."))
    assert usage.cached_tokens == 7  # told after the last token, and waited for
    assert engine.requests[0].stop_tokens == STOP_TOKENS == {RETURN, CALL, END_OF_TEXT}


async def test_a_stop_string_ends_the_generation_and_not_only_the_text() -> None:
    backend, engine = await backend_of([CHANNEL, *text("final"), MESSAGE, *text("one STOP two"), HANG])
    events = await all_of(backend.generate(request(sampling=Sampling(stop=("STOP",)))))
    assert shown(events) == "one "
    assert [event.reason for event in events if isinstance(event, ChoiceFinished)] == [FinishReason.STOP]
    assert engine.active == 0
    assert engine.requests[0].sampling.stop == ()


async def test_choices_are_told_apart() -> None:
    backend, _ = await backend_of(turn("Hm.", "Yes."))
    events = await all_of(backend.generate(request(n=3)))
    assert [shown(events, choice) for choice in range(3)] == ["Yes."] * 3
    assert events[-1].usage.completion_tokens == 3 * len(turn("Hm.", "Yes."))


async def test_the_rest_of_the_context_is_the_limit_when_none_is_given() -> None:
    backend, engine = await backend_of(turn("Hm.", "Yes."), context_length=1000)
    await all_of(backend.generate(request()))
    await all_of(backend.generate(request(sampling=Sampling(max_tokens=5))))
    await all_of(backend.generate(request(sampling=Sampling(max_tokens=10_000))))
    limits = [asked.sampling.max_tokens for asked in engine.requests]
    room = 1000 - len(engine.requests[0].prompt)
    assert limits == [room, 5, room]


async def test_a_prompt_without_room_for_an_answer_is_refused() -> None:
    backend, engine = await backend_of(turn("Hm.", "Yes."), context_length=50)
    with pytest.raises(ContextLengthExceeded) as caught:
        await all_of(backend.generate(request(messages=(UserMessage(text="word " * 100),))))
    assert caught.value.prompt_tokens > caught.value.context_length == 50
    assert engine.requests == []


async def test_what_the_engine_raises_comes_through() -> None:
    backend, _ = await backend_of([CHANNEL, *text("final"), MESSAGE, *text("Hel"), BackendDied("gone")])
    events = backend.generate(request())
    assert await anext(events) == TextDelta("Hel")
    with pytest.raises(BackendDied):
        await anext(events)


async def test_raw_text_has_no_channels_and_ends_quietly() -> None:
    backend, engine = await backend_of([*text("and they lived"), END_OF_TEXT])
    asked = CompletionRequest(model="m", prompt="Once", echo=True)
    events = await all_of(backend.complete(asked))
    assert shown(events) == "Onceand they lived"
    assert engine.requests[0].prompt == text("Once")


async def test_raw_text_from_nothing_begins_a_text() -> None:
    backend, engine = await backend_of([*text("Once"), END_OF_TEXT])
    await all_of(backend.complete(CompletionRequest(model="m", prompt="")))
    assert engine.requests[0].prompt == [O200K_HARMONY().special("<|startoftext|>")]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (CompletionRequest(model="m", prompt="a", suffix="b"), "suffix"),
        (CompletionRequest(model="m", prompt=(1, 201_088)), "prompt"),
        (CompletionRequest(model="m", prompt=(-1,)), "prompt"),
    ],
)
async def test_what_cannot_be_completed_is_refused(asked: CompletionRequest, field: str) -> None:
    backend, _ = await backend_of([END_OF_TEXT])
    with pytest.raises(InvalidRequest) as caught:
        await all_of(backend.complete(asked))
    assert caught.value.param == field


async def test_a_character_of_several_tokens_is_shown_whole() -> None:
    tokens = text("🜁")
    assert len(tokens) > 1
    backend, _ = await backend_of([*tokens, END_OF_TEXT])
    events = await all_of(backend.complete(CompletionRequest(model="m", prompt="a")))
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["🜁"]


async def test_token_ids_beyond_the_context_are_refused_before_they_are_looked_at() -> None:
    backend, engine = await backend_of([END_OF_TEXT], context_length=50)
    with pytest.raises(ContextLengthExceeded) as caught:
        await all_of(backend.complete(CompletionRequest(model="m", prompt=(-1,) * 50, echo=True)))
    assert caught.value.prompt_tokens == 50
    assert engine.requests == []


@pytest.mark.parametrize("ids", [3, 5000])  # the second in a thread
async def test_token_ids_are_echoed_as_text(ids: int) -> None:
    backend, engine = await backend_of([*text(" end"), END_OF_TEXT], context_length=10_000)
    (word,) = text("word")
    events = await all_of(backend.complete(CompletionRequest(model="m", prompt=(word,) * ids, echo=True)))
    assert shown(events) == "word" * ids + " end"
    assert engine.requests[0].prompt == [word] * ids


MUCH = "word " * 15_000


class CountingExecutor(ThreadPoolExecutor):
    """Threads, and how often one was asked for."""

    asked = 0

    def submit(self, *args: Any, **more: Any) -> Future[Any]:
        self.asked += 1
        return super().submit(*args, **more)


@pytest.mark.parametrize(
    ("asked", "elsewhere"),
    [
        (request(), False),
        (request(tools=(FunctionTool(name="f", parameters={"type": "object", "properties": {}}),)), False),
        (request(messages=(UserMessage(text=MUCH),)), True),
        (request(messages=(AssistantMessage(reasoning=MUCH), UserMessage(text="?"))), True),
        (
            request(messages=(AssistantMessage(tool_calls=(ToolCall(call_id="1", name="f", arguments=MUCH),)),)),
            True,
        ),
        (request(tools=(FunctionTool(name="f", description=MUCH),)), True),
        (request(tools=(FunctionTool(name="f", parameters={"type": "object", "description": MUCH}),)), True),
        (
            request(tools=(FunctionTool(name="f", parameters={"enum": [str(number) for number in range(9000)]}),)),
            True,
        ),
    ],
)
async def test_large_requests_are_rendered_in_a_thread(asked: Request, *, elsewhere: bool) -> None:
    backend, _ = await backend_of(turn("Hm.", "Yes."), context_length=1_000_000)
    threads = CountingExecutor()
    asyncio.get_running_loop().set_default_executor(threads)
    assert shown(await all_of(backend.generate(asked))) == "Yes."
    assert (threads.asked > 0) == elsewhere
