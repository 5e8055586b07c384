"""Shows a stream of generation events to a person."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TextIO, assert_never

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

_DIM, _RESET = "\x1b[2m", "\x1b[0m"


class Screen:
    """Writes text of three kinds (reasoning, answer, notes), each starting on a line of its own."""

    def __init__(self, out: TextIO, *, show_reasoning: bool = True, styled: bool = False) -> None:
        self._out = out
        self._show_reasoning = show_reasoning
        self._styled = styled
        self._kind: str | None = None
        self._at_line_start = True

    def reasoning(self, text: str) -> None:
        """Chain of thought, dimmed; dropped when it is not wanted."""
        if self._show_reasoning:
            self._write("reasoning", text, dim=True)

    def answer(self, text: str) -> None:
        """What the model says to the user."""
        self._write("answer", text)

    def note(self, text: str) -> None:
        """What this program says."""
        if text:
            self.end()
            self._write("note", text, dim=True)
            self.end()

    def end(self) -> None:
        """Finish the line, if one was begun."""
        if not self._at_line_start:
            self._out.write("\n")
            self._at_line_start = True
        self._kind = None
        self._out.flush()

    def _write(self, kind: str, text: str, *, dim: bool = False) -> None:
        if not text:
            return
        if kind != self._kind:
            self.end()
            self._kind = kind
        self._out.write(f"{_DIM}{text}{_RESET}" if dim and self._styled else text)
        self._at_line_start = text.endswith("\n")
        self._out.flush()


class Answer:
    """One answer as it arrives: shown at once and kept."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self.usage: Usage | None = None

    @property
    def text(self) -> str:
        """The visible text so far."""
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        """The chain of thought so far."""
        return "".join(self._reasoning)

    async def show(self, events: AsyncGenerator[GenerationEvent, None]) -> None:
        """Show `events` to their end; closes them when cancelled."""
        async with aclosing(events):
            async for event in events:
                self._show(event)
        self._screen.end()

    def _show(self, event: GenerationEvent) -> None:
        match event:
            case ReasoningDelta():
                self._reasoning.append(event.text)
                self._screen.reasoning(event.text)
            case TextDelta():
                self._text.append(event.text)
                self._screen.answer(event.text)
            case ToolCallStarted():
                self._screen.note(f"calls {event.name}")
            case ToolCallDelta():
                self._screen.answer(event.arguments)
            case ChoiceFinished():
                if event.reason is FinishReason.LENGTH:
                    self._screen.note("cut: the token limit was reached")
            case Finished():
                self.usage = event.usage
            case _:
                assert_never(event)
