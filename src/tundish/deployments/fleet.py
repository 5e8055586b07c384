"""All deployments of this machine: added, loaded, pinned, unloaded and removed while others work on."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Mapping, Sequence

from tundish.core.backend import Backend
from tundish.core.clock import Clock
from tundish.core.errors import ModelNotFound, Unavailable
from tundish.deployments.deployed_backend import DeployedBackend
from tundish.deployments.deployment import Deployment
from tundish.deployments.errors import DeploymentExists
from tundish.deployments.memory import Memory
from tundish.deployments.snapshot import DeploymentSnapshot, MemorySnapshot
from tundish.deployments.spec import DeploymentSpec, LoadRules


class Fleet:
    """Puts models to work within `budget_bytes`: what all of them together may take, asked whenever it matters."""

    def __init__(self, *, budget_bytes: Callable[[], int], clock: Clock, rules: LoadRules | None = None) -> None:
        self._rules = rules or LoadRules()
        self._clock = clock
        self._memory = Memory(budget_bytes=budget_bytes, patience_s=self._rules.patience_s, clock=clock)
        self._deployments: dict[str, Deployment] = {}
        self._leaving: dict[Deployment, asyncio.Task[None]] = {}
        self._backends: dict[str, Backend] = {}
        self._stopping = False

    @property
    def backends(self) -> Mapping[str, Backend]:
        """Each deployment by its name, as the dispatcher takes it; changes with what is added and removed."""
        return types.MappingProxyType(self._backends)

    def weights_sha256(self, name: str) -> str:
        """The SHA-256 of what a deployment runs; empty where it is not known, or there is no such deployment."""
        deployment = self._deployments.get(name)
        return "" if deployment is None else deployment.weights_sha256

    def add(self, spec: DeploymentSpec) -> Backend:
        """A new deployment, not loaded yet.

        Raises:
            DeploymentExists: the name is taken.
            Unavailable: the endpoint stops.
        """
        if self._stopping:
            raise _shutting_down()
        if spec.name in self._deployments:
            raise DeploymentExists(spec.name)
        deployment = Deployment(spec, memory=self._memory, rules=self._rules, clock=self._clock)
        backend = DeployedBackend(deployment)
        self._deployments[spec.name] = deployment
        self._backends[spec.name] = backend
        return backend

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Forget a deployment; return when its last request has ended (with `force`: at once) and it is unloaded.

        A caller that is cancelled stops waiting, the removal goes on.

        Raises:
            ModelNotFound: there is none.
        """
        deployment = self._named(name)
        del self._deployments[name], self._backends[name]
        removed = Unavailable(f"The model '{name}' was removed.")
        removal = asyncio.create_task(deployment.retire(removed, force=force), name=f"removal of {name}")
        self._leaving[deployment] = removal
        removal.add_done_callback(lambda _: self._leaving.pop(deployment))
        await asyncio.wait([removal])

    async def load(self, name: str, *, keep_alive_s: float | None = None) -> DeploymentSnapshot:
        """Load it and return when that is done; `keep_alive_s` counts until it is unloaded again.

        Raises:
            ModelNotFound: there is none.
            InsufficientMemory: it does not fit beside what is pinned.
            ModelFileInvalid, ModelLoadFailed: it cannot be loaded, with the reason.
            LoadCancelled: somebody unloaded it meanwhile.
        """
        deployment = self._named(name)
        await deployment.load(keep_alive_s=keep_alive_s)
        return deployment.snapshot()

    async def unload(self, name: str, *, force: bool = False) -> DeploymentSnapshot:
        """Unload it when its running requests have ended, or end them with `force`; return when it is out of memory.

        A load in progress is given up. A caller that is cancelled stops waiting, the unloading goes on.

        Raises:
            ModelNotFound: there is none.
        """
        deployment = self._named(name)
        deployment.leave(reason="an operator unloaded it", force=force)
        await deployment.left()
        return deployment.snapshot()

    def pin(self, name: str) -> DeploymentSnapshot:
        """Keep it in memory, once it is loaded, until an operator unloads it. Raises ModelNotFound."""
        return self._set_pinned(name, pinned=True)

    def unpin(self, name: str) -> DeploymentSnapshot:
        """Let it go when it is idle. Raises ModelNotFound."""
        return self._set_pinned(name, pinned=False)

    def deployment(self, name: str) -> DeploymentSnapshot:
        """One deployment, now. Raises ModelNotFound."""
        return self._named(name).snapshot()

    def deployments(self) -> Sequence[DeploymentSnapshot]:
        """All of them by name, now; those that are removed but not gone yet are among them."""
        every = [*self._deployments.values(), *self._leaving]
        return [deployment.snapshot() for deployment in sorted(every, key=lambda deployment: deployment.name)]

    def memory(self) -> MemorySnapshot:
        """What they share."""
        return self._memory.snapshot()

    @property
    def memory_loaded_bytes(self) -> int:
        """What those hold that have really taken it. A budget from what is free now: that, and this."""
        return self._memory.loaded_bytes

    async def stop(self) -> None:
        """End everything at once: running answers raise BackendStopped, waiting requests Unavailable."""
        self._stopping = True
        every = [*self._deployments.values(), *self._leaving]
        await asyncio.gather(*(deployment.retire(_shutting_down(), force=True) for deployment in every))
        if self._leaving:
            await asyncio.wait(self._leaving.values())

    def _named(self, name: str) -> Deployment:
        deployment = self._deployments.get(name)
        if deployment is None:
            raise ModelNotFound(model=name, known=list(self._deployments))
        return deployment

    def _set_pinned(self, name: str, *, pinned: bool) -> DeploymentSnapshot:
        deployment = self._named(name)
        deployment.pin(pinned=pinned)
        return deployment.snapshot()


def _shutting_down() -> Unavailable:
    return Unavailable("This endpoint is shutting down. Send the request again when it is back.")
