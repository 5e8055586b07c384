"""The shipped fakes: a token engine and a backend that say what they were told to, when they were told to.

They implement the same ports as the real ones, pass the same contract suite, and let every layer above be tested
without a model.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Sequence
from typing import TypeAlias

from tundish.core.backend import BackendStatus, Capabilities, Health
from tundish.core.errors import BackendStopped, ContextLengthExceeded, TundishError
from tundish.core.events import GenerationEvent
from tundish.core.request import CompletionRequest, Request
from tundish.core.tokens import TokenDelta, TokenEvent, TokenRequest, TokensFinished, TokenStop


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Wait before going on; `seconds` may be infinite, then only cancelling ends it."""

    seconds: float


TokenStep: TypeAlias = int | Sequence[int] | Pause | TundishError
EventStep: TypeAlias = GenerationEvent | Pause | TundishError


class _Activity:
    """Counts what runs, and ends it when the fake is stopped."""

    def __init__(self) -> None:
        self.active = 0
        self.health = Health.STOPPED
        self._stopped = asyncio.Event()

    async def pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopped.wait(), None if seconds == float("inf") else seconds)
        except TimeoutError:
            return
        raise BackendStopped("The scripted backend was stopped.")

    def check(self) -> None:
        if self._stopped.is_set():
            raise BackendStopped("The scripted backend was stopped.")

    def begin(self) -> None:
        self.health = Health.READY
        self._stopped = asyncio.Event()

    def end(self) -> None:
        self.health = Health.STOPPED
        self._stopped.set()

    def status(self) -> BackendStatus:
        return BackendStatus(health=self.health, slots_busy=self.active)


class ScriptedEngine:
    """A `TokenEngine` that replays tokens: request number k gets script k, the last script again and again."""

    def __init__(self, *scripts: Sequence[TokenStep], context_length: int = 4096, cached_tokens: int = 0) -> None:
        """`cached_tokens` is what it says of each prompt."""
        self._scripts = scripts
        self._cached_tokens = cached_tokens
        self._context_length = context_length
        self._activity = _Activity()
        self.requests: list[TokenRequest] = []
        """What was asked, in order."""

    @property
    def context_length(self) -> int:
        return self._context_length

    @property
    def active(self) -> int:
        """Generations that are running now."""
        return self._activity.active

    def status(self) -> BackendStatus:
        return self._activity.status()

    async def start(self) -> None:
        self._activity.begin()

    async def stop(self) -> None:
        self._activity.end()

    async def generate(self, request: TokenRequest) -> AsyncGenerator[TokenEvent, None]:
        self.requests.append(request)
        if len(request.prompt) >= self._context_length:
            raise ContextLengthExceeded(prompt_tokens=len(request.prompt), context_length=self._context_length)
        script = self._scripts[min(len(self.requests), len(self._scripts)) - 1]
        self._activity.active += 1
        try:
            for choice in range(request.n):
                async for event in self._replay(script, request, choice):
                    yield event
        finally:
            self._activity.active -= 1

    async def _replay(
        self, script: Sequence[TokenStep], request: TokenRequest, choice: int
    ) -> AsyncGenerator[TokenEvent, None]:
        limit = request.sampling.max_tokens
        drawn, stop = 0, TokenStop.END
        for step in script:
            self._activity.check()
            if isinstance(step, Pause):
                await self._activity.pause(step.seconds)
                continue
            if isinstance(step, TundishError):
                raise step
            tokens = (step,) if isinstance(step, int) else tuple(step)
            room = len(tokens) if limit is None else limit - drawn
            if room < len(tokens):
                tokens, stop = tokens[:room], TokenStop.LENGTH
            if tokens:
                drawn += len(tokens)
                yield TokenDelta(tokens, choice)
            if stop is TokenStop.LENGTH or tokens[-1] in request.stop_tokens:
                break
        yield TokensFinished(stop, len(request.prompt), self._cached_tokens, drawn, choice)


class ScriptedBackend:
    """A `Backend` that replays events: request number k gets script k, the last script again and again."""

    def __init__(self, *scripts: Sequence[EventStep], capabilities: Capabilities | None = None) -> None:
        self._scripts = scripts
        self._capabilities = capabilities or Capabilities(context_length=4096)
        self._activity = _Activity()
        self.requests: list[Request | CompletionRequest] = []
        """What was asked, in order."""

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    @property
    def active(self) -> int:
        """Generations that are running now."""
        return self._activity.active

    def status(self) -> BackendStatus:
        return self._activity.status()

    async def start(self) -> None:
        self._activity.begin()

    async def stop(self) -> None:
        self._activity.end()

    def generate(self, request: Request) -> AsyncGenerator[GenerationEvent, None]:
        return self._replay(request)

    def complete(self, request: CompletionRequest) -> AsyncGenerator[GenerationEvent, None]:
        return self._replay(request)

    async def _replay(self, request: Request | CompletionRequest) -> AsyncGenerator[GenerationEvent, None]:
        self.requests.append(request)
        script = self._scripts[min(len(self.requests), len(self._scripts)) - 1]
        self._activity.active += 1
        try:
            for step in script:
                self._activity.check()
                if isinstance(step, Pause):
                    await self._activity.pause(step.seconds)
                elif isinstance(step, TundishError):
                    raise step
                else:
                    yield step
        finally:
            self._activity.active -= 1
