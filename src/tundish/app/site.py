"""The configured site in force, and how another takes its place while requests run."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from tundish.access.keys import KeyRing, Principal, Role
from tundish.app.access import Access
from tundish.app.backends import Backends
from tundish.app.models import Models
from tundish.app.remotes import make_remote
from tundish.catalog.hardware import Hardware
from tundish.config.secrets import resolve
from tundish.config.site import LocalSpec, RemoteSpec, SiteConfig
from tundish.core.backend import Backend
from tundish.core.errors import TundishError
from tundish.deployments.fleet import Fleet
from tundish.deployments.spec import DeploymentSpec
from tundish.dispatch.site import Site
from tundish.engines import hardware
from tundish.policy.policy import Policy
from tundish.routing.table import RoutingTable
from tundish.settings import InvalidSetting

_log = logging.getLogger("tundish.site")

_DRAIN_LOOK_S = 0.05


@dataclasses.dataclass(frozen=True, slots=True)
class _Remote:
    spec: RemoteSpec
    backend: Backend


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """A site that could be put in force."""

    remotes: Mapping[str, _Remote]
    fresh: Sequence[Backend]
    """Those of them that are not at work yet."""
    locals: Mapping[str, LocalSpec]
    local_specs: Sequence[DeploymentSpec]
    """Those of them that the fleet does not have."""
    context_lengths: Mapping[str, int | None]
    """What each of them really gets."""
    ring: KeyRing


class SiteInForce:
    """Puts sites in force, one at a time: prepared as a whole, then swapped. A site that cannot be prepared changes
    nothing."""

    def __init__(
        self,
        *,
        fleet: Fleet,
        models: Models,
        access: Access,
        environment: Mapping[str, str],
        swap: Callable[[Site], None],
    ) -> None:
        """
        Args:
            fleet: where its local deployments go.
            models: what those are made of.
            access: the owner's key stays good beside the configured ones.
            environment: where secrets may be.
            swap: makes new requests see a site.
        """
        self._fleet = fleet
        self._models = models
        self._access = access
        self._environment = environment
        self._swap = swap
        self._changing = asyncio.Lock()
        self._remotes: Mapping[str, _Remote] = {}
        self._locals: Mapping[str, LocalSpec] = {}
        self._context_lengths: Mapping[str, int | None] = {}
        self._draining: set[asyncio.Task[None]] = set()
        self.config: SiteConfig | None = None
        """The one in force."""

    async def put_in_force(self, config: SiteConfig) -> None:
        """Make it the site that new requests see; running ones end at the old one.

        Backends whose description did not change stay as they are, with their connections. Those that are gone end
        when their last request has.

        Raises:
            TundishError: it cannot be; the old one stays in force.
        """
        async with self._changing:
            prepared = await asyncio.to_thread(self._prepare, config)
            for backend in prepared.fresh:
                await backend.start()
            gone = [kept.backend for name, kept in self._remotes.items() if prepared.remotes.get(name) != kept]
            await self._change_fleet(prepared)
            self._remotes, self._locals = prepared.remotes, prepared.locals
            self._context_lengths = prepared.context_lengths
            backends = Backends({name: kept.backend for name, kept in prepared.remotes.items()}, self._fleet.backends)
            table = _with_context_lengths(config.table, prepared.context_lengths)
            self._swap(Site(table=table, backends=backends, rules=config.rules))
            if not self._access.ring.is_open:
                self._access.ring.replace(prepared.ring)
            self.config = config
            for backend in gone:
                self._in_background(_drain(backend))
        for warning in config.warnings:
            _log.warning("%s", warning)
        _log.info("the site is %s", config.version[:12])

    @property
    def version(self) -> str | None:
        """Of the configuration in force; None before there is one."""
        return None if self.config is None else self.config.version

    @property
    def pinned(self) -> Sequence[str]:
        """The local deployments that are to be loaded from the start."""
        return [name for name, spec in self._locals.items() if spec.pinned]

    async def close(self) -> None:
        """End every connection to other places."""
        for task in self._draining:
            task.cancel()
        await asyncio.gather(*self._draining, return_exceptions=True)
        await asyncio.gather(*(kept.backend.stop() for kept in self._remotes.values()))

    def _prepare(self, config: SiteConfig) -> _Prepared:
        """In a thread: reads model files and secrets."""
        remotes: dict[str, _Remote] = {}
        fresh: list[Backend] = []
        locals_: dict[str, LocalSpec] = {}
        for name, spec in config.backends.items():
            if isinstance(spec, LocalSpec):
                locals_[name] = spec
                continue
            kept = self._remotes.get(name)
            if kept is None or kept.spec != spec:
                kept = _Remote(spec, make_remote(name, spec, self._environment))
                fresh.append(kept.backend)
            remotes[name] = kept
        machine = hardware.snapshot() if locals_ else None
        wanted = [name for name, spec in locals_.items() if self._locals.get(name) != spec]
        planned = [self._local(name, locals_[name], machine) for name in wanted if machine is not None]
        lengths = {name: length for name, length in self._context_lengths.items() if name in locals_}
        lengths |= {plan.name: plan.capabilities.context_length for plan in planned if plan.capabilities is not None}
        return _Prepared(
            remotes=remotes,
            fresh=fresh,
            locals=locals_,
            local_specs=planned,
            context_lengths=lengths,
            ring=self._ring(config),
        )

    def _local(self, name: str, spec: LocalSpec, machine: Hardware) -> DeploymentSpec:
        wishes = self._models.wishes
        given = {
            field: value
            for field in ("context_length", "slots", "threads", "gpu_layers")
            if (value := getattr(spec, field)) is not None
        }
        found = self._models.find_weights(spec.model)
        planned = self._models.deployment(name, found, machine, dataclasses.replace(wishes, **given))
        keep_alive_s = math.inf if spec.pinned else spec.keep_alive_s
        if keep_alive_s is not None:
            planned = dataclasses.replace(planned, keep_alive_s=keep_alive_s)
        return dataclasses.replace(planned, pinned=spec.pinned)

    async def _change_fleet(self, prepared: _Prepared) -> None:
        replaced = {spec.name for spec in prepared.local_specs}
        for name in self._locals:
            if name not in prepared.locals or name in replaced:
                self._in_background(self._fleet.remove(name))
        await asyncio.sleep(0)  # removals take the names away at once, and wait for what runs in their tasks
        for spec in prepared.local_specs:
            if spec.name in self._fleet.backends:  # from the library, under its own name: the configured one counts
                self._in_background(self._fleet.remove(spec.name))
                await asyncio.sleep(0)
            self._fleet.add(spec)

    def _ring(self, config: SiteConfig) -> KeyRing:
        access = self._access
        keys = {} if access.key is None else {access.key_id: access.key}
        principals = {access.key_id: Principal(key_id=access.key_id, role=Role.OWNER)}
        for key_id, spec in config.keys.items():
            project = config.projects.get(spec.project)
            classes = {"key": spec.data_class, "project": None if project is None else project.data_class}
            key = resolve(spec.key, self._environment).reveal()
            if key in keys.values():
                raise InvalidSetting(f"keys.{key_id}: the same key has another name, too. Whose request would it be?")
            keys[key_id] = key
            principals[key_id] = Principal(
                key_id=key_id, project=spec.project, data_class=_highest(config.policy, classes)
            )
        return KeyRing(keys, principals)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(_logged(work))
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except TundishError as error:
        _log.info("%s", error)  # an operator was faster


def _highest(policy: Policy, claims: Mapping[str, str | None]) -> str | None:
    made = {source: claimed for source, claimed in claims.items() if claimed is not None}
    return policy.highest(made) if made else None


def _with_context_lengths(table: RoutingTable, lengths: Mapping[str, int | None]) -> RoutingTable:
    """The table with what its local deployments really get, where the configuration leaves it open."""
    deployments = dict(table.deployments)
    for name, length in lengths.items():
        known = deployments[name]
        if known.capabilities.context_length is None:
            capabilities = dataclasses.replace(known.capabilities, context_length=length)
            deployments[name] = dataclasses.replace(known, capabilities=capabilities)
    return dataclasses.replace(table, deployments=deployments)


async def _drain(backend: Backend) -> None:
    """Stop it when its last request has ended; requests that came before the swap may still choose it for a moment."""
    await asyncio.sleep(_DRAIN_LOOK_S)
    while True:
        status = backend.status()
        if not status.slots_busy and not status.queued:
            break
        await asyncio.sleep(_DRAIN_LOOK_S)
    await backend.stop()
