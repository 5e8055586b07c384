"""Generation events → a completion, in chunks or in one piece; both have the same shape."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tundish.core.events import ChoiceFinished, Finished, FinishReason, GenerationEvent, TextDelta, TokenLogprob, Usage
from tundish.wire import sse
from tundish.wire.logprob import finite
from tundish.wire.usage import UsageFields, encode_usage

_encode = msgspec.json.Encoder().encode


class _Logprobs(msgspec.Struct, kw_only=True):
    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class _Choice(msgspec.Struct, kw_only=True):
    text: str
    index: int
    logprobs: _Logprobs | None
    finish_reason: str


class _Body(msgspec.Struct, kw_only=True):
    id: str
    object: str = "text_completion"
    created: int
    model: str
    system_fingerprint: None = None
    choices: list[_Choice]
    usage: UsageFields


class CompletionStream:
    """Encodes one stream."""

    def __init__(self, *, completion_id: str, created_s: int, model: str, include_usage: bool) -> None:
        head = _encode({"id": completion_id, "object": "text_completion", "created": created_s, "model": model})
        self._head = b"data: " + head[:-1] + b',"system_fingerprint":null,"choices":['
        self._include_usage = include_usage
        self._tail = b"]" + (b',"usage":null' if include_usage else b"") + b"}\n\n"
        self._offsets: dict[int, int] = {}
        """Choice → characters sent so far."""

    def encode(self, event: GenerationEvent) -> bytes:
        """The chunks that `event` makes; the last event's end with `[DONE]`."""
        match event:
            case TextDelta():
                offset = self._offsets.get(event.choice, 0)
                self._offsets[event.choice] = offset + len(event.text)
                logprobs = _encode(_logprobs(event.logprobs, offset))
                return self._chunk(event.choice, _encode(event.text), logprobs, b"null")
            case ChoiceFinished():
                return self._chunk(event.choice, b'""', b"null", b'"%b"' % _reason(event.reason).encode())
            case Finished():
                if not self._include_usage:
                    return sse.DONE
                return self._head + b'],"usage":' + _encode(encode_usage(event.usage)) + b"}\n\n" + sse.DONE
            case _:
                return b""  # raw text has neither reasoning nor calls

    def _chunk(self, choice: int, text: bytes, logprobs: bytes, reason: bytes) -> bytes:
        body = b'{"text":%b,"index":%d,"logprobs":%b,"finish_reason":%b}' % (text, choice, logprobs, reason)
        return self._head + body + self._tail


class _Answer:
    def __init__(self) -> None:
        self.text: list[str] = []
        self.logprobs: list[TokenLogprob] = []
        self.reason = FinishReason.STOP


class CompletionBuilder:
    """Collects the events of one answer."""

    def __init__(self, *, completion_id: str, created_s: int, model: str) -> None:
        self._id = completion_id
        self._created_s = created_s
        self._model = model
        self._answers: dict[int, _Answer] = {}
        self._usage = Usage(prompt_tokens=0, completion_tokens=0)

    def add(self, event: GenerationEvent) -> None:
        """Take in the next event."""
        if isinstance(event, Finished):
            self._usage = event.usage
            return
        answer = self._answers.setdefault(event.choice, _Answer())
        if isinstance(event, TextDelta):
            answer.text.append(event.text)
            answer.logprobs.extend(event.logprobs)
        elif isinstance(event, ChoiceFinished):
            answer.reason = event.reason

    def encode(self) -> bytes:
        """The whole response."""
        return _encode(
            _Body(
                id=self._id,
                created=self._created_s,
                model=self._model,
                choices=[
                    _Choice(
                        text="".join(answer.text),
                        index=index,
                        logprobs=_logprobs(answer.logprobs, 0),
                        finish_reason=_reason(answer.reason),
                    )
                    for index, answer in sorted(self._answers.items())
                ],
                usage=encode_usage(self._usage),
            )
        )


def _reason(reason: FinishReason) -> str:
    return FinishReason.STOP.value if reason is FinishReason.TOOL_CALLS else reason.value


def _logprobs(tokens: Sequence[TokenLogprob], offset: int) -> _Logprobs | None:
    if not tokens:
        return None
    offsets: list[int] = []
    for entry in tokens:
        offsets.append(offset)
        offset += len(entry.token)
    return _Logprobs(
        tokens=[entry.token for entry in tokens],
        token_logprobs=[finite(entry.logprob) for entry in tokens],
        top_logprobs=[{other.token: finite(other.logprob) for other in entry.top} for entry in tokens],
        text_offset=offsets,
    )
