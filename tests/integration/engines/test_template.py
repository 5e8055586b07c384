"""A model with a chat template of its own, which says what it was made to say (tests/conftest.py)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tundish.core.errors import ContextLengthExceeded, InvalidRequest, UnsupportedSchema
from tundish.core.events import (
    ChoiceFinished,
    Finished,
    FinishReason,
    GenerationEvent,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
)
from tundish.core.json_value import JsonObject
from tundish.core.request import (
    AssistantMessage,
    CompletionRequest,
    DeveloperMessage,
    FunctionTool,
    JsonObjectFormat,
    JsonSchemaFormat,
    NamedTool,
    Request,
    Sampling,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolMode,
    UserMessage,
)
from tundish.engines.llama_cpp.engine import LlamaCppEngine
from tundish.engines.llama_cpp.template import TemplateBackend

from .conftest import options_for, token_of, until

WEATHER = FunctionTool(
    name="get_weather",
    description="The weather in a city.",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
CLOCK = FunctionTool(name="get_time")
FLAG: JsonObject = {
    "type": "object",
    "properties": {"flag": {"type": "boolean"}},
    "required": ["flag"],
    "additionalProperties": False,
}


@pytest.fixture
async def backend(chat_model: Path) -> AsyncIterator[TemplateBackend]:
    backend = TemplateBackend(LlamaCppEngine(options_for(chat_model, chat_template=True, context_length=2048)))
    await backend.start()
    yield backend
    await backend.stop()


def request(text: str = "Hello!", **more: object) -> Request:
    return Request(**{"model": "m", "messages": (UserMessage(text=text),), **more})


async def answer(backend: TemplateBackend, asked: Request) -> list[GenerationEvent]:
    return [event async for event in backend.generate(asked)]


def text_of(events: list[GenerationEvent], choice: int = 0) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta) and event.choice == choice)


def reasons_of(events: list[GenerationEvent]) -> list[FinishReason]:
    return [event.reason for event in events if isinstance(event, ChoiceFinished)]


async def test_an_answer(backend: TemplateBackend) -> None:
    events = await answer(backend, request())
    assert text_of(events) == "Hello world! 🙂"
    assert reasons_of(events) == [FinishReason.STOP]
    usage = events[-1].usage
    assert usage.completion_tokens == 5  # four pieces and the end
    assert usage.prompt_tokens > 10
    again = (await answer(backend, request()))[-1].usage
    assert again.cached_tokens == usage.prompt_tokens - 1


async def test_reasoning_comes_apart_from_the_answer(backend: TemplateBackend) -> None:
    events = await answer(backend, request("Think!"))
    reasoning = "".join(event.text for event in events if isinstance(event, ReasoningDelta))
    assert reasoning.strip() == "It is a greeting."
    assert text_of(events) == "Good day."
    assert 0 < events[-1].usage.reasoning_tokens < events[-1].usage.completion_tokens


@pytest.mark.parametrize("choice", [ToolMode.AUTO, ToolMode.REQUIRED, NamedTool(name="get_weather")])
async def test_a_tool_call(backend: TemplateBackend, choice: ToolMode | NamedTool) -> None:
    events = await answer(backend, request(tools=(WEATHER,), tool_choice=choice))
    (started,) = [event for event in events if isinstance(event, ToolCallStarted)]
    assert started.name == "get_weather"
    assert started.call_id.startswith("call_")
    deltas = [event.arguments for event in events if isinstance(event, ToolCallDelta)]
    assert len(deltas) > 1  # as they are drawn
    assert json.loads("".join(deltas)) == {"city": "Paris"}
    assert reasons_of(events) == [FinishReason.TOOL_CALLS]


async def test_a_whole_conversation_is_rendered(backend: TemplateBackend) -> None:
    messages = (
        SystemMessage(text="Be brief."),
        DeveloperMessage(text="Be kind."),
        UserMessage(text="Weather?", name="Ada"),
        AssistantMessage(
            text="Let me see.",
            reasoning="A tool.",
            tool_calls=(ToolCall(call_id="1", name="get_weather", arguments='{"city": "Oslo"}'),),
        ),
        ToolMessage(call_id="1", text="rain"),
        AssistantMessage(tool_calls=(ToolCall(call_id="2", name="get_weather", arguments='{"city": '),)),
        ToolMessage(call_id="2", text="these arguments were cut"),
        UserMessage(text="And now?"),
    )
    assert text_of(await answer(backend, request(messages=messages))) == "Hello world! 🙂"


@pytest.mark.parametrize("asked", [JsonObjectFormat(), JsonSchemaFormat(name="flag", schema=FLAG)])
async def test_a_format_is_enforced(backend: TemplateBackend, asked: JsonObjectFormat | JsonSchemaFormat) -> None:
    limit = Sampling(seed=4, max_tokens=300, logit_bias={token_of(ord(" ")): -100.0, token_of(ord("}")): 3.0})
    events = await answer(backend, request(response_format=asked, sampling=limit))
    assert text_of(events).lstrip().startswith("{")
    if isinstance(asked, JsonSchemaFormat):
        assert isinstance(json.loads(text_of(events))["flag"], bool)


@pytest.mark.parametrize(
    ("part", "keyword"),
    [
        ({"type": "integer", "multipleOf": 7}, "multipleOf"),
        ({"type": "number", "minimum": 0.5}, "minimum"),
        ({"type": "string", "format": "email"}, "format"),
        ({"type": "string", "pattern": "abc"}, "pattern"),
        ({"type": "array", "prefixItems": [{"type": "null"}]}, "prefixItems"),
        ({"type": "object", "minProperties": 1}, "minProperties"),
        ({"allOf": [{"type": "integer", "minimum": 5}]}, "allOf"),
        ({"anyOf": [{"type": "integer"}], "enum": [1]}, "anyOf"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
    ],
)
async def test_what_would_be_ignored_is_refused(backend: TemplateBackend, part: JsonObject, keyword: str) -> None:
    schema: JsonObject = {"type": "object", "properties": {"a": {"type": "array", "items": part}}}
    with pytest.raises(UnsupportedSchema, match=f"'{keyword}' at .*properties.a.items"):
        await answer(backend, request(response_format=JsonSchemaFormat(name="x", schema=schema)))
    with pytest.raises(UnsupportedSchema, match=keyword):
        await answer(backend, request(tools=(FunctionTool(name="f", parameters=schema, strict=True),)))


async def test_stop_strings_end_the_visible_text_only(backend: TemplateBackend) -> None:
    events = await answer(backend, request("Think!", n=3, sampling=Sampling(stop=("greeting", "d da"))))
    for choice in range(3):
        assert text_of(events, choice) == "Goo"
    assert reasons_of(events) == [FinishReason.STOP] * 3
    assert events[-1].usage.prompt_tokens > 0


async def test_probabilities_of_the_answer_only(backend: TemplateBackend) -> None:
    events = await answer(backend, request("Think!", sampling=Sampling(top_logprobs=2)))
    told = [entry for event in events if isinstance(event, TextDelta) for entry in event.logprobs]
    assert [entry.token for entry in told] == ["\n\nGood", " day."]
    assert all(entry.token_bytes == entry.token.encode() and len(entry.top) == 2 for entry in told)


async def test_what_a_template_refuses_is_the_callers_to_change(backend: TemplateBackend) -> None:
    with pytest.raises(InvalidRequest, match="This conversation is forbidden"):
        await answer(backend, request("forbidden"))
    with pytest.raises(InvalidRequest, match="no tool 'other'"):
        await answer(backend, request(tools=(WEATHER, CLOCK), tool_choice=NamedTool(name="other")))
    await until(lambda: not backend.status().slots_busy)


async def test_a_completion(backend: TemplateBackend) -> None:
    asked = CompletionRequest(model="m", prompt="Say: <|go|>", echo=True, sampling=Sampling(stop=("world",)))
    events = [event async for event in backend.complete(asked)]
    assert text_of(events) == "Say: <|go|>Hello "
    assert isinstance(events[-1], Finished)


async def test_a_completion_of_token_ids(backend: TemplateBackend) -> None:
    ids = (token_of(ord("o")), token_of(ord("k")))
    asked = CompletionRequest(model="m", prompt=ids, echo=True, sampling=Sampling(max_tokens=1))
    events = [event async for event in backend.complete(asked)]
    assert text_of(events).startswith("ok")
    unknown = CompletionRequest(model="m", prompt=(10**6,), sampling=Sampling(max_tokens=1))
    for echo in (True, False):
        with pytest.raises(InvalidRequest):
            _ = [
                event
                async for event in backend.complete(CompletionRequest(model="m", prompt=unknown.prompt, echo=echo))
            ]


@pytest.mark.parametrize("echo", [True, False])
async def test_token_ids_beyond_the_context_never_reach_the_child(backend: TemplateBackend, *, echo: bool) -> None:
    asked = CompletionRequest(model="m", prompt=(10**6,) * 2048, echo=echo)  # ids that it would refuse
    with pytest.raises(ContextLengthExceeded) as caught:
        _ = [event async for event in backend.complete(asked)]
    assert caught.value.prompt_tokens == 2048


async def test_a_stop_string_frees_a_slot_when_the_child_has_left_it(backend: TemplateBackend) -> None:
    async for event in backend.generate(request("Sing!", sampling=Sampling(stop=("la",)))):
        if isinstance(event, Finished):
            assert backend.status().slots_busy == 1  # the child has yet to notice that nobody listens
    await until(lambda: not backend.status().slots_busy)
    assert backend.status().restarts == 0
    assert text_of(await answer(backend, request())) == "Hello world! 🙂"


async def test_a_file_without_a_template_completes_and_does_not_chat(model_without_template: Path) -> None:
    backend = TemplateBackend(LlamaCppEngine(options_for(model_without_template, chat_template=True)))
    await backend.start()
    try:
        assert not backend.capabilities.tools
        with pytest.raises(InvalidRequest, match="no chat template"):
            await answer(backend, request())
        events = [e async for e in backend.complete(CompletionRequest(model="m", prompt="<|go|>"))]
        assert text_of(events) == "Hello world"
    finally:
        await backend.stop()


async def test_endless_answers_can_be_left(backend: TemplateBackend) -> None:
    tasks = [asyncio.ensure_future(answer(backend, request("Sing!"))) for _ in range(2)]
    await until(lambda: backend.status().slots_busy == 2)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await until(lambda: not backend.status().slots_busy)
    assert text_of(await answer(backend, request())) == "Hello world! 🙂"
