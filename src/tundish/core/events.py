"""What a backend says while it generates: a stream of small events, ended by exactly one `Finished`.

For each choice: any number of deltas, then one `ChoiceFinished`. After the last choice: one `Finished`.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import TypeAlias


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """One candidate for a token; `logprob` is natural."""

    token: str
    token_bytes: bytes
    logprob: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprob:
    """The drawn token and the likeliest alternatives, likeliest first."""

    token: str
    token_bytes: bytes
    logprob: float
    top: tuple[Alternative, ...] = ()


class TextPhase(enum.Enum):
    """Which kind of user-visible text a delta belongs to."""

    PREAMBLE = "commentary"
    """Said on the way to a tool call: visible, not the answer."""
    ANSWER = "final"


class FinishReason(enum.Enum):
    """Why a choice ended, by OpenAI's names."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"


@dataclasses.dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """More chain of thought."""

    text: str
    choice: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class TextDelta:
    """More visible text. `logprobs` belong to the tokens of this delta; only when asked for."""

    text: str
    choice: int = 0
    phase: TextPhase = TextPhase.ANSWER
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class ToolCallStarted:
    """The model began call number `index` (from 0) of this choice."""

    index: int
    call_id: str
    name: str
    choice: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """More of the JSON text of call `index`."""

    index: int
    arguments: str
    choice: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class ChoiceFinished:
    """This choice has said everything. `recovered` names what was malformed in the model's output and repaired."""

    reason: FinishReason
    choice: int = 0
    recovered: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens, counted by the backend. `completion_tokens` includes `reasoning_tokens`."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Prompt and completion."""
        return self.prompt_tokens + self.completion_tokens


@dataclasses.dataclass(frozen=True, slots=True)
class Finished:
    """The end of the stream; usage over all choices (the prompt counted once)."""

    usage: Usage


GenerationEvent: TypeAlias = ReasoningDelta | TextDelta | ToolCallStarted | ToolCallDelta | ChoiceFinished | Finished
