"""The Backend port: one shape for engines (weights that run here) and providers (services that run elsewhere)."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import AsyncGenerator
from typing import Protocol

from tundish.core.events import GenerationEvent
from tundish.core.request import CompletionRequest, Request


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a backend can do for one model; checked before a request is sent there."""

    context_length: int | None
    """Tokens, prompt and answer together, that a request really has (not what the card promises); None is unknown."""
    tools: bool = True
    structured_output: bool = True
    reasoning: bool = True
    reasoning_effort: bool = True
    logprobs: bool = True
    completions: bool = True
    continues: bool = False
    """Whether it goes on from `Request.answer_begun` as if it had said that itself."""


class Health(enum.Enum):
    """Whether requests can be served."""

    UNLOADED = "unloaded"
    """Not in memory; the next request loads it, or an operator does."""
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    """The engine's process died and is coming back."""
    FAILED = "failed"
    STOPPED = "stopped"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BackendStatus:
    """A snapshot for readiness, metrics and people."""

    health: Health
    detail: str = ""
    """Why, when it is not READY: the reason in one sentence."""
    slots: int = 0
    """Requests that can generate at the same time; 0 is unknown."""
    slots_busy: int = 0
    queued: int = 0
    queue_limit: int = 0
    restarts: int = 0
    load_progress: float | None = None
    """0 … 1 while STARTING, when the engine knows how far it is."""


class Backend(Protocol):
    """Generates answers. Implementations are safe for concurrent requests.

    Cancelling the consuming task or closing the generator stops the generation at once and frees its capacity.
    """

    @property
    def capabilities(self) -> Capabilities:
        """Known once the backend is READY."""
        ...

    def status(self) -> BackendStatus:
        """The state now; never blocks."""
        ...

    def generate(self, request: Request) -> AsyncGenerator[GenerationEvent, None]:
        """Answer a conversation.

        Raises:
            InvalidRequest: (and its kin) before the first event.
            Overloaded, Unavailable, BackendError: at any point.
        """
        ...

    def complete(self, request: CompletionRequest) -> AsyncGenerator[GenerationEvent, None]:
        """Continue raw text; text arrives as `TextDelta`. Raises as `generate` does."""
        ...

    async def start(self) -> None:
        """Make the backend READY.

        Raises:
            ModelFileInvalid, ModelLoadFailed: it will never be, with the reason.
        """
        ...

    async def stop(self) -> None:
        """End everything at once; running generations raise BackendStopped."""
        ...
