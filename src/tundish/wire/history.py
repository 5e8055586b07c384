"""What a chat's messages say about the requests that came before: each is known by a digest of the messages it had.

A client sends its whole history each time, so every request that it goes on from had messages that this one begins
with: their digest is that request's key, and a history names the keys of all its beginnings. Those without a word of
the model's are no conversation, since anybody may begin with them: they count with the first answer behind them.

Messages are told apart by role, text, other content, and the ids of tool calls: how the JSON is laid out, and what
clients leave out of an answer (its reasoning, white space around it), makes no difference.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator

import msgspec

from tundish.core.errors import TundishError
from tundish.wire.sse import SseDecoder

_KEY_BYTES = 16
_MOST_MESSAGES = 512
"""That are gone back through: only a history that has grown by more of them since its last request here does not find
what came before."""
_NULL = msgspec.Raw(b"null")
_WRONG = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TundishError)


class _Call(msgspec.Struct):
    id: str = ""


class _Part(msgspec.Struct):
    text: str | None = None


class _Message(msgspec.Struct):
    role: str = ""
    content: msgspec.Raw = _NULL
    tool_call_id: msgspec.Raw = _NULL
    tool_calls: msgspec.Raw = _NULL


class _Said(msgspec.Struct):
    content: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    message: _Said | None = None
    delta: _Said | None = None
    finish_reason: str | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice]


_MESSAGES = msgspec.json.Decoder(list[_Message])
_TEXT = msgspec.json.Decoder(str)
_PARTS = msgspec.json.Decoder(list[msgspec.Raw])
_PART = msgspec.json.Decoder(_Part)
_CALLS = msgspec.json.Decoder(list[_Call])
_ANSWER = msgspec.json.Decoder(_Answer)


@dataclasses.dataclass(slots=True)
class _Given:
    """One answer as far as it came."""

    text: str = ""
    calls: list[str] = dataclasses.field(default_factory=list[str])
    whole: bool = False


class History:
    """The messages of one request."""

    __slots__ = ("_digest", "answered", "earlier", "own")

    def __init__(self, messages: list[_Message]) -> None:
        digest = hashlib.blake2b(digest_size=_KEY_BYTES)
        earlier: list[str] = []
        begun = next((at for at in range(len(messages), 0, -1) if messages[at - 1].role != "assistant"), 0)
        first = next((at for at, message in enumerate(messages) if message.role == "assistant"), len(messages))
        looked_at = range(max(first, len(messages) - _MOST_MESSAGES), len(messages))
        asked = digest.copy()
        for at, message in enumerate(messages):
            if at == first:
                earlier.append(digest.hexdigest())
            _add(digest, message)
            if at == first or at in looked_at:
                earlier.append(digest.hexdigest())
            if at + 1 == begun:
                asked = digest.copy()
        self._digest = asked
        self.own = asked.hexdigest()
        """The key of this request: of its messages up to the last that is not the model's."""
        self.answered = first < begun
        """Whether the model has said something before. Without that, anybody may begin with the same words."""
        self.earlier = tuple(earlier)
        """The keys of the requests that it goes on from, the oldest first; its own too, when it was `answered`."""

    def after(self, given: bytes, *, stream: bool) -> tuple[str, ...] | None:
        """The keys that this request's messages have with its answer behind them: one for each choice.

        Args:
            given: the body that the client was given.
            stream: whether it is a stream of events.

        Returns:
            None when the answer is not whole, or cannot be read: nobody knows what the client has of it.
        """
        try:
            answers = _streamed(given) if stream else _whole(given)
        except _WRONG:
            return None
        if not answers or not all(answer.whole for answer in answers):
            return None
        return tuple(self._with(answer) for answer in answers)

    def _with(self, answer: _Given) -> str:
        digest = self._digest.copy()
        _add_parts(digest, "assistant", answer.text.strip().encode("utf-8", "surrogatepass"), b"", answer.calls)
        return digest.hexdigest()


def read(messages: bytes) -> History | None:
    """The history that a request's `messages` are; None when they are none: the full decoder says what is wrong."""
    try:
        return History(_MESSAGES.decode(messages))
    except _WRONG:
        return None


def _add(digest: hashlib.blake2b, message: _Message) -> None:
    content = _content(message.content)
    if message.role == "assistant":
        content = content.strip()
    _add_parts(digest, message.role, content, _content(message.tool_call_id), _call_ids(message.tool_calls))


def _add_parts(digest: hashlib.blake2b, role: str, content: bytes, answers: bytes, calls: list[str]) -> None:
    named = "\0".join(calls).encode("utf-8", "surrogatepass")
    head = f"{role}\0{len(content)}\0{len(answers)}\0{len(named)}\0"
    digest.update(head.encode("utf-8", "surrogatepass"))
    digest.update(content)
    digest.update(answers)
    digest.update(named)


def _content(raw: msgspec.Raw) -> bytes:
    """Its text, whichever way it was written; of what is no text, the JSON."""
    first = bytes(memoryview(raw)[:1])
    try:
        if first == b'"':
            return _TEXT.decode(raw).encode("utf-8", "surrogatepass")
        if first == b"[":
            return b"".join(_part(part) for part in _PARTS.decode(raw))
    except _WRONG:
        pass
    return b"" if first == b"n" else bytes(raw)


def _part(raw: msgspec.Raw) -> bytes:
    text = _PART.decode(raw).text
    return bytes(raw) if text is None else text.encode("utf-8", "surrogatepass")


def _call_ids(raw: msgspec.Raw) -> list[str]:
    if bytes(memoryview(raw)[:1]) == b"n":
        return []
    try:
        return [call.id for call in _CALLS.decode(raw)]
    except _WRONG:
        return [bytes(raw).decode("utf-8", "replace")]


def _whole(given: bytes) -> list[_Given]:
    answers: list[_Given] = []
    for choice in _ANSWER.decode(given).choices:
        said = choice.message or _Said()
        calls = [call.id for call in said.tool_calls or ()]
        answers.append(_Given(text=said.content or "", calls=calls, whole=choice.message is not None))
    return answers


def _streamed(given: bytes) -> list[_Given]:
    answers: dict[int, _Given] = {}
    texts: dict[int, list[str]] = {}
    for choice in _choices(given):
        answer = answers.setdefault(choice.index, _Given())
        said = choice.delta or _Said()
        if said.content:
            texts.setdefault(choice.index, []).append(said.content)
        answer.calls += [call.id for call in said.tool_calls or () if call.id]
        answer.whole = answer.whole or choice.finish_reason is not None
    for index, answer in answers.items():
        answer.text = "".join(texts.get(index, ()))
    return list(answers.values())


def _choices(given: bytes) -> Iterator[_Choice]:
    decoder = SseDecoder()
    for data in decoder.feed(given):
        if data != b"[DONE]":
            yield from _ANSWER.decode(data).choices
