"""What one side encodes, the other decodes to the same thing, however the bytes are cut on the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tundish.core.errors import (
    BackendError,
    BackendStopped,
    ContextLengthExceeded,
    InvalidRequest,
    ModelNotFound,
    NotFound,
    Overloaded,
    TundishError,
    Unauthenticated,
    Unavailable,
)
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
from tundish.core.request import Request
from tundish.wire import errors
from tundish.wire.chat_completions import (
    ChatCompletionBuilder,
    ChatCompletionStream,
    decode_answer,
    decode_request,
    decode_stream,
    encode_request,
)

from .conftest import answers, requests


def new_stream(*, include_usage: bool = True) -> ChatCompletionStream:
    return ChatCompletionStream(completion_id="chatcmpl-1", created_s=1, model="m", include_usage=include_usage)


def streamed(events: Sequence[GenerationEvent], *, include_usage: bool = True) -> bytes:
    stream = new_stream(include_usage=include_usage)
    return b"".join(stream.encode(event) for event in events)


def received(data: bytes, size: int = 7) -> list[GenerationEvent]:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(data), size):
            yield data[start : start + size]

    async def read() -> list[GenerationEvent]:
        return [event async for event in decode_stream(chunks())]

    return asyncio.run(read())


@given(requests(), st.booleans())
def test_a_request_survives(request: Request, stream: bool) -> None:
    decoded = decode_request(encode_request(request, stream=stream))
    assert decoded.request == request
    assert decoded.stream is stream
    assert decoded.include_usage is stream


@given(answers(), st.integers(1, 200))
def test_a_stream_survives(events: list[GenerationEvent], size: int) -> None:
    assert received(streamed(events), size) == events


@given(answers())
def test_a_whole_answer_says_what_the_stream_says(events: list[GenerationEvent]) -> None:
    builder = ChatCompletionBuilder(completion_id="chatcmpl-1", created_s=1, model="m")
    for event in events:
        builder.add(event)
    assert told(decode_answer(builder.encode())) == told(events)


def told(events: Sequence[GenerationEvent]) -> object:
    """What a reader ends up with, whatever the pieces were."""
    choices: dict[int, dict[str, object]] = {}
    usage = None
    for event in events:
        if isinstance(event, Finished):
            usage = event.usage
            continue
        choice = choices.setdefault(event.choice, {"text": "", "reasoning": "", "calls": {}, "logprobs": []})
        if isinstance(event, TextDelta):
            choice["text"] += event.text
            choice["logprobs"] += event.logprobs
        elif isinstance(event, ReasoningDelta):
            choice["reasoning"] += event.text
        elif isinstance(event, ToolCallStarted):
            choice["calls"][event.index] = [event.call_id, event.name, ""]
        elif isinstance(event, ToolCallDelta):
            choice["calls"][event.index][2] += event.arguments
        elif isinstance(event, ChoiceFinished):
            choice["reason"] = event.reason
    return choices, usage


def test_without_usage_the_counts_are_zero() -> None:
    events = [TextDelta("a"), ChoiceFinished(FinishReason.STOP), Finished(Usage(prompt_tokens=3, completion_tokens=1))]
    got = received(streamed(events, include_usage=False))
    assert got == [*events[:2], Finished(Usage(prompt_tokens=0, completion_tokens=0))]


@pytest.mark.parametrize("cut", range(0, 400, 13))
def test_a_stream_that_is_cut_is_an_error_and_never_an_answer(cut: int) -> None:
    whole = streamed([TextDelta("hello"), ChoiceFinished(FinishReason.STOP)])
    if cut < len(whole) - 1:
        with pytest.raises(BackendError, match="ended before"):
            received(whole[:cut])


def test_a_stream_without_done_is_complete_when_its_choices_are() -> None:
    got = received(streamed([TextDelta("hello"), ChoiceFinished(FinishReason.STOP)]))
    assert got[-1] == Finished(Usage(prompt_tokens=0, completion_tokens=0))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BackendStopped("The endpoint is shutting down."), BackendStopped),
        (Overloaded("Busy.", retry_after_s=3), Overloaded),
        (ContextLengthExceeded(prompt_tokens=9, context_length=8), InvalidRequest),
        (ModelNotFound(model="x", known=["y"]), NotFound),
        (TundishError("Something."), BackendError),
    ],
)
def test_an_error_in_a_stream_is_raised_as_its_kind(error: TundishError, kind: type[TundishError]) -> None:
    with pytest.raises(kind) as caught:
        received(streamed([TextDelta("hel")]) + errors.encode_event(error))
    assert caught.value.message == error.message
    assert caught.value.code == error.code


@pytest.mark.parametrize(
    "chunk",
    [
        b"[]",
        b"{",
        b"nonsense",
        b'{"choices":5}',
        b'{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}',
        b"[" * 100_000,
    ],
)
def test_nonsense_from_a_server_is_a_backend_error(chunk: bytes) -> None:
    with pytest.raises(BackendError):
        received(b"data: " + chunk + b"\n\n", size=1000)


def test_other_servers_chunks_are_understood() -> None:
    """llama.cpp's, vLLM's and Azure's ways: reasoning_content, a call in one piece, no index, empty choices."""
    chunks = [
        {"choices": [], "prompt_filter_results": []},
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": None}}]},
        {"choices": [{"index": 0, "delta": {"reasoning_content": "hm"}}]},
        {"choices": [{"delta": {"tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": "{}"}}]}}]},
        {"choices": [{"index": 0, "content_filter_results": {}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "function_call"}], "usage": None},
        {"choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}},
    ]
    data = b"".join(b"data:" + json.dumps(chunk).encode() + b"\r\n\r\n" for chunk in chunks) + b"data: [DONE]\r\n\r\n"
    assert received(b": hello\r\n\r\n" + data) == [
        ReasoningDelta("hm"),
        ToolCallStarted(0, "c1", "f"),
        ToolCallDelta(0, "{}"),
        ChoiceFinished(FinishReason.TOOL_CALLS),
        Finished(Usage(prompt_tokens=2, completion_tokens=1)),
    ]


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind", "code"),
    [
        (401, {}, b'{"error":{"message":"No.","code":"invalid_api_key"}}', Unauthenticated, "invalid_api_key"),
        (400, {}, b'{"error":{"message":"No.","param":"n","code":null}}', InvalidRequest, "invalid_request"),
        (404, {}, b'{"error":{"message":"No.","code":"model_not_found"}}', NotFound, "model_not_found"),
        (429, {"retry-after-ms": "250"}, b'{"error":{"message":"No."}}', Overloaded, "rate_limit_exceeded"),
        (503, {"retry-after": "2"}, b'{"error":{"message":"No."}}', Unavailable, "service_unavailable"),
        (503, {}, b'{"error":{"message":"No.","code":"server_shutting_down"}}', BackendStopped, "server_shutting_down"),
        (500, {}, b'{"error":{"message":"No.","code":500}}', BackendError, "500"),
        (502, {"retry-after": "soon"}, b"<html>Bad Gateway</html>", BackendError, "backend_error"),
        (404, {}, b'{"detail":"No."}', NotFound, "not_found"),
        (418, {}, b"", InvalidRequest, "invalid_request"),
        (500, {}, b"[" * 100_000, BackendError, "backend_error"),
    ],
)
def test_error_responses_become_typed_errors(
    status: int, headers: dict[str, str], body: bytes, kind: type[TundishError], code: str
) -> None:
    error = errors.decode_response(status, headers, body)
    assert type(error) is kind
    assert error.code == code
    assert error.message == ("No." if b"No." in body else f"The server answered {status} without saying why.")


def test_when_to_come_back_is_read() -> None:
    error = errors.decode_response(429, {"retry-after-ms": "250", "retry-after": "9"}, b"")
    assert isinstance(error, Overloaded)
    assert error.retry_after_s == 0.25
