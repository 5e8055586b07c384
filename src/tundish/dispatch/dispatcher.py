"""From a model's name to a running generation, observed from its first event to its last."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from typing import Protocol

from tundish.core.backend import Backend, BackendStatus, Capabilities, Health
from tundish.core.clock import Clock
from tundish.core.errors import ModelNotFound, TundishError, Unavailable
from tundish.core.events import Finished, GenerationEvent, Usage
from tundish.core.request import CompletionRequest, Request


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model that clients can name."""

    name: str
    created_s: int
    """Unix time at which it was put to work."""
    owner: str
    capabilities: Capabilities | None
    """None until its backend is ready."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """What became of one request."""

    model: str
    outcome: str
    """`ok`, `cancelled` (the client went away) or an error's code."""
    duration_s: float
    time_to_first_token_s: float | None
    """None when nothing was generated."""
    usage: Usage | None
    """None unless the backend finished."""


class Observer(Protocol):
    """Told of every request; must be quick and must not raise."""

    def request_started(self, model: str) -> None:
        """A generation begins."""
        ...

    def request_ended(self, record: RequestRecord) -> None:
        """It ended, one way or another; called exactly once for each start."""
        ...


class Dispatcher:
    """Runs requests on the backends it was given; the mapping may change while it works."""

    def __init__(
        self, *, backends: Mapping[str, Backend], observer: Observer, clock: Clock, welcoming: bool = True
    ) -> None:
        """`welcoming`: whether requests are taken before `welcome_requests` is called."""
        self._backends = backends
        self._observer = observer
        self._clock = clock
        self._created_s = int(clock.now().timestamp())
        self._needed: Collection[str] | None = None
        self._unwelcome = None if welcoming else "This endpoint is starting. Send the request again in a moment."

    def models(self) -> Sequence[ServedModel]:
        """Every model that can be named, by name."""
        return [self._served(name, backend) for name, backend in sorted(self._backends.items())]

    def model(self, name: str) -> ServedModel:
        """One model.

        Raises:
            ModelNotFound: with the known names.
        """
        return self._served(name, self._backend(name))

    def status(self) -> Mapping[str, BackendStatus]:
        """Each model's backend, now."""
        return {name: backend.status() for name, backend in self._backends.items()}

    @property
    def ready(self) -> bool:
        """Whether new requests are welcome, and every model that is needed can be used or will be loaded for one."""
        return self._unwelcome is None and not self.unready()

    def unready(self) -> Mapping[str, BackendStatus]:
        """The needed models that cannot be used now."""
        needed = self._backends if self._needed is None else self._needed
        backends = {name: self._backends[name] for name in needed if name in self._backends}
        return {name: backend.status() for name, backend in backends.items() if not _is_usable(backend)}

    @property
    def unwelcome(self) -> str | None:
        """Why no request is taken now; None when requests are taken."""
        return self._unwelcome

    def welcome_requests(self, *, needed: Collection[str] | None = None) -> None:
        """From now on requests are taken; before, they get `Unavailable`, since the backends are not all known yet.

        `needed`: the models without which the endpoint is not ready; None is all.
        """
        self._needed = needed
        self._unwelcome = None

    def refuse_new_requests(self) -> None:
        """From now on new requests get `Unavailable`; running ones go on."""
        self._unwelcome = "This endpoint is shutting down. Send the request again when it is back."

    def generate(self, request: Request) -> AsyncGenerator[GenerationEvent, None]:
        """Answer a conversation; see `Backend.generate` for what it raises."""
        return self._observed(request.model, lambda backend: backend.generate(request))

    def complete(self, request: CompletionRequest) -> AsyncGenerator[GenerationEvent, None]:
        """Continue raw text; see `Backend.complete`."""
        return self._observed(request.model, lambda backend: backend.complete(request))

    async def _observed(
        self, model: str, begin: Callable[[Backend], AsyncGenerator[GenerationEvent, None]]
    ) -> AsyncGenerator[GenerationEvent, None]:
        if self._unwelcome is not None:
            raise Unavailable(self._unwelcome)
        backend = self._backend(model)
        self._observer.request_started(model)
        started_s = self._clock.monotonic_s()
        first_s: float | None = None
        usage: Usage | None = None
        outcome = "cancelled"
        try:
            async with aclosing(begin(backend)) as events:
                async for event in events:
                    if first_s is None:
                        first_s = self._clock.monotonic_s()
                    if isinstance(event, Finished):
                        usage = event.usage
                    yield event
            outcome = "ok"
        except TundishError as error:
            outcome = error.code
            raise
        except Exception:
            outcome = "internal_error"
            raise
        finally:
            if outcome == "cancelled" and usage is not None:
                outcome = "ok"  # the consumer stopped reading after the last event: nothing was cut short
            self._observer.request_ended(
                RequestRecord(
                    model=model,
                    outcome=outcome,
                    duration_s=self._clock.monotonic_s() - started_s,
                    time_to_first_token_s=None if first_s is None else first_s - started_s,
                    usage=usage,
                )
            )

    def _backend(self, name: str) -> Backend:
        backend = self._backends.get(name)
        if backend is None:
            raise ModelNotFound(model=name, known=list(self._backends))
        return backend

    def _served(self, name: str, backend: Backend) -> ServedModel:
        return ServedModel(
            name=name,
            created_s=self._created_s,
            owner="tundish",
            capabilities=backend.capabilities if _is_usable(backend) else None,
        )


def _is_usable(backend: Backend) -> bool:
    return backend.status().health in (Health.READY, Health.UNLOADED)
