"""The client's half: core.CompletionRequest → the body of a completions request, and a server's stream → events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterator

import msgspec

from tundish.core.errors import BackendError
from tundish.core.events import (
    Alternative,
    ChoiceFinished,
    Finished,
    FinishReason,
    GenerationEvent,
    TextDelta,
    TokenLogprob,
)
from tundish.core.json_value import JsonValue
from tundish.core.request import CompletionRequest
from tundish.wire import errors
from tundish.wire.sampling import encode_sampling
from tundish.wire.sse import SseDecoder
from tundish.wire.usage import UsageFields, decode_usage


class _Logprobs(msgspec.Struct, kw_only=True):
    tokens: list[str] = []
    token_logprobs: list[float | None] = []
    top_logprobs: list[dict[str, float] | None] | None = None


class _Choice(msgspec.Struct, kw_only=True):
    index: int = 0
    text: str | None = None
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct, kw_only=True):
    choices: list[_Choice] = []
    usage: UsageFields | None = None


_CHUNK = msgspec.json.Decoder(_Chunk)
_REASONS = {reason.value: reason for reason in FinishReason}


def encode_request(request: CompletionRequest) -> bytes:
    """The body that asks for `request` as a stream; decoding it gives `request` again."""
    sampling = request.sampling
    body: dict[str, JsonValue] = {
        "model": request.model,
        "prompt": request.prompt if isinstance(request.prompt, str) else list(request.prompt),
        "stream": True,
        "stream_options": {"include_usage": True},
        **encode_sampling(sampling),
    }
    if sampling.max_tokens is not None:
        body["max_tokens"] = sampling.max_tokens
    if sampling.top_logprobs is not None:
        body["logprobs"] = sampling.top_logprobs
    if request.n != 1:
        body["n"] = request.n
    if request.echo:
        body["echo"] = True
    if request.suffix is not None:
        body["suffix"] = request.suffix
    return msgspec.json.encode(body)


async def decode_stream(chunks: AsyncIterable[bytes]) -> AsyncGenerator[GenerationEvent, None]:
    """The events of a streamed completion, as its bytes arrive. Usage is zero where the server reports none.

    Raises:
        TundishError: the kind that the server named in the stream.
        BackendError: what came is no completion, or it ended before the answer did.
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


class _Reader:
    """Follows one answer through its chunks."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._finished: set[int] = set()
        self._usage: UsageFields | None = None

    def read(self, data: bytes) -> Iterator[GenerationEvent]:
        """The events of one chunk."""
        failure = errors.decode_event(data)
        if failure is not None:
            raise failure
        try:
            chunk = _CHUNK.decode(data)
        except (ValueError, RecursionError) as error:
            raise BackendError(f"The server sent what is no completion: {error}.") from None
        if chunk.usage is not None:
            self._usage = chunk.usage
        for choice in chunk.choices:
            if choice.index in self._finished:
                continue
            self._open.add(choice.index)
            if choice.text:
                yield TextDelta(choice.text, choice.index, logprobs=_logprobs(choice.logprobs))
            if choice.finish_reason is not None:
                self._open.discard(choice.index)
                self._finished.add(choice.index)
                yield ChoiceFinished(_REASONS.get(choice.finish_reason, FinishReason.STOP), choice.index)

    def end(self) -> Finished:
        """The last event, once every choice has ended."""
        if self._open or not self._finished:
            raise BackendError("The server's stream ended before the answer did.")
        return Finished(decode_usage(self._usage))


def _logprobs(fields: _Logprobs | None) -> tuple[TokenLogprob, ...]:
    """The format has texts only: bytes of a token that is no whole text are not told."""
    if fields is None:
        return ()
    alternatives = fields.top_logprobs or [None] * len(fields.tokens)
    return tuple(
        TokenLogprob(
            token=token,
            token_bytes=token.encode(),
            logprob=logprob,
            top=tuple(
                Alternative(token=text, token_bytes=text.encode(), logprob=likelihood)
                for text, likelihood in sorted((others or {}).items(), key=lambda other: -other[1])
            ),
        )
        for token, logprob, others in zip(fields.tokens, fields.token_logprobs, alternatives, strict=False)
        if logprob is not None
    )
