"""One choice of an answer that llama-server parsed, as events."""

from __future__ import annotations

from tundish.core.events import (
    ChoiceFinished,
    FinishReason,
    GenerationEvent,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    ToolCallStarted,
)
from tundish.core.request import Sampling
from tundish.engines.llama_cpp import chat_wire
from tundish.harmony.stop_strings import StopStrings

_REASONS = {
    "length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}


class ChatChoice:
    """Makes events of pieces. Stop strings are looked for here: llama-server would find them in reasoning, too."""

    def __init__(self, sampling: Sampling, *, choice: int) -> None:
        self._choice = choice
        self._stop = StopStrings(sampling.stop)
        self._wanted_logprobs = sampling.top_logprobs
        self._logprobs: list[TokenLogprob] = []
        self._calls: set[int] = set()
        self.ended = False
        self.settled = False
        """Whether nothing more can come: it has ended, and its tokens are counted as well as they can be."""
        self.reasoning_tokens = 0
        self.completion_tokens = 0
        """Counted in pieces, until llama-server tells the number."""

    def feed(self, piece: chat_wire.Choice) -> list[GenerationEvent]:
        """The events that `piece` makes, the choice's end among them."""
        events: list[GenerationEvent] = []
        if self.ended:
            return events
        if self._wanted_logprobs is not None and piece.logprobs is not None:
            self._logprobs += chat_wire.token_logprobs(piece.logprobs.content, self._wanted_logprobs)
        delta = piece.delta
        if delta.reasoning_content:
            self.reasoning_tokens += 1
            self._not_text()
            events.append(ReasoningDelta(delta.reasoning_content, self._choice))
        if text := piece.text or delta.content:
            self.completion_tokens += 1
            self._show(self._stop.feed(text), events)
        for call in delta.tool_calls:
            self._not_text()
            self._call(call, events)
        if piece.finish_reason is not None or self._stop.reached:
            self._finish(piece.finish_reason, events)
        return events

    @property
    def cut_off(self) -> bool:
        """Whether a stop string ended it, of which llama-server knows nothing."""
        return self._stop.reached

    def settle(self, completion_tokens: int) -> None:
        """Take llama-server's count."""
        self.settled = True
        self.completion_tokens = completion_tokens

    def _not_text(self) -> None:
        """The tokens so far were none that the user sees as text."""
        self._logprobs.clear()
        self.completion_tokens += 1

    def _show(self, text: str, events: list[GenerationEvent]) -> None:
        if text:
            logprobs, self._logprobs = tuple(self._logprobs), []
            events.append(TextDelta(text, self._choice, logprobs=logprobs))

    def _call(self, call: chat_wire.ToolCallPiece, events: list[GenerationEvent]) -> None:
        if call.index not in self._calls:
            self._calls.add(call.index)
            name = call.function.name or ""
            events.append(ToolCallStarted(call.index, f"call_{call.id or call.index}", name, self._choice))
        if call.function.arguments:
            events.append(ToolCallDelta(call.index, call.function.arguments, self._choice))

    def _finish(self, reason: str | None, events: list[GenerationEvent]) -> None:
        self.ended = True
        if self._stop.reached:
            self.settled = True  # it is cut off, and not counted by anyone else
            told = FinishReason.STOP
        else:
            self._show(self._stop.flush(), events)
            told = _REASONS.get(reason or "", FinishReason.STOP)
        events.append(ChoiceFinished(told, self._choice))
