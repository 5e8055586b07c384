"""Pull: a model's files, from wherever the card says, into the cache, wholly or not at all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from tundish.catalog.cache import Cache, CachedModel
from tundish.catalog.card import ModelCard, ModelKey, Variant
from tundish.catalog.errors import DiskFull, ModelBusy, from_os_error
from tundish.catalog.manifest import HashBasis, Manifest, Pin, PlacedFile
from tundish.core.clock import Clock
from tundish.sources.download import Arrived, Watcher, download
from tundish.sources.errors import Offline, WrongContent
from tundish.sources.hub import Hub
from tundish.sources.plan import PlannedFile, changed, make_plan
from tundish.sources.progress import Meter, OnEvent, PullFinished, PullNote, PullStarted, PullWaiting
from tundish.sources.retry import RetryPolicy
from tundish.sources.transport import Transport, shown

_POLL_S = 0.25
_SPARE_BYTES = 64 * 1024 * 1024
"""Left free on the disk: manifests, and other programs."""


RoomCheck: TypeAlias = Callable[[Meter], None]


class Puller:
    """Fetches models into `cache`; at most `concurrency` files of one model at the same time."""

    def __init__(
        self,
        *,
        cache: Cache,
        http: Transport,
        hub: Hub,
        clock: Clock,
        offline: bool = False,
        policy: RetryPolicy | None = None,
        concurrency: int = 4,
    ) -> None:
        self._cache, self._http, self._hub, self._clock = cache, http, hub, clock
        self._offline = offline
        self._policy = policy or RetryPolicy()
        self._concurrency = concurrency

    async def pull(self, card: ModelCard, variant: Variant, on_event: OnEvent, *, update: bool = False) -> CachedModel:
        """Have `variant` in the cache, fetching what is missing. A second pull of the same waits for the first.

        `update`: ask the source even if the model is here, and take what it has now even if that is not what was
        pinned.

        Raises:
            Offline, SourceRefused, SourceUnreachable, WrongContent, RemoteChanged: nothing was placed.
            DiskFull, CacheUnavailable: nothing was placed; what has arrived is kept.
        """
        key = ModelKey.of(card, variant)
        if not update and (here := self._cache.whole(key)):
            on_event(PullFinished(model=str(key), size_bytes=here.manifest.size_bytes, fetched=False))
            return here
        async with self._turn(key, on_event):
            here = self._cache.whole(key)
            fetched = here is None or update
            if here is None or update:
                here = await self._fetch(key, card, variant, on_event, update=update)
        on_event(PullFinished(model=str(key), size_bytes=here.manifest.size_bytes, fetched=fetched))
        return here

    @contextlib.asynccontextmanager
    async def _turn(self, key: ModelKey, on_event: OnEvent) -> AsyncGenerator[None]:
        """The lock; meanwhile, whoever has it is fetching for us too."""
        stack = contextlib.ExitStack()
        while True:
            try:
                stack.enter_context(self._cache.locked(key))
                break
            except ModelBusy:
                arrived = self._cache.contents().partial.get(key, 0)
                on_event(PullWaiting(model=str(key), arrived_bytes=arrived))
                await asyncio.sleep(_POLL_S)
        with stack:
            yield

    async def _fetch(
        self, key: ModelKey, card: ModelCard, variant: Variant, on_event: OnEvent, *, update: bool
    ) -> CachedModel:
        if not update and (recovered := self._cache.recover(key)):
            return recovered
        if self._offline:
            raise Offline(f"the source of {key}")
        pins: Mapping[str, Pin] = {} if update else self._cache.pins(key)
        plan = await make_plan(key, variant, http=self._http, hub=self._hub, pins=pins)
        keep = {place for file in plan for place in (_file_place(file), _note_place(file))}
        staging = self._cache.staging(key, keep)
        meter = Meter(self._clock, on_event)
        for file in plan:
            arrived_bytes = _size_bytes(staging / _file_place(file))
            meter.expect(file.path, file.request.size_bytes, arrived_bytes=arrived_bytes)
        self._require_room(meter)
        on_event(
            PullStarted(
                model=str(key),
                files=len(plan),
                total_bytes=meter.total_bytes,
                arrived_bytes=meter.arrived_bytes,
            )
        )
        try:
            arrived = await self._download_all(key, plan, staging, meter, on_event, pins)
        except OSError as error:
            raise from_os_error(error, self._cache.root) from error
        self._pin(key, plan, arrived)
        return self._cache.publish(self._manifest(card, variant, plan, arrived))

    async def _download_all(
        self,
        key: ModelKey,
        plan: Sequence[PlannedFile],
        staging: Path,
        meter: Meter,
        on_event: OnEvent,
        pins: Mapping[str, Pin],
    ) -> Mapping[str, Arrived]:
        places = asyncio.Semaphore(self._concurrency)
        arrived: dict[str, Arrived] = {}

        async def fetch(file: PlannedFile) -> None:
            watcher = _FileWatcher(file.path, meter, on_event, self._require_room)
            path, note = staging / _file_place(file), staging / _note_place(file)
            async with places:
                try:
                    arrived[file.path] = await download(
                        file.transport, file.request, path, note, policy=self._policy, watcher=watcher
                    )
                except WrongContent as error:
                    if file.basis is HashBasis.PINNED and file.path in pins:
                        pin = pins[file.path]
                        raise changed(key, file.path, required=pin.sha256, found="another", pin=pin) from error
                    raise

        try:
            async with asyncio.TaskGroup() as group:
                for file in plan:
                    group.create_task(fetch(file))
        except BaseExceptionGroup as failures:
            # The first one ended the others; it is what the user must know.
            raise failures.exceptions[0] from None
        return arrived

    def _require_room(self, meter: Meter) -> None:
        missing = (meter.total_bytes or 0) - meter.arrived_bytes
        free = self._cache.free_bytes()
        if missing > 0 and free < missing + _SPARE_BYTES:
            raise DiskFull(self._cache.root, needed_bytes=missing + _SPARE_BYTES, free_bytes=free)

    def _pin(self, key: ModelKey, plan: Sequence[PlannedFile], arrived: Mapping[str, Arrived]) -> None:
        today = self._clock.now().date().isoformat()
        pins = {
            file.path: Pin(sha256=arrived[file.path].sha256, size_bytes=arrived[file.path].size_bytes, pinned_at=today)
            for file in plan
            if file.basis is not HashBasis.CARD
        }
        if pins:
            self._cache.pin(key, {**pins, **self._unchanged(key, pins)})

    def _unchanged(self, key: ModelKey, pins: Mapping[str, Pin]) -> Mapping[str, Pin]:
        """Pins that say the same as before keep their date."""
        before = self._cache.pins(key)
        return {path: pin for path, pin in before.items() if path in pins and pins[path].sha256 == pin.sha256}

    def _manifest(
        self, card: ModelCard, variant: Variant, plan: Sequence[PlannedFile], arrived: Mapping[str, Arrived]
    ) -> Manifest:
        files = tuple(
            PlacedFile(
                path=file.path,
                size_bytes=arrived[file.path].size_bytes,
                sha256=arrived[file.path].sha256,
                basis=file.basis,
                url=shown(file.request.url),
            )
            for file in plan
        )
        now = self._clock.now().isoformat(timespec="seconds")
        return Manifest(card=card.only(variant), files=files, origin="pulled", placed_at=now)


class _FileWatcher(Watcher):
    def __init__(self, path: str, meter: Meter, on_event: OnEvent, require_room: RoomCheck) -> None:
        self._path, self._meter, self._on_event, self._require_room = path, meter, on_event, require_room

    def size_known(self, size_bytes: int) -> None:
        self._meter.expect(self._path, size_bytes)
        self._require_room(self._meter)

    def arrived(self, total_bytes: int) -> None:
        self._meter.arrived(self._path, total_bytes)

    def note(self, text: str) -> None:
        self._on_event(PullNote(text=text))


def _file_place(file: PlannedFile) -> str:
    return f"files/{file.path}"


def _note_place(file: PlannedFile) -> str:
    return f"progress/{file.path.replace('/', '@')}.json"


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
