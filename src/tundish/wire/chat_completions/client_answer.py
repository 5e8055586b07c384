"""The client's half, listening: what a server answers → generation events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterator, Sequence

import msgspec

from tundish.core.errors import BackendError
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
from tundish.wire import errors
from tundish.wire.chat_completions.logprobs import LogprobsFields, decode_logprobs
from tundish.wire.sse import SseDecoder
from tundish.wire.usage import UsageFields, decode_usage


class _Function(msgspec.Struct, kw_only=True):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct, kw_only=True):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Said(msgspec.Struct, kw_only=True):
    """A `delta`, or a whole `message`."""

    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct, kw_only=True):
    index: int = 0
    delta: _Said | None = None
    message: _Said | None = None
    logprobs: LogprobsFields | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct, kw_only=True):
    choices: list[_Choice] = []
    usage: UsageFields | None = None


_CHUNK = msgspec.json.Decoder(_Chunk)
_REASONS = {reason.value: reason for reason in FinishReason} | {"function_call": FinishReason.TOOL_CALLS}


async def decode_stream(chunks: AsyncIterable[bytes]) -> AsyncGenerator[GenerationEvent, None]:
    """The events of a streamed answer, as its bytes arrive. Usage is zero where the server reports none.

    Raises:
        TundishError: the kind that the server named in the stream.
        BackendError: what came is no chat completion, or it ended before the answer did.
    """
    reader = _Reader()
    decoder = SseDecoder()
    async for chunk in chunks:
        for data in decoder.feed(chunk):
            if data == b"[DONE]":
                yield reader.end()
                return
            for event in reader.read(data):
                yield event
    yield reader.end()


def decode_answer(body: bytes) -> Sequence[GenerationEvent]:
    """The events of an answer that came in one piece; raises as `decode_stream` does."""
    reader = _Reader()
    return [*reader.read(body), reader.end()]


class _Reader:
    """Follows one answer through its chunks."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._finished: set[int] = set()
        self._calls: set[tuple[int, int]] = set()
        self._usage: UsageFields | None = None

    def read(self, data: bytes) -> Iterator[GenerationEvent]:
        """The events of one chunk."""
        failure = errors.decode_event(data)
        if failure is not None:
            raise failure
        try:
            chunk = _CHUNK.decode(data)
        except (ValueError, RecursionError) as error:
            raise BackendError(f"The server sent what is no chat completion: {error}.") from None
        if chunk.usage is not None:
            self._usage = chunk.usage
        for choice in chunk.choices:
            if choice.index not in self._finished:
                yield from self._read_choice(choice)

    def end(self) -> Finished:
        """The last event, once every choice has ended."""
        if self._open or not self._finished:
            raise BackendError("The server's stream ended before the answer did.")
        return Finished(decode_usage(self._usage))

    def _read_choice(self, choice: _Choice) -> Iterator[GenerationEvent]:
        self._open.add(choice.index)
        said = choice.delta or choice.message
        if said is not None:
            reasoning = said.reasoning or said.reasoning_content
            if reasoning:
                yield ReasoningDelta(reasoning, choice.index)
            if said.content:
                yield TextDelta(said.content, choice.index, logprobs=decode_logprobs(choice.logprobs))
            for position, call in enumerate(said.tool_calls or ()):
                yield from self._read_call(choice.index, position if call.index is None else call.index, call)
        if choice.finish_reason is not None:
            self._open.discard(choice.index)
            self._finished.add(choice.index)
            yield ChoiceFinished(_REASONS.get(choice.finish_reason, FinishReason.STOP), choice.index)

    def _read_call(self, choice: int, index: int, call: _ToolCall) -> Iterator[GenerationEvent]:
        function = call.function or _Function()
        if (choice, index) not in self._calls:
            if not function.name:
                raise BackendError("The server sent arguments of a tool call that it did not name.")
            self._calls.add((choice, index))
            yield ToolCallStarted(index, call.id or f"call_{choice}_{index}", function.name, choice)
        if function.arguments:
            yield ToolCallDelta(index, function.arguments, choice)
