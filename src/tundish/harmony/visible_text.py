"""What the user sees of one choice: it ends before a stop string and carries the log probabilities of its tokens."""

from __future__ import annotations

import collections
from collections.abc import Sequence

from tundish.core.events import TextDelta, TextPhase, TokenLogprob
from tundish.harmony.stop_strings import StopStrings

_BETWEEN_MESSAGES = "\n\n"


class VisibleText:
    """Collects the text of one choice, message by message, and says what of it may be shown."""

    def __init__(self, stops: Sequence[str], choice: int) -> None:
        self._stop = StopStrings(stops)
        self._choice = choice
        self._separator = ""
        self._said = False
        self._fed_characters = 0
        self._shown_characters = 0
        self._incomplete: list[TokenLogprob] = []
        """Tokens whose last character has more bytes to come."""
        self._waiting: collections.deque[tuple[int, TokenLogprob]] = collections.deque()
        """Tokens not yet shown, each with the number of characters that must be shown first."""

    @property
    def stopped(self) -> bool:
        """A stop string was reached: nothing more is shown."""
        return self._stop.reached

    def begin_message(self) -> None:
        """What follows is set apart from what was said before. No stop string reaches across: the gap is ours."""
        self._separator = _BETWEEN_MESSAGES if self._said else ""

    def feed(self, text: str, phase: TextPhase, logprobs: Sequence[TokenLogprob] = ()) -> TextDelta | None:
        """More text; `logprobs` belong to the tokens whose bytes completed it (or complete nothing yet)."""
        self._fed_characters += len(text)
        if logprobs:
            self._incomplete.extend(logprobs)
            if text:
                self._waiting.extend((self._fed_characters, entry) for entry in self._incomplete)
                self._incomplete.clear()
        return self._show(self._stop.feed(text), phase) if text else None

    def flush(self, phase: TextPhase) -> TextDelta | None:
        """What was held back, now that the message is over."""
        return self._show(self._stop.flush(), phase)

    def _show(self, text: str, phase: TextPhase) -> TextDelta | None:
        if not text:
            return None
        self._shown_characters += len(text)
        separator, self._separator, self._said = self._separator, "", True
        released: list[TokenLogprob] = []
        while self._waiting and self._waiting[0][0] <= self._shown_characters:
            released.append(self._waiting.popleft()[1])
        return TextDelta(separator + text, self._choice, phase, tuple(released))
