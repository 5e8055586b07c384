"""The token-level port: what harmony drives and what llama.cpp, vLLM or a script provide."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import AsyncGenerator, Sequence
from typing import Protocol, TypeAlias

from tundish.core.backend import BackendStatus
from tundish.core.request import Sampling


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """Continue `prompt` (token ids). `sampling.stop` is not for the engine: visible text is the caller's matter.

    `grammar`: an llguidance Lark grammar over the whole continuation, or None for none.
    `prefix_tokens`: so many of the prompt's first tokens are what other requests begin with, too (instructions, tools);
    an engine may keep what it computed of them. 0 is unknown.
    """

    prompt: Sequence[int]
    sampling: Sampling = Sampling()
    stop_tokens: frozenset[int] = frozenset()
    grammar: str | None = None
    n: int = 1
    prefix_tokens: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class TokenProbability:
    """Token id and natural log probability, with the likeliest alternatives (id, logprob)."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class TokenDelta:
    """Newly drawn token ids of one choice; the stop token is included when the engine reports it."""

    tokens: tuple[int, ...]
    choice: int = 0
    probabilities: tuple[TokenProbability, ...] = ()


class TokenStop(enum.Enum):
    """Why the engine stopped drawing."""

    END = "end"
    """A stop token or the grammar's end."""
    LENGTH = "length"
    """max_tokens or the context's end."""


@dataclasses.dataclass(frozen=True, slots=True)
class TokensFinished:
    """One choice has ended. Counts are in tokens; `cached_tokens` of the prompt came from the KV cache."""

    stop: TokenStop
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    choice: int = 0


TokenEvent: TypeAlias = TokenDelta | TokensFinished


class TokenEngine(Protocol):
    """Draws tokens. Closing the generator (or cancelling its task) frees the engine's capacity at once."""

    @property
    def context_length(self) -> int:
        """Tokens of prompt and answer together that one request may have here."""
        ...

    def generate(self, request: TokenRequest) -> AsyncGenerator[TokenEvent, None]:
        """Yield deltas and one `TokensFinished` per choice.

        Raises:
            ContextLengthExceeded: the prompt does not fit.
            Overloaded: no slot, and no room in the queue.
            BackendError: the engine failed.
        """
        ...

    def status(self) -> BackendStatus:
        """The state now; never blocks."""
        ...

    async def start(self) -> None:
        """Load the model.

        Raises:
            ModelFileInvalid, ModelLoadFailed: it cannot be loaded, with the reason.
        """
        ...

    async def stop(self) -> None:
        """End everything at once; running generations raise BackendStopped."""
        ...
