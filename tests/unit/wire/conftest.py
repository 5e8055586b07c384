"""Generated requests and answers: whatever the core can hold and a wire format can carry."""

from __future__ import annotations

import math
import string

from hypothesis import strategies as st

from tundish.core.events import (
    Alternative,
    ChoiceFinished,
    Finished,
    FinishReason,
    GenerationEvent,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from tundish.core.request import (
    AssistantMessage,
    DeveloperMessage,
    FunctionTool,
    JsonObjectFormat,
    JsonSchemaFormat,
    Message,
    NamedTool,
    ReasoningEffort,
    Request,
    Sampling,
    SystemMessage,
    TextFormat,
    ToolCall,
    ToolMessage,
    ToolMode,
    UserMessage,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
some_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
names = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=64)
scalars = (
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | texts
)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)
json_objects = st.dictionaries(texts, json_values, max_size=4)


def _floats(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False)


samplings = st.builds(
    Sampling,
    temperature=st.none() | _floats(0, 2),
    top_p=st.none() | _floats(0, 1),
    top_k=st.none() | st.integers(0, 1000),
    min_p=st.none() | _floats(0, 1),
    frequency_penalty=_floats(-2, 2),
    presence_penalty=_floats(-2, 2),
    logit_bias=st.dictionaries(st.integers(0, 201_087), _floats(-100, 100), max_size=3),
    seed=st.none() | st.integers(-(2**63), 2**63 - 1),
    max_tokens=st.none() | st.integers(1, 10**9),
    stop=st.lists(some_text, max_size=4).map(tuple),
    top_logprobs=st.none() | st.integers(0, 20),
)
tools = st.lists(
    st.builds(
        FunctionTool,
        name=names,
        description=st.none() | texts,
        parameters=st.none() | json_objects,
        strict=st.booleans(),
    ),
    max_size=3,
    unique_by=lambda tool: tool.name,
).map(tuple)
formats = (
    st.just(TextFormat())
    | st.just(JsonObjectFormat())
    | st.builds(JsonSchemaFormat, name=names, schema=json_objects, description=st.none() | texts, strict=st.booleans())
)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    messages: list[Message] = []
    calls: list[str] = []
    kinds = st.sampled_from(["system", "developer", "user", "assistant", "tool"])
    for kind in draw(st.lists(kinds, min_size=1, max_size=6)):
        if kind == "system":
            messages.append(SystemMessage(text=draw(texts)))
        elif kind == "developer":
            messages.append(DeveloperMessage(text=draw(texts)))
        elif kind == "user" or (kind == "tool" and not calls):
            messages.append(UserMessage(text=draw(texts), name=draw(st.none() | texts)))
        elif kind == "tool":
            messages.append(ToolMessage(call_id=draw(st.sampled_from(calls)), text=draw(texts)))
        else:
            made = [
                ToolCall(call_id=f"call_{len(calls) + offset}", name=draw(names), arguments=draw(texts))
                for offset in range(draw(st.integers(0, 2)))
            ]
            calls += [call.call_id for call in made]
            messages.append(
                AssistantMessage(
                    text=draw(st.none() | texts), reasoning=draw(st.none() | texts), tool_calls=tuple(made)
                )
            )
    return tuple(messages)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    offered = draw(tools)
    choices = st.sampled_from([ToolMode.AUTO, ToolMode.NONE])
    if offered:
        choices = st.sampled_from(ToolMode) | st.sampled_from(offered).map(lambda tool: NamedTool(name=tool.name))
    return Request(
        model=draw(some_text),
        messages=draw(conversations()),
        tools=offered,
        tool_choice=draw(choices),
        parallel_tool_calls=draw(st.booleans()),
        response_format=draw(formats),
        reasoning_effort=draw(st.none() | st.sampled_from(ReasoningEffort)),
        sampling=draw(samplings),
        n=draw(st.integers(1, 128)),
        keep_alive_s=draw(st.none() | st.just(math.inf) | _floats(0, 10**6)),
    )


token_logprobs = st.builds(
    TokenLogprob,
    token=texts,
    token_bytes=st.binary(max_size=4),
    logprob=_floats(-9999, 0),
    top=st.lists(
        st.builds(Alternative, token=texts, token_bytes=st.binary(max_size=4), logprob=_floats(-9999, 0)), max_size=2
    ).map(tuple),
)


@st.composite
def _choice(draw: st.DrawFn, choice: int, *, logprobs: bool) -> list[GenerationEvent]:
    events: list[GenerationEvent] = [ReasoningDelta(text, choice) for text in draw(st.lists(some_text, max_size=3))]
    entries = st.lists(token_logprobs, min_size=1, max_size=2).map(tuple) if logprobs else st.just(())
    events += [TextDelta(text, choice, logprobs=draw(entries)) for text in draw(st.lists(some_text, max_size=3))]
    for index in range(draw(st.integers(0, 2))):
        events.append(ToolCallStarted(index, f"call_{choice}_{index}", draw(names), choice))
        events += [ToolCallDelta(index, text, choice) for text in draw(st.lists(some_text, max_size=2))]
    return [*events, ChoiceFinished(draw(st.sampled_from(FinishReason)), choice)]


@st.composite
def answers(draw: st.DrawFn) -> list[GenerationEvent]:
    """The events of a whole answer; choices take turns at random."""
    logprobs = draw(st.booleans())
    choices = [draw(_choice(choice, logprobs=logprobs)) for choice in range(draw(st.integers(1, 3)))]
    events: list[GenerationEvent] = []
    while any(choices):
        speaking = draw(st.sampled_from([choice for choice in choices if choice]))
        events.append(speaking.pop(0))
    counts = st.integers(0, 10**6)
    usage = Usage(
        prompt_tokens=draw(counts),
        completion_tokens=draw(counts),
        cached_tokens=draw(counts),
        reasoning_tokens=draw(counts),
    )
    return [*events, Finished(usage)]
