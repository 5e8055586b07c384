"""Generation events → a chat completion in one piece."""

from __future__ import annotations

import msgspec

from tundish.core.events import (
    ChoiceFinished,
    Finished,
    FinishReason,
    GenerationEvent,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from tundish.wire.chat_completions.logprobs import LogprobsFields, encode_logprobs
from tundish.wire.usage import UsageFields, encode_usage


class CalledFunctionFields(msgspec.Struct, kw_only=True):
    """A call's name and the JSON text of its arguments."""

    name: str
    arguments: str


class ToolCallFields(msgspec.Struct, kw_only=True):
    """An entry of `message.tool_calls`."""

    id: str
    type: str = "function"
    function: CalledFunctionFields


class _Message(msgspec.Struct, kw_only=True):
    role: str = "assistant"
    content: str | None
    refusal: None = None
    reasoning: str | msgspec.UnsetType = msgspec.UNSET
    reasoning_content: str | msgspec.UnsetType = msgspec.UNSET
    tool_calls: list[ToolCallFields] | msgspec.UnsetType = msgspec.UNSET


class _Choice(msgspec.Struct, kw_only=True):
    index: int
    message: _Message
    logprobs: LogprobsFields | None
    finish_reason: str


class _Body(msgspec.Struct, kw_only=True):
    id: str
    object: str = "chat.completion"
    created: int
    model: str
    system_fingerprint: None = None
    choices: list[_Choice]
    usage: UsageFields


class _Answer:
    """What one choice has said so far."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.logprobs: list[TokenLogprob] = []
        self.calls: dict[int, tuple[ToolCallStarted, list[str]]] = {}
        self.reason = FinishReason.STOP

    def encode(self, index: int) -> _Choice:
        reasoning = "".join(self.reasoning) or msgspec.UNSET
        calls = [
            ToolCallFields(
                id=started.call_id, function=CalledFunctionFields(name=started.name, arguments="".join(arguments))
            )
            for _, (started, arguments) in sorted(self.calls.items())
        ]
        message = _Message(
            content="".join(self.text) or None,
            reasoning=reasoning,
            reasoning_content=reasoning,
            tool_calls=calls or msgspec.UNSET,
        )
        return _Choice(
            index=index,
            message=message,
            logprobs=encode_logprobs(self.logprobs),
            finish_reason=self.reason.value,
        )


class ChatCompletionBuilder:
    """Collects the events of one answer; the fields mean what they mean in `ChatCompletionStream`."""

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
        answer = self._answers.get(event.choice)
        if answer is None:
            answer = self._answers[event.choice] = _Answer()
        match event:
            case TextDelta():
                answer.text.append(event.text)
                answer.logprobs.extend(event.logprobs)
            case ReasoningDelta():
                answer.reasoning.append(event.text)
            case ToolCallStarted():
                answer.calls[event.index] = (event, [])
            case ToolCallDelta():
                answer.calls[event.index][1].append(event.arguments)
            case ChoiceFinished():
                answer.reason = event.reason

    def encode(self) -> bytes:
        """The whole response."""
        return msgspec.json.encode(
            _Body(
                id=self._id,
                created=self._created_s,
                model=self._model,
                choices=[answer.encode(index) for index, answer in sorted(self._answers.items())],
                usage=encode_usage(self._usage),
            )
        )
