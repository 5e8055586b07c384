"""A running endpoint: its server, its models, its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

from tundish.access.endpoint_file import EndpointRecord
from tundish.api.application import Application
from tundish.api.deployments import Deployments
from tundish.api.guard import Guard
from tundish.api.metrics import Metrics
from tundish.app.access import open_access
from tundish.app.announcement import record_of, url_of
from tundish.app.crew import Crew, check_all_remote, follow_objects
from tundish.app.library import open_library
from tundish.app.models import FindWeights, Models
from tundish.app.neighbours import Neighbours
from tundish.app.neighbours import parse as parse_neighbour
from tundish.app.records import Records
from tundish.app.site import SiteInForce
from tundish.app.site_objects import ConfiguredObjects
from tundish.catalog import fit
from tundish.catalog.hardware import Hardware
from tundish.config.loader import load
from tundish.config.site import SiteConfig
from tundish.core.clock import Clock, SystemClock
from tundish.deployments.fleet import Fleet
from tundish.deployments.spec import LoadRules
from tundish.dispatch.dispatcher import Dispatcher
from tundish.dispatch.settlement import Settlement
from tundish.engines import hardware
from tundish.http.server import HttpServer, Limits, ServerTls
from tundish.settings import EMBEDDED_MODEL, Settings, process_environment
from tundish.store.database import Database
from tundish.store.site_objects import SiteObjectStore

_LAST_WORDS_S = 2.0
"""For streams to be told why they end."""


class Endpoint:
    """An endpoint that listens; its models may still be loading."""

    def __init__(self, settings: Settings, *, clock: Clock, crew: Crew | None = None) -> None:
        """
        Args:
            settings: what to serve, where.
            clock: the time.
            crew: the processes that serve with this one; None when it is alone.

        Raises:
            InvalidSetting: a key that cannot be kept, a model that is not there.
            TlsUnusable: a certificate that cannot be used.
        """
        self._settings = settings
        self._clock = clock
        self._crew = crew
        self._models = Models(settings, open_library(settings, clock), clock=clock)
        self._named: Mapping[str, FindWeights] = {} if _is_configured_instead(settings) else self._models.named()
        self.access = open_access(settings)
        self.metrics = Metrics(worker=None if crew is None else crew.number)
        self.fleet = Fleet(
            budget_bytes=self._budget_bytes,
            clock=clock,
            rules=LoadRules(on_demand=settings.load_on_demand, queue_limit=settings.queue_limit),
        )
        database = Database(settings.store_file)
        self.records = Records(settings, database, None if crew is None else crew.marks)
        self._settlement = Settlement(observer=self.metrics, receipts=None, model_hash=self.fleet.weights_sha256)
        self.dispatcher = Dispatcher(
            backends=self.fleet.backends,
            settlement=self._settlement,
            conversations=self.records.conversations,
            clock=clock,
            welcoming=False,
        )
        self.site = SiteInForce(
            fleet=self.fleet,
            models=self._models,
            access=self.access,
            environment=process_environment(),
            swap=self.dispatcher.swap,
        )
        self._object_store = SiteObjectStore(database)
        self._objects = ConfiguredObjects(settings.config, self._object_store, self._put_in_force)
        neighbours = [parse_neighbour(given) for given in settings.servers]
        self._neighbours = Neighbours(neighbours, self.fleet, clock=clock)
        self._watching: list[asyncio.Task[None]] = []
        self._stop_asked = asyncio.Event()
        self._hurry = asyncio.Event()
        self.application = application = Application(
            dispatcher=self.dispatcher,
            keys=self.access.ring,
            guard=Guard(
                host=settings.host,
                allowed_hosts=settings.allowed_hosts,
                allowed_origins=settings.allowed_origins,
            ),
            metrics=self.metrics,
            stop=self.ask_to_stop if crew is None else crew.stop_all,
            clock=clock,
            deployments=None if crew is not None else Deployments(self.fleet, self._models.find_deployment),
            site_objects=self._objects,
            reload=self._reload_everywhere,
        )
        self._server = HttpServer(
            application,
            limits=Limits(body_bytes=settings.max_body_bytes),
            refuse=application.refuse,
            admit=application.admit,
            tls=None if settings.tls_cert is None else ServerTls(settings.tls_cert, settings.tls_key),
        )
        self.metrics.watch_connections(lambda: self._server.connections)
        self.url = ""

    def ask_to_stop(self) -> None:
        """Begin the graceful stop; asked again, end at once."""
        if self._stop_asked.is_set():
            self._hurry.set()
        self._stop_asked.set()

    async def stop_asked(self) -> None:
        """Wait until somebody wants the endpoint to stop."""
        await self._stop_asked.wait()

    async def listen(self) -> None:
        """Take the port; from now on `/healthz` answers.

        Raises:
            AddressInUse: somebody else has it.
        """
        settings = self._settings
        port = await self._server.listen(settings.host, settings.port, shared=self._crew is not None)
        self.url = url_of(self._settings, port)

    async def load(self) -> None:
        """Put the models to work: those that the settings name are loaded, the library's others wait for a request.

        Raises:
            ModelFileInvalid, DoesNotFit, ModelLoadFailed: one that was named cannot be; the others are given up.
        """
        config = await self._configuration()
        await self.records.open(config, self._settlement)
        await self._put_in_force(config)
        machine = await asyncio.to_thread(hardware.snapshot)
        for spec in await asyncio.to_thread(self._models.deployments, self._named, machine):
            self.fleet.add(spec)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._welcome(machine))
                for name in self.names:
                    group.create_task(self.fleet.load(name))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _welcome(self, machine: Hardware) -> None:
        """Take requests as soon as every model that there is has a name here."""
        if self._settings.serve_library and self._crew is None:
            taken = [*self._named, *self.fleet.backends]
            for spec in await asyncio.to_thread(self._models.on_demand, taken, machine):
                self.fleet.add(spec)
        await self._neighbours.look()
        self._watching.append(asyncio.create_task(self._neighbours.watch()))
        if self._crew is not None:
            following = follow_objects(self._object_store, lambda: self.site.version, self.reload)
            self._watching.append(asyncio.create_task(following))
        self.dispatcher.welcome_requests(needed=self.names)

    async def reload(self) -> tuple[str, tuple[str, ...]]:
        """Read the configuration again and put it in force; its version, and what is odd about it.

        Raises:
            ConfigInvalid: with everything that is wrong; the old one stays in force.
            TundishError: it cannot be put in force; likewise.
        """
        config = await self._objects.load()
        await self._put_in_force(config)
        return config.version, tuple(str(warning) for warning in config.warnings)

    async def _reload_everywhere(self) -> tuple[str, tuple[str, ...]]:
        told = await self.reload()
        if self._crew is not None:
            self._crew.reload_others()
        return told

    async def _put_in_force(self, config: SiteConfig) -> None:
        if self._crew is not None:
            check_all_remote(config)
        await self.site.put_in_force(config)
        self.records.follow(config)

    async def _configuration(self) -> SiteConfig:
        if self._settings.config is None and not self._settings.store_file.exists():
            return await asyncio.to_thread(load, None)
        return await self._objects.load()

    @property
    def names(self) -> Sequence[str]:
        """The models that are loaded from the start: those that the settings name, and pinned ones of the site."""
        return [*self._named, *self.site.pinned]

    def _budget_bytes(self) -> int:
        """What all models together may take: what is free now, and what they have."""
        return fit.budget_bytes(hardware.memory()) + self.fleet.memory_loaded_bytes

    def record(self) -> EndpointRecord:
        """How the commands of this machine reach it."""
        started_s = self._clock.now().timestamp()
        return record_of(self._settings, self.access, self.url, started_s=started_s)

    async def drain(self) -> None:
        """Refuse what is new, give what runs its time, then tell the rest why it ends."""
        self.dispatcher.refuse_new_requests()
        idle = asyncio.ensure_future(self._server.wait_idle(self._settings.drain_s))
        hurry = asyncio.ensure_future(self._hurry.wait())
        await asyncio.wait((idle, hurry), return_when=asyncio.FIRST_COMPLETED)
        for task in (idle, hurry):
            task.cancel()
        await asyncio.gather(idle, hurry, return_exceptions=True)

    async def close(self) -> None:
        """End everything: running answers are told that the endpoint stops."""
        self.dispatcher.refuse_new_requests()
        self._server.stop_accepting()
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        await self.fleet.stop()
        await self.site.close()
        await self._server.wait_idle(_LAST_WORDS_S)
        await self._server.close()
        await self.dispatcher.stop()
        await self.records.close()


def _is_configured_instead(settings: Settings) -> bool:
    """Whether the site's deployments take the place of the models that are loaded when nobody says anything."""
    return settings.config is not None and settings.models == (EMBEDDED_MODEL,)


@asynccontextmanager
async def endpoint(
    settings: Settings, *, clock: Clock | None = None, crew: Crew | None = None
) -> AsyncGenerator[Endpoint, None]:
    """An endpoint that listens while the context is entered; `load` makes its models usable. `crew`: see `Endpoint`.

    Raises:
        InvalidSetting, ModelNotFound, ModelNotCached, AddressInUse: it cannot be started.
    """
    running = Endpoint(settings, clock=clock or SystemClock(), crew=crew)
    await running.listen()
    try:
        yield running
    finally:
        await running.close()
