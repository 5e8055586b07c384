"""What the dispatcher sees of a deployment: a backend like any other, although its engine comes and goes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from tundish.core.backend import Backend, BackendStatus, Capabilities
from tundish.core.errors import BackendStopped, Unavailable
from tundish.core.events import GenerationEvent
from tundish.core.request import CompletionRequest, Request
from tundish.deployments.deployment import Deployment


class DeployedBackend:
    """A `Backend` that is loaded for its requests, and kept while they run."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    @property
    def capabilities(self) -> Capabilities:
        capabilities = self._deployment.capabilities
        if capabilities is None:
            raise Unavailable(f"What the model '{self._deployment.name}' can do is known when it was loaded once.")
        return capabilities

    def status(self) -> BackendStatus:
        return self._deployment.status()

    def generate(self, request: Request) -> AsyncGenerator[GenerationEvent, None]:
        return self._loaded(request.keep_alive_s, lambda backend: backend.generate(request))

    def complete(self, request: CompletionRequest) -> AsyncGenerator[GenerationEvent, None]:
        return self._loaded(request.keep_alive_s, lambda backend: backend.complete(request))

    async def start(self) -> None:
        await self._deployment.load(keep_alive_s=None)

    async def stop(self) -> None:
        self._deployment.leave(reason="it was stopped", force=True)
        await self._deployment.left()

    async def _loaded(
        self, keep_alive_s: float | None, begin: Callable[[Backend], AsyncGenerator[GenerationEvent, None]]
    ) -> AsyncGenerator[GenerationEvent, None]:
        life = await self._deployment.acquire(keep_alive_s)
        try:
            async with aclosing(begin(life.backend)) as events:
                async for event in events:
                    yield event
        except BackendStopped as error:
            raise self._deployment.explain(life, error) from error
        finally:
            self._deployment.release(life)
