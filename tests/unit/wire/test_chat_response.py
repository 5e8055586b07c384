"""What the client library, and people who read the bytes, get to see."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tundish.core.events import (
    Alternative,
    ChoiceFinished,
    Finished,
    FinishReason,
    GenerationEvent,
    ReasoningDelta,
    TextDelta,
    TextPhase,
    TokenLogprob,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from tundish.wire.chat_completions import ChatCompletionBuilder, ChatCompletionStream

USAGE = Usage(prompt_tokens=10, completion_tokens=5, cached_tokens=4, reasoning_tokens=3)
LOGPROBS = (
    TokenLogprob(
        token="4",
        token_bytes=b"4",
        logprob=-0.5,
        top=(Alternative(token="5", token_bytes=b"5", logprob=float("-inf")),),
    ),
)
EVENTS: list[GenerationEvent] = [
    ReasoningDelta("add"),
    TextDelta("Let me see. ", phase=TextPhase.PREAMBLE),
    TextDelta('4 \u2028"é"\n', logprobs=LOGPROBS),
    ToolCallStarted(0, "call_1", "f"),
    ToolCallDelta(0, '{"a":'),
    ToolCallDelta(0, "1}"),
    ChoiceFinished(FinishReason.TOOL_CALLS, recovered=("something",)),
    Finished(USAGE),
]


def chunks(events: list[GenerationEvent], *, include_usage: bool) -> list[dict[str, Any]]:
    stream = ChatCompletionStream(completion_id='c"1', created_s=1700000000, model='m"', include_usage=include_usage)
    data = b"".join(stream.encode(event) for event in events)
    lines = data.decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]


@pytest.mark.parametrize("include_usage", [True, False])
def test_chunks(include_usage: bool) -> None:
    got = chunks(EVENTS, include_usage=include_usage)
    for chunk in got:
        ChatCompletionChunk.model_validate(chunk, strict=True)
        assert (chunk["id"], chunk["object"], chunk["created"]) == ('c"1', "chat.completion.chunk", 1700000000)
        assert (chunk["model"], chunk["system_fingerprint"]) == ('m"', None)
        assert ("usage" in chunk) is include_usage
    if include_usage:
        last = got.pop()
        assert last["choices"] == []
        assert last["usage"] == {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 15,
            "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 3},
        }
        assert all(chunk["usage"] is None for chunk in got)
    choices = [chunk["choices"][0] for chunk in got]
    assert [choice["delta"] for choice in choices] == [
        {"role": "assistant", "content": ""},
        {"reasoning": "add", "reasoning_content": "add"},
        {"content": "Let me see. "},
        {"content": '4 \u2028"é"\n'},
        {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
        {},
    ]
    assert [choice["finish_reason"] for choice in choices] == [None] * 7 + ["tool_calls"]
    assert choices[3]["logprobs"]["content"][0]["top_logprobs"] == [{"token": "5", "bytes": [53], "logprob": -9999.0}]
    assert all(choice["logprobs"] is None for choice in choices[:3])


def test_choices_keep_apart() -> None:
    got = chunks(
        [
            TextDelta("a", 0),
            TextDelta("b", 1),
            ChoiceFinished(FinishReason.STOP, 1),
            TextDelta("c", 0),
            ChoiceFinished(FinishReason.LENGTH, 0),
            Finished(USAGE),
        ],
        include_usage=False,
    )
    seen = [(chunk["choices"][0]["index"], chunk["choices"][0]["delta"]) for chunk in got]
    role = {"role": "assistant", "content": ""}
    assert seen == [
        (0, role),
        (0, {"content": "a"}),
        (1, role),
        (1, {"content": "b"}),
        (1, {}),
        (0, {"content": "c"}),
        (0, {}),
    ]


def whole(events: list[GenerationEvent]) -> dict[str, Any]:
    builder = ChatCompletionBuilder(completion_id="c1", created_s=1, model="m")
    for event in events:
        builder.add(event)
    got = json.loads(builder.encode())
    ChatCompletion.model_validate(got, strict=True)
    return got


def test_a_whole_answer() -> None:
    got = whole(EVENTS)
    (choice,) = got["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"] == {
        "role": "assistant",
        "content": 'Let me see. 4 \u2028"é"\n',
        "refusal": None,
        "reasoning": "add",
        "reasoning_content": "add",
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
    }
    assert got["usage"]["total_tokens"] == 15
    assert got["usage"]["completion_tokens_details"]["reasoning_tokens"] == 3
    assert got["system_fingerprint"] is None
    assert "service_tier" not in got


def test_an_answer_cut_while_it_reasons() -> None:
    (choice,) = whole([ReasoningDelta("hm"), ChoiceFinished(FinishReason.LENGTH), Finished(USAGE)])["choices"]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["content"] is None
    assert choice["message"]["reasoning"] == "hm"
    assert "tool_calls" not in choice["message"]


def test_choices_are_ordered_by_index() -> None:
    events = [
        TextDelta("b", 1),
        TextDelta("a", 0),
        ChoiceFinished(FinishReason.STOP, 1),
        ChoiceFinished(FinishReason.STOP),
    ]
    got = whole([*events, Finished(USAGE)])
    assert [choice["message"]["content"] for choice in got["choices"]] == ["a", "b"]
