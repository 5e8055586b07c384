"""A request is understood wholly or refused with the field's name."""

from __future__ import annotations

import json
import math
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import completion_create_params as published

from tundish.core.errors import InvalidRequest
from tundish.core.request import (
    AssistantMessage,
    DeveloperMessage,
    JsonSchemaFormat,
    NamedTool,
    ReasoningEffort,
    Request,
    SystemMessage,
    TextFormat,
    ToolCall,
    ToolMessage,
    ToolMode,
    UserMessage,
)
from tundish.wire.chat_completions import ChatCompletionRequest, decode_request, encode_request
from tundish.wire.chat_completions import request as module

from .conftest import json_values

USER = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
PUBLISHED = set(get_type_hints(published.CompletionCreateParamsNonStreaming, vars(published), vars(published)))


def body(**fields: object) -> bytes:
    return json.dumps({"model": "m", "messages": [USER], **fields}).encode()


def decoded(**fields: object) -> ChatCompletionRequest:
    return decode_request(body(**fields))


def asked(**fields: object) -> Request:
    return decoded(**fields).request


def refused(data: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        decode_request(data)
    assert caught.value.message
    return caught.value


def test_the_least_that_can_be_asked() -> None:
    assert decode_request(body()) == ChatCompletionRequest(
        request=Request(model="m", messages=(UserMessage(text="hi"),)), stream=False, include_usage=False
    )


def test_null_is_absent() -> None:
    nulls = dict.fromkeys(PUBLISHED - {"model", "messages"})
    assert decoded(**nulls) == decoded()


def test_every_published_field_has_a_decision() -> None:
    """A field that a newer client publishes must be read, refused or listed as ignored: never overlooked."""
    assert (set(module._Body.__struct_fields__) | module.IGNORED_FIELDS) - {"top_k", "min_p", "keep_alive"} == PUBLISHED
    assert not set(module._Body.__struct_fields__) & module.IGNORED_FIELDS


@pytest.mark.parametrize("field", sorted(module.IGNORED_FIELDS | {"something_unpublished"}))
@pytest.mark.parametrize("value", [1, "x", {"a": []}])
def test_ignored_fields_change_nothing(field: str, value: object) -> None:
    assert decoded(**{field: value}) == decoded()


@pytest.mark.parametrize(
    "field",
    ["audio", "prediction", "web_search_options", "moderation", "functions", "function_call"],
)
def test_what_cannot_be_done_is_refused_by_name(field: str) -> None:
    error = refused(body(**{field: {"name": "f"}}))
    assert error.param == field
    assert field in error.message
    assert error.code == "unsupported_parameter"


def test_messages_of_every_role() -> None:
    messages = [
        {"role": "system", "content": "s"},
        {"role": "developer", "content": [{"type": "text", "text": "d"}, {"type": "text", "text": "e"}]},
        {"role": "user", "content": "u", "name": "Ada"},
        {"role": "assistant", "content": None, "reasoning": "r", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "18"}], "name": "f"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}], "reasoning_content": "rc"},
    ]
    assert asked(messages=messages).messages == (
        SystemMessage(text="s"),
        DeveloperMessage(text="d\ne"),
        UserMessage(text="u", name="Ada"),
        AssistantMessage(reasoning="r", tool_calls=(ToolCall(call_id="c1", name="f", arguments="{}"),)),
        ToolMessage(call_id="c1", text="18"),
        AssistantMessage(text="no", reasoning="rc"),
    )


def test_an_answer_of_the_client_library_can_be_sent_back() -> None:
    """With its nulls and empty lists, as `message.model_dump()` gives it."""
    dumped = {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "annotations": [],
        "audio": None,
        "function_call": None,
        "tool_calls": [],
        "reasoning": "r",
        "reasoning_content": "r",
    }
    assert asked(messages=[USER, dumped]).messages[1] == AssistantMessage(reasoning="r")


def test_reasoning_wins_over_its_other_name() -> None:
    message = {"role": "assistant", "content": "a", "reasoning": "one", "reasoning_content": "two"}
    assert asked(messages=[USER, message]).messages[1] == AssistantMessage(text="a", reasoning="one")


def test_tools_and_choices() -> None:
    strict = {"type": "function", "function": {"name": "g", "description": "d", "strict": True}}
    request = asked(tools=[TOOL, strict], tool_choice={"type": "function", "function": {"name": "g"}})
    assert [tool.name for tool in request.tools] == ["f", "g"]
    assert request.tools[0].parameters == {"type": "object"}
    assert not request.tools[0].strict
    assert request.tools[1].strict
    assert request.tools[1].parameters is None
    assert request.tool_choice == NamedTool(name="g")
    for mode in ToolMode:
        assert asked(tools=[TOOL], tool_choice=mode.value).tool_choice is mode
    assert not asked(parallel_tool_calls=False).parallel_tool_calls


def test_a_thousand_tools() -> None:
    tools = [{"type": "function", "function": {"name": f"f{index}", "parameters": {}}} for index in range(1000)]
    assert len(asked(tools=tools).tools) == 1000


def test_response_formats() -> None:
    assert asked(response_format={"type": "text"}).response_format == TextFormat()
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}, "strict": True}}
    assert asked(response_format=wanted).response_format == JsonSchemaFormat(
        name="x", schema={"type": "object"}, strict=True
    )
    loose = asked(response_format={"type": "json_schema", "json_schema": {"name": "x"}}).response_format
    assert loose == JsonSchemaFormat(name="x", schema={}, strict=False)


def test_the_smaller_limit_counts() -> None:
    assert asked(max_tokens=5).sampling.max_tokens == 5
    assert asked(max_completion_tokens=7).sampling.max_tokens == 7
    assert asked(max_tokens=5, max_completion_tokens=7).sampling.max_tokens == 5
    assert asked(max_tokens=10**30).sampling.max_tokens == 10**30


def test_sampling() -> None:
    sampling = asked(
        temperature=0,
        top_p=1,
        top_k=-1,
        min_p=0.1,
        stop="x",
        logit_bias={"12": -100, "7": 1.5},
        seed=-5,
        frequency_penalty=-2,
        logprobs=True,
        top_logprobs=20,
    ).sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p) == (0, 1, 0, 0.1)
    assert sampling.logit_bias == {12: -100, 7: 1.5}
    assert sampling.stop == ("x",)
    assert (sampling.seed, sampling.frequency_penalty, sampling.top_logprobs) == (-5, -2, 20)
    assert asked(logprobs=True).sampling.top_logprobs == 0
    assert asked(logprobs=False, top_logprobs=0).sampling.top_logprobs is None


def test_streaming() -> None:
    assert decoded(stream=True, stream_options={"include_usage": True, "include_obfuscation": False}).include_usage
    assert decoded(stream=True).stream
    assert not decoded(stream=True).include_usage


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0),
        (2.5, 2.5),
        ("300", 300),
        ("5m", 300),
        ("1h30m", 5400),
        ("250ms", 0.25),
        (-1, math.inf),
        ("-1", math.inf),
        ("-1m", math.inf),
    ],
)
def test_keep_alive(value: object, seconds: float) -> None:
    assert asked(keep_alive=value).keep_alive_s == seconds


def test_no_effort_is_the_models_own() -> None:
    request = asked()
    assert request.reasoning_effort is None
    assert b"reasoning_effort" not in encode_request(request)


@pytest.mark.parametrize("effort", list(ReasoningEffort))
def test_efforts(effort: ReasoningEffort) -> None:
    assert asked(reasoning_effort=effort.value).reasoning_effort is effort


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


def with_message(**fields: object) -> dict[str, object]:
    return {"messages": [USER, {"role": "assistant", "content": "a", **fields}]}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"model": ""}, "model"),
    ({"model": 5}, "model"),
    ({"messages": []}, "messages"),
    ({"messages": "hi"}, "messages"),
    ({"messages": [USER, "hi"]}, "messages[1]"),
    ({"messages": [{"content": "hi"}]}, "messages[0].role"),
    ({"messages": [{"role": "robot", "content": "hi"}]}, "messages[0].role"),
    ({"messages": [{"role": "function", "name": "f", "content": "1"}]}, "messages[0].role"),
    ({"messages": [USER, USER, {"role": "user"}]}, "messages[2].content"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": ["hi"]}]}, "messages[0].content[0]"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        "messages[0].content[0].type",
    ),
    ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0].type"),
    ({"messages": [{"role": "user", "content": [{"type": "file"}]}]}, "messages[0].content[0].type"),
    (with_message(tool_calls=[{**CALL, "id": ""}]), "messages[1].tool_calls[0].id"),
    (with_message(tool_calls=[{**CALL, "type": "custom"}]), "messages[1].tool_calls[0].type"),
    (with_message(tool_calls=[{"id": "c"}]), "messages[1].tool_calls[0].function"),
    (with_message(tool_calls=[CALL, CALL]), "messages[1].tool_calls"),
    (
        with_message(tool_calls=[{"id": "c", "function": {"name": "f", "arguments": {}}}]),
        "messages[1].tool_calls[0].function.arguments",
    ),
    (
        with_message(tool_calls=[{"id": "c", "function": {"name": "f<|channel|>", "arguments": ""}}]),
        "messages[1].tool_calls[0].function.name",
    ),
    (with_message(function_call={"name": "f", "arguments": ""}), "messages[1].function_call"),
    (with_message(audio={"id": "x"}), "messages[1].audio"),
    ({"messages": [{"role": "tool", "content": "1"}]}, "messages[0].tool_call_id"),
    ({"messages": [{"role": "tool", "content": "1", "tool_call_id": "c1"}]}, "messages[0].tool_call_id"),
    ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools[0].type"),
    ({"tools": [{"type": "function"}]}, "tools[0].function"),
    ({"tools": [TOOL, {"type": "function", "function": {"name": "a b"}}]}, "tools[1].function.name"),
    ({"tools": [{"type": "function", "function": {"name": "x" * 65}}]}, "tools[0].function.name"),
    ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools[0].function.name"),
    ({"tools": [{"type": "function", "function": {"name": "f\n"}}]}, "tools[0].function.name"),
    ({"tools": [TOOL, TOOL]}, "tools[1].function.name"),
    ({"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]}, "tools[0].function.parameters"),
    (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": nested(300)}}]},
        "tools[0].function.parameters",
    ),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tool_choice": "maybe"}, "tool_choice"),
    ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}}, "tool_choice.function.name"),
    ({"tools": [TOOL], "tool_choice": {"type": "function"}}, "tool_choice.function"),
    ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "allowed_tools": {}}}, "tool_choice.type"),
    ({"tools": [TOOL], "tool_choice": {"type": "custom", "custom": {"name": "f"}}}, "tool_choice.type"),
    ({"response_format": {"type": "xml"}}, "response_format.type"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format.json_schema.name"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "a b"}}}, "response_format.json_schema.name"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": nested(300)}}},
        "response_format.json_schema.schema",
    ),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"reasoning_effort": "none"}, "reasoning_effort"),
    ({"reasoning_effort": "minimal"}, "reasoning_effort"),
    ({"temperature": 9}, "temperature"),
    ({"temperature": -0.1}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"top_p": 1.1}, "top_p"),
    ({"min_p": -1}, "min_p"),
    ({"top_k": -2}, "top_k"),
    ({"presence_penalty": 3}, "presence_penalty"),
    ({"frequency_penalty": -3}, "frequency_penalty"),
    ({"n": 0}, "n"),
    ({"n": 129}, "n"),
    ({"n": 1.5}, "n"),
    ({"n": True}, "n"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_completion_tokens": -1}, "max_completion_tokens"),
    ({"seed": 2**63}, "seed"),
    ({"seed": 10**300}, "seed"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    ({"stop": ""}, "stop"),
    ({"stop": [5]}, "stop[0]"),
    ({"logit_bias": {"hello": 1}}, "logit_bias"),
    ({"logit_bias": {"-1": 1}}, "logit_bias"),
    ({"logit_bias": {"1": 101}}, "logit_bias.1"),
    ({"logit_bias": {"1": "x"}}, "logit_bias[...]"),
    ({"top_logprobs": 3}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"logprobs": 5}, "logprobs"),
    ({"stream": "yes"}, "stream"),
    ({"keep_alive": "soon"}, "keep_alive"),
    ({"keep_alive": "inf"}, "keep_alive"),
    ({"keep_alive": "5m "}, "keep_alive"),
    ({"stream_options": True}, "stream_options"),
]


@pytest.mark.parametrize(("fields", "param"), WRONG, ids=[param for _, param in WRONG])
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str) -> None:
    error = refused(body(**fields))
    assert error.param == param
    assert len(error.message) < 500


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"{", "too early"),
        (b"null", "must be an object, not null"),
        (b"[]", "must be an object, not an array"),
        (b"hello", "not valid JSON"),
        (b'{"model": NaN}', "not valid JSON"),
        (b"\xff\xfe{}", "not valid JSON"),
        (b'{"model":"\xff","messages":[]}', "not valid UTF-8"),
        (b'{"model":"\\ud800","messages":[]}', "surrogate"),
        (b'{"model":"\xed\xa0\x80","messages":[]}', "not valid UTF-8"),
        (
            b'{"model":"m","messages":[{"role":"user","content":"x"}],"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
            "deep",
        ),
        (b'{"model":"m","seed":' + b"9" * 5000 + b"}", "'seed'"),
        (b'{"model":"m","temperature":1e999}', "'temperature'"),
    ],
)
def test_what_is_no_json_is_said_to_be_none(data: bytes, says: str) -> None:
    assert says in refused(data).message


FIELDS = sorted(PUBLISHED | {"top_k", "min_p", "keep_alive"})
PART = st.fixed_dictionaries({}, optional=dict.fromkeys(("type", "text", "refusal"), json_values))
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool", "developer", "x"])},
    optional={
        name: json_values | st.lists(PART, max_size=2)
        for name in ("content", "name", "tool_calls", "tool_call_id", "reasoning", "function_call")
    },
)
BODY = st.fixed_dictionaries(
    {"model": st.just("m") | json_values, "messages": json_values | st.lists(MESSAGE, max_size=3)},
    optional={name: json_values for name in FIELDS if name not in ("model", "messages")},
)


@given(BODY | json_values)
def test_any_json_is_a_request_or_an_invalid_one(value: object) -> None:
    try:
        assert decode_request(json.dumps(value).encode()).request.messages
    except InvalidRequest as error:
        assert error.message  # noqa: PT017 - either outcome is right, no other exception is


@given(st.binary(max_size=50))
def test_any_bytes_are_a_request_or_an_invalid_one(data: bytes) -> None:
    refused(data)
