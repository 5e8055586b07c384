"""The beginning of a streamed answer, read again after it broke off."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import msgspec

from tundish.core.errors import TundishError
from tundish.wire.sse import SseDecoder


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PartialAnswer:
    """What a client has been given."""

    completion_id: str
    created_s: int
    model: str
    text: str
    tokens: int
    """About so many: one for each chunk that says something."""
    plain: bool
    """Whether it is the beginning of one text and nothing else: no tool call, no second choice, no end."""


_NOTHING = msgspec.Raw(b"null")


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: msgspec.Raw = _NOTHING
    function_call: msgspec.Raw = _NOTHING


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    id: str = ""
    created: int = 0
    model: str = ""
    choices: list[_Choice] = []


_CHUNK = msgspec.json.Decoder(_Chunk)


def decode_partial(chunks: Iterable[bytes]) -> PartialAnswer | None:
    """The answer that the bytes of a stream begin; None when they say nothing that can be understood."""
    decoder = SseDecoder()
    head: _Chunk | None = None
    texts: list[str] = []
    tokens, plain = 0, True
    try:
        for data in (data for chunk in chunks for data in decoder.feed(chunk)):
            if data == b"[DONE]":
                plain = False
                continue
            chunk = _CHUNK.decode(data)
            if head is None and chunk.id:
                head = chunk
            for choice in chunk.choices:
                delta = choice.delta or _Delta()
                calls = {bytes(delta.tool_calls), bytes(delta.function_call)} - {b"null", b"[]"}
                if choice.index or choice.finish_reason or delta.refusal or calls:
                    plain = False
                texts.append(delta.content or "")
                tokens += bool(delta.content or delta.reasoning or delta.reasoning_content)
    except (msgspec.DecodeError, UnicodeDecodeError, TundishError, RecursionError):
        return None
    if head is None:
        return None
    return PartialAnswer(
        completion_id=head.id,
        created_s=head.created,
        model=head.model,
        text="".join(texts),
        tokens=tokens,
        plain=plain,
    )
