"""Generation events → the chunks of a streamed chat completion. The hot path: a text costs one JSON string."""

from __future__ import annotations

from typing import assert_never

import msgspec

from tundish.core.events import (
    ChoiceFinished,
    Finished,
    GenerationEvent,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
)
from tundish.wire import sse
from tundish.wire.chat_completions.logprobs import encode_logprobs
from tundish.wire.usage import encode_usage

_encode = msgspec.json.Encoder().encode


class ChatCompletionStream:
    """Encodes one stream. Everything that stays the same from chunk to chunk is encoded once.

    Reasoning goes out as `reasoning` (OpenAI's name for gpt-oss) and `reasoning_content` (llama.cpp's and vLLM's);
    a preamble is content, since the user is meant to read it.
    """

    def __init__(
        self, *, completion_id: str, created_s: int, model: str, include_usage: bool, goes_on: bool = False
    ) -> None:
        """`goes_on`: this continues a stream whose first choice has begun elsewhere."""
        head = _encode({"id": completion_id, "object": "chat.completion.chunk", "created": created_s, "model": model})
        self._head = b"data: " + head[:-1] + b',"system_fingerprint":null,"choices":['
        self._include_usage = include_usage
        usage = b',"usage":null' if include_usage else b""
        self._tail = b"]" + usage + b"}\n\n"
        self._delta_end = b'},"logprobs":null,"finish_reason":null}' + self._tail
        self._content: dict[int, bytes] = {}
        """Choice → everything before the text of a content delta."""
        self._reasoning: dict[int, bytes] = {}
        if goes_on:
            self._begin(0)

    def encode(self, event: GenerationEvent) -> bytes:
        """The chunks that `event` makes; the last event's end with `[DONE]`."""
        if type(event) is TextDelta and not event.logprobs:
            content = self._content.get(event.choice)
            if content is not None:
                return b"%b%b%b" % (content, _encode(event.text), self._delta_end)
        if isinstance(event, Finished):
            return self._end(event)
        if event.choice in self._content:
            return self._chunk(event)
        return self._begin(event.choice) + self._chunk(event)

    def _begin(self, choice: int) -> bytes:
        start = self._head + b'{"index":%d,"delta":{' % choice
        self._content[choice] = start + b'"content":'
        self._reasoning[choice] = start + b'"reasoning":'
        return start + b'"role":"assistant","content":""' + self._delta_end

    def _chunk(self, event: ReasoningDelta | TextDelta | ToolCallStarted | ToolCallDelta | ChoiceFinished) -> bytes:
        match event:
            case TextDelta():
                text = self._content[event.choice] + _encode(event.text)
                if not event.logprobs:
                    return text + self._delta_end
                logprobs = _encode(encode_logprobs(event.logprobs))
                return text + b'},"logprobs":' + logprobs + b',"finish_reason":null}' + self._tail
            case ReasoningDelta():
                text = _encode(event.text)
                return self._reasoning[event.choice] + text + b',"reasoning_content":' + text + self._delta_end
            case ToolCallStarted():
                call = b'"id":%b,"type":"function","function":{"name":%b,"arguments":""}' % (
                    _encode(event.call_id),
                    _encode(event.name),
                )
                return self._tool_call(event.choice, event.index, call)
            case ToolCallDelta():
                return self._tool_call(
                    event.choice, event.index, b'"function":{"arguments":%b}' % _encode(event.arguments)
                )
            case ChoiceFinished():
                reason = event.reason.value.encode()
                end = b'{"index":%d,"delta":{},"logprobs":null,"finish_reason":"%b"}' % (event.choice, reason)
                return self._head + end + self._tail
            case _:
                assert_never(event)

    def _tool_call(self, choice: int, index: int, call: bytes) -> bytes:
        delta = b'{"index":%d,"delta":{"tool_calls":[{"index":%d,%b}]' % (choice, index, call)
        return self._head + delta + self._delta_end

    def _end(self, event: Finished) -> bytes:
        if not self._include_usage:
            return sse.DONE
        return self._head + b'],"usage":' + _encode(encode_usage(event.usage)) + b"}\n\n" + sse.DONE
