"""The older completions."""

from __future__ import annotations

import json
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion
from openai.types import completion_create_params as published

from tundish.core.errors import InvalidRequest
from tundish.core.events import (
    Alternative,
    ChoiceFinished,
    Finished,
    FinishReason,
    GenerationEvent,
    TextDelta,
    TokenLogprob,
    Usage,
)
from tundish.core.request import CompletionRequest, Sampling
from tundish.wire.completions import CompletionBuilder, CompletionStream, decode_request
from tundish.wire.completions import request as module

from .conftest import json_values

PUBLISHED = set(get_type_hints(published.CompletionCreateParamsNonStreaming, vars(published), vars(published)))
USAGE = Usage(prompt_tokens=1, completion_tokens=2)


def body(**fields: object) -> bytes:
    return json.dumps({"model": "m", "prompt": "Once", **fields}).encode()


def test_the_least_that_can_be_asked() -> None:
    (request,) = decode_request(body()).requests
    assert request == CompletionRequest(model="m", prompt="Once", sampling=Sampling(max_tokens=16))
    assert decode_request(body(**dict.fromkeys(PUBLISHED - {"model", "prompt"}))) == decode_request(body())


def test_every_published_field_has_a_decision() -> None:
    assert (set(module._Body.__struct_fields__) | module.IGNORED_FIELDS) - {"top_k", "min_p", "keep_alive"} == PUBLISHED


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        (None, [""]),
        ("a", ["a"]),
        (["a", "b"], ["a", "b"]),
        ([1, 2], [(1, 2)]),
        ([[1, 2], [3]], [(1, 2), (3,)]),
        ([[]], [()]),
    ],
)
def test_prompts(prompt: object, prompts: list[object]) -> None:
    decoded = decode_request(body(prompt=prompt, n=2, echo=True, suffix="x", stream=True))
    assert [request.prompt for request in decoded.requests] == prompts
    assert all((request.n, request.echo, request.suffix) == (2, True, "x") for request in decoded.requests)
    assert decoded.stream


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ""}, "model"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": [[1], "a"]}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": [10**20]}, "prompt"),
        ({"prompt": [1.5]}, "prompt[0]"),
        ({"prompt": ["a"] * 65, "n": 2}, "prompt"),
        ({"best_of": 2}, "best_of"),
        ({"echo": True, "logprobs": 1}, "echo"),
        ({"logprobs": 21}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_request(body(**fields))
    assert caught.value.param == param


@given(
    st.fixed_dictionaries({"model": st.just("m")}, optional=dict.fromkeys(sorted(PUBLISHED - {"model"}), json_values))
)
def test_any_json_is_a_request_or_an_invalid_one(value: object) -> None:
    try:
        assert decode_request(json.dumps(value).encode()).requests
    except InvalidRequest as error:
        assert error.message  # noqa: PT017 - either outcome is right, no other exception is


def logprob(token: str) -> TokenLogprob:
    return TokenLogprob(
        token=token,
        token_bytes=token.encode(),
        logprob=-1.0,
        top=(Alternative(token="z", token_bytes=b"z", logprob=-2.0),),
    )


EVENTS: list[GenerationEvent] = [
    TextDelta("ab", 0, logprobs=(logprob("a"), logprob("b"))),
    TextDelta("x", 1),
    TextDelta("c", 0, logprobs=(logprob("c"),)),
    ChoiceFinished(FinishReason.LENGTH, 0),
    ChoiceFinished(FinishReason.TOOL_CALLS, 1),
    Finished(USAGE),
]


def test_a_whole_answer() -> None:
    builder = CompletionBuilder(completion_id="cmpl-1", created_s=1, model="m")
    for event in EVENTS:
        builder.add(event)
    got = json.loads(builder.encode())
    Completion.model_validate(got, strict=True)
    assert got["object"] == "text_completion"
    assert [(choice["index"], choice["text"], choice["finish_reason"]) for choice in got["choices"]] == [
        (0, "abc", "length"),
        (1, "x", "stop"),
    ]
    assert got["choices"][0]["logprobs"] == {
        "tokens": ["a", "b", "c"],
        "token_logprobs": [-1.0] * 3,
        "top_logprobs": [{"z": -2.0}] * 3,
        "text_offset": [0, 1, 2],
    }
    assert got["choices"][1]["logprobs"] is None
    assert got["usage"]["total_tokens"] == 3


def chunks(*, include_usage: bool) -> list[dict[str, Any]]:
    stream = CompletionStream(completion_id="cmpl-1", created_s=1, model="m", include_usage=include_usage)
    lines = b"".join(stream.encode(event) for event in EVENTS).decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]


def test_chunks() -> None:
    got = chunks(include_usage=False)
    assert [
        (choice["index"], choice["text"], choice["finish_reason"]) for chunk in got for choice in chunk["choices"]
    ] == [(0, "ab", None), (1, "x", None), (0, "c", None), (0, "", "length"), (1, "", "stop")]
    assert got[2]["choices"][0]["logprobs"]["text_offset"] == [2]
    last = chunks(include_usage=True)[-1]
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 3
