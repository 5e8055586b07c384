"""A request's way through harmony and back: the backend over an engine that draws what it is told to."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import pytest

from tundish.core.clock import FixedClock
from tundish.core.errors import BackendError, InvalidRequest, UnsupportedSchema
from tundish.core.events import (
    ChoiceFinished,
    Finished,
    FinishReason,
    GenerationEvent,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from tundish.core.request import (
    AssistantMessage,
    FunctionTool,
    JsonSchemaFormat,
    NamedTool,
    Request,
    Sampling,
    ToolCall,
    ToolMessage,
    ToolMode,
    UserMessage,
)
from tundish.engines.gpt_oss import GptOssBackend
from tundish.engines.scripted import ScriptedEngine
from tundish.harmony.vocabulary import O200K_HARMONY

from .conftest import Ids, merged

WEATHER = FunctionTool(
    name="get_weather",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    strict=True,
)
ASKED = UserMessage(text="Weather in Bonn?")
CALL = '<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city":"Bonn"}<|call|>'


async def answered(engine: ScriptedEngine, **options: Any) -> list[GenerationEvent]:
    clock = FixedClock(datetime.datetime(2025, 6, 28, tzinfo=datetime.UTC))
    backend = GptOssBackend(engine, clock=clock)
    await backend.start()
    options = {"messages": (ASKED,), **options}
    return merged([event async for event in backend.generate(Request(model="m", **options))])


def without_ids(events: Sequence[GenerationEvent]) -> list[GenerationEvent]:
    return [
        ToolCallStarted(event.index, "…", event.name) if isinstance(event, ToolCallStarted) else event
        for event in events
    ]


async def test_a_call_and_its_result(ids: Ids) -> None:
    engine = ScriptedEngine(
        ids("<|channel|>analysis<|message|>I need the weather.<|end|><|start|>assistant" + CALL),
        ids("<|channel|>final<|message|>Three degrees.<|return|>"),
    )
    first = await answered(engine, tools=(WEATHER,))
    assert without_ids(first[:-1]) == [
        ReasoningDelta("I need the weather."),
        ToolCallStarted(0, "…", "get_weather"),
        ToolCallDelta(0, '{"city":"Bonn"}'),
        ChoiceFinished(FinishReason.TOOL_CALLS),
    ]
    started = first[1]
    assert isinstance(started, ToolCallStarted)
    assert started.call_id.startswith("call_")
    second = await answered(
        engine,
        tools=(WEATHER,),
        messages=(
            ASKED,
            AssistantMessage(
                reasoning="I need the weather.",
                tool_calls=(ToolCall(call_id=started.call_id, name="get_weather", arguments='{"city":"Bonn"}'),),
            ),
            ToolMessage(call_id=started.call_id, text='{"t":3}'),
        ),
    )
    assert second[:-1] == [TextDelta("Three degrees."), ChoiceFinished(FinishReason.STOP)]
    prompt = O200K_HARMONY().decode(engine.requests[1].prompt)
    assert "\nCurrent date: 2025-06-28\n" in prompt
    assert prompt.endswith(
        "<|start|>user<|message|>Weather in Bonn?<|end|>"
        "<|start|>assistant<|channel|>analysis<|message|>I need the weather.<|end|>"
        "<|start|>assistant to=functions.get_weather<|channel|>commentary <|constrain|>json<|message|>"
        '{"city":"Bonn"}<|call|>'
        '<|start|>functions.get_weather to=assistant<|channel|>commentary<|message|>{"t":3}<|end|>'
        "<|start|>assistant"
    )


async def test_the_engine_stops_at_return_and_call_and_not_at_end(ids: Ids) -> None:
    engine = ScriptedEngine(ids("<|channel|>final<|message|>Hi<|return|>"))
    await answered(engine)
    assert engine.requests[0].stop_tokens == {200002, 200012, 199999}


@pytest.mark.parametrize(
    ("options", "bound"),
    [
        ({}, False),
        ({"tools": (WEATHER,)}, True),
        ({"tools": (WEATHER,), "tool_choice": ToolMode.NONE}, False),
        ({"tools": (FunctionTool(name="f"),)}, False),
        ({"tools": (FunctionTool(name="get_weather"),), "tool_choice": ToolMode.REQUIRED}, True),
        ({"tools": (WEATHER,), "tool_choice": NamedTool(name="get_weather")}, True),
    ],
)
async def test_what_is_asked_for_is_bound(ids: Ids, options: dict[str, Any], bound: bool) -> None:
    no_arguments = options.get("tools") == (FunctionTool(name="get_weather"),)
    engine = ScriptedEngine(ids(CALL.replace('{"city":"Bonn"}', "{}") if no_arguments else CALL))
    events = await answered(engine, **options)
    assert (engine.requests[0].grammar is not None) is bound
    assert isinstance(events[-1], Finished)


async def test_without_tools_a_call_is_reasoning_and_never_reaches_the_client(ids: Ids) -> None:
    engine = ScriptedEngine(ids(CALL))
    events = await answered(engine, tools=(WEATHER,), tool_choice=ToolMode.NONE)
    assert events[:-1] == [
        ReasoningDelta('{"city":"Bonn"}'),
        ChoiceFinished(FinishReason.STOP, recovered=("call of an unknown tool",)),
    ]


async def test_an_engine_that_ignores_the_grammar_is_a_typed_error(ids: Ids) -> None:
    engine = ScriptedEngine(ids(CALL.replace('"Bonn"', "7")))
    with pytest.raises(BackendError, match="stopped enforcing"):
        await answered(engine, tools=(WEATHER,))
    assert engine.active == 0


async def test_a_schema_that_cannot_be_enforced_never_reaches_the_engine(ids: Ids) -> None:
    engine = ScriptedEngine(ids(CALL))
    with pytest.raises(UnsupportedSchema):
        await answered(engine, response_format=JsonSchemaFormat(name="x", schema={"not": {}}))
    with pytest.raises(InvalidRequest):
        await answered(engine, messages=(ToolMessage(call_id="1", text="?"),))
    assert engine.requests == []


async def test_a_limit_inside_the_analysis_keeps_the_reasoning(ids: Ids) -> None:
    engine = ScriptedEngine(ids("<|channel|>analysis<|message|>one two three<|end|>"))
    events = await answered(engine, sampling=Sampling(max_tokens=5))
    assert events == [
        ReasoningDelta("one two"),
        ChoiceFinished(FinishReason.LENGTH),
        Finished(Usage(prompt_tokens=71, completion_tokens=5, reasoning_tokens=2)),
    ]


@pytest.mark.parametrize("limit", range(1, 24))
async def test_a_limit_anywhere_leaks_no_marker(ids: Ids, limit: int) -> None:
    turn = ids("<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary<|message|>Look:<|end|>")
    engine = ScriptedEngine([*turn, *ids("<|start|>assistant" + CALL)])
    events = await answered(engine, tools=(WEATHER,), sampling=Sampling(max_tokens=limit))
    said = "".join(getattr(event, "text", "") + getattr(event, "arguments", "") for event in events)
    assert 'Hm.Look:{"city":"Bonn"}'.startswith(said)
    assert isinstance(events[-2], ChoiceFinished)
    assert events[-2].reason is FinishReason.LENGTH


async def test_a_thousand_tools(ids: Ids) -> None:
    tools = tuple(FunctionTool(name=f"tool_{index}", description="x " * 20) for index in range(1_000))
    engine = ScriptedEngine(ids(CALL.replace("get_weather", "tool_999")), context_length=131_072)
    events = await answered(engine, tools=tools)
    assert without_ids(events)[0] == ToolCallStarted(0, "…", "tool_999")
