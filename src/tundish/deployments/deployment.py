"""One model's way into memory and out of it.

    UNLOADED → WAITING → LOADING → READY → (DRAINING →) UNLOADING → UNLOADED
                  └──────────┴───────┴─────────────────────┴──────→ FAILED

One task lives each such life through. Everything else only asks that task to end, and each change of state is made
before the next await, so that no request is ever given to a backend that is about to go.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import math

from tundish.core.backend import BackendStatus, Capabilities, Health
from tundish.core.clock import Clock
from tundish.core.errors import BackendStopped, ModelLoadFailed, TundishError
from tundish.deployments.alarm import Alarm
from tundish.deployments.backoff import Backoff
from tundish.deployments.errors import (
    DeploymentFailed,
    DeploymentNotLoaded,
    DeploymentUnloaded,
    InsufficientMemory,
    LoadCancelled,
    LoadQueueFull,
)
from tundish.deployments.life import Life
from tundish.deployments.load_estimate import LoadEstimate
from tundish.deployments.load_queue import LoadQueue
from tundish.deployments.memory import Hold, Memory
from tundish.deployments.sizes import in_words, part_in_words
from tundish.deployments.snapshot import DeploymentSnapshot, DeploymentState
from tundish.deployments.spec import DeploymentSpec, LoadRules, check_keep_alive

_log = logging.getLogger("tundish.deployments")

_TIMER_PRECISION_S = 1e-6


class Deployment:
    """A model that is loaded when it is asked for. It is a `Tenant` of `memory`."""

    def __init__(self, spec: DeploymentSpec, *, memory: Memory, rules: LoadRules, clock: Clock) -> None:
        self._spec = spec
        self._memory = memory
        self._rules = rules
        self._clock = clock
        self._state = DeploymentState.UNLOADED
        self._pinned = spec.pinned
        self._keep_alive_s = spec.keep_alive_s
        self._capabilities = spec.capabilities
        self._estimate = LoadEstimate(memory_bytes=spec.memory_bytes)
        self._backoff = Backoff(first_s=rules.backoff_first_s, limit_s=rules.backoff_limit_s, clock=clock)
        self._queue = LoadQueue()
        self._life: Life | None = None
        self._task: asyncio.Task[None] | None = None
        self._cancelled = False
        self._alarm = Alarm(self._expire, clock=clock)
        self._idle_since_s: float | None = None
        self._expires_at_s: float | None = None
        self._last_used_s = 0.0
        self._loads = 0
        self._retired: TundishError | None = None

    # --- as a tenant ---

    @property
    def weights_sha256(self) -> str:
        """Of what it runs; empty where it is not known."""
        return self._spec.weights_sha256()

    @property
    def name(self) -> str:
        """What clients call it."""
        return self._spec.name

    @property
    def memory_bytes(self) -> int:
        """What it takes when it is loaded."""
        return self._spec.memory_bytes

    @property
    def last_used_s(self) -> float:
        """When a request last began or ended, on the monotonic clock."""
        return self._last_used_s

    @property
    def is_loaded(self) -> bool:
        """Whether it has really taken its memory."""
        return self._life is not None and self._life.loaded

    @property
    def hold(self) -> Hold:
        """How firmly it holds its memory."""
        if self._state in (DeploymentState.DRAINING, DeploymentState.UNLOADING):
            return Hold.LEAVING
        if self._pinned:
            return Hold.PINNED
        if self._state is not DeploymentState.READY or self._life is None:
            return Hold.LOADING
        return Hold.GENERATING if self._life.running else Hold.IDLE

    # --- what requests do ---

    async def acquire(self, keep_alive_s: float | None) -> Life:
        """A life to generate with, loaded if need be; to be given back with `release`.

        Raises:
            DeploymentNotLoaded, DeploymentFailed, LoadQueueFull, InsufficientMemory: it will not be loaded now.
            ModelFileInvalid, ModelLoadFailed: loading failed.
            LoadCancelled, Unavailable: it was unloaded or removed meanwhile, or the endpoint stops.
        """
        check_keep_alive(keep_alive_s)
        life = self._usable_life()
        if life is not None:
            self._enter(life, keep_alive_s)
            return life
        self._check_may_load()
        return await self._wait_for_load(is_request=True, keep_alive_s=keep_alive_s)

    def release(self, life: Life) -> None:
        """The request has ended, however."""
        life.running -= 1
        if life is not self._life:
            return
        if self._backoff.suspicious and life.backend.status().health is Health.READY:
            self._backoff.proved()
        self._last_used_s = self._clock.monotonic_s()
        if life.running:
            return
        if self._state is DeploymentState.DRAINING:
            self.leave(reason="drained")
        elif self._state is DeploymentState.READY:
            self._rest()

    def explain(self, life: Life, error: BackendStopped) -> BackendStopped:
        """Why a request of `life` was ended by the backend's end."""
        if not life.forced:
            return error
        return DeploymentUnloaded(self.name) if self._retired is None else BackendStopped(self._retired.message)

    # --- what operators do ---

    async def load(self, *, keep_alive_s: float | None) -> None:
        """Load it now, whatever the rules say about requests; its keep-alive begins anew. Raises as `acquire` does."""
        check_keep_alive(keep_alive_s)
        life = self._usable_life()
        if life is None:
            self._backoff.trying()
            await self._wait_for_load(is_request=False, keep_alive_s=keep_alive_s)
            return
        if keep_alive_s is not None:
            self._keep_alive_s = keep_alive_s
        if not life.running:
            self._rest(awaited=True)

    def leave(self, *, reason: str, force: bool = False) -> None:
        """Begin to unload: after what it answers, or with `force` at once.

        A load in progress is given up and those who waited for it are told; who asks later waits for the next load.
        """
        state, life = self._state, self._life
        if state in (DeploymentState.WAITING, DeploymentState.LOADING) and self._task is not None:
            self._state = DeploymentState.UNLOADING
            self._queue.refuse(LoadCancelled(self.name, reason=reason))
            self._cancelled = True
            self._task.cancel()
        elif state in (DeploymentState.READY, DeploymentState.DRAINING) and life is not None:
            if state is DeploymentState.READY:
                _log.info("unloading %s: %s", self.name, reason)
            self._no_longer_idle()
            self._state = DeploymentState.UNLOADING if life.end(force=force) else DeploymentState.DRAINING
        elif state is DeploymentState.FAILED:
            self._state = DeploymentState.UNLOADED
            self._backoff.trying()

    async def left(self) -> None:
        """Wait until the life that it has now, if any, is over."""
        if self._task is not None:
            await asyncio.wait([self._task])
            await asyncio.sleep(0)  # until `_ended` was called too

    async def retire(self, error: TundishError, *, force: bool) -> None:
        """Unload it, and refuse everything with `error` from now on."""
        self._retired = error
        self._queue.refuse(error)
        self.leave(reason=error.message, force=force)
        await self.left()

    def pin(self, *, pinned: bool) -> None:
        """Whether it stays when it is idle, and when others need its memory."""
        self._pinned = pinned
        if self._idle_since_s is not None:
            self._schedule_end()
        self._memory.rebalance()

    # --- what can be seen ---

    @property
    def capabilities(self) -> Capabilities | None:
        """The backend's own once it was loaded; before that what is expected of it, None when nothing is."""
        return self._capabilities

    def status(self) -> BackendStatus:
        """As `Backend.status`."""
        state, life = self._state, self._life
        if state in (DeploymentState.READY, DeploymentState.DRAINING) and life is not None:
            status = life.backend.status()
            return dataclasses.replace(status, queued=status.queued + len(self._queue)) if self._queue else status
        health = {
            DeploymentState.WAITING: Health.STARTING,
            DeploymentState.LOADING: Health.STARTING,
            DeploymentState.FAILED: Health.FAILED,
        }.get(state, Health.UNLOADED)
        return BackendStatus(
            health=health if self._retired is None else Health.STOPPED,
            detail=self._detail(),
            queued=len(self._queue),
            queue_limit=self._rules.queue_limit,
            load_progress=self._progress(),
        )

    def snapshot(self) -> DeploymentSnapshot:
        """Everything about it, now."""
        life = self._life
        status = BackendStatus(health=Health.UNLOADED) if life is None else life.backend.status()
        now_s = self._clock.monotonic_s()
        return DeploymentSnapshot(
            name=self.name,
            state=self._state,
            detail=self._detail() or status.detail,
            memory_bytes=self.memory_bytes,
            pinned=self._pinned,
            running=0 if life is None else life.running,
            waiting=len(self._queue),
            queue_limit=self._rules.queue_limit,
            slots=status.slots,
            slots_queued=status.queued,
            keep_alive_s=self._keep_alive_s,
            idle_s=None if self._idle_since_s is None else now_s - self._idle_since_s,
            expires_in_s=None if self._expires_at_s is None else max(0.0, self._expires_at_s - now_s),
            loads=self._loads,
            restarts=status.restarts,
            capabilities=self._capabilities,
        )

    def _progress(self) -> float | None:
        if self._state is not DeploymentState.LOADING or self._life is None:
            return None
        return self._life.backend.status().load_progress

    def _detail(self) -> str:
        match self._state:
            case DeploymentState.WAITING:
                return self._memory.shortage(self)
            case DeploymentState.LOADING:
                progress = self._progress()
                size = in_words(self.memory_bytes) if progress is None else part_in_words(progress, self.memory_bytes)
                return f"loading: {size}, {self._loading_s():.0f} s so far"
            case DeploymentState.DRAINING:
                running = 0 if self._life is None else self._life.running
                return f"unloading after {running} running {'request' if running == 1 else 'requests'}"
            case DeploymentState.FAILED:
                return self._backoff.reason or ""
            case _:
                return ""

    def _loading_s(self) -> float:
        return 0.0 if self._life is None else self._clock.monotonic_s() - self._life.begun_s

    # --- waiting for a load ---

    def _usable_life(self) -> Life | None:
        """The life that takes requests now. One whose backend is gone for good is not replaced at once."""
        if self._retired is not None:
            raise self._retired.with_traceback(None)
        life = self._life
        if life is None or self._state is not DeploymentState.READY:
            return None
        if life.gone:
            self._backoff.failed(life.backend.status().detail or "its engine ended")
            self.leave(reason="its engine is gone")
            return None
        return life

    def _check_may_load(self) -> None:
        if self._state in (DeploymentState.WAITING, DeploymentState.LOADING):
            return
        if not self._rules.on_demand:
            raise DeploymentNotLoaded(self.name)
        reason, wait_s = self._backoff.reason, self._backoff.wait_s
        if reason is not None and wait_s > 0:
            raise DeploymentFailed(self.name, reason=reason, retry_after_s=wait_s)

    async def _wait_for_load(self, *, is_request: bool, keep_alive_s: float | None) -> Life:
        in_progress = self._state in (DeploymentState.WAITING, DeploymentState.LOADING)
        # The request for which it is loaded always has its place, else a limit of 0 would leave it unloaded for ever.
        if is_request and (in_progress or self._queue) and len(self._queue) >= self._rules.queue_limit:
            raise LoadQueueFull(
                self.name,
                detail=self._detail() or self._state.value,
                waiting=len(self._queue),
                retry_after_s=self._estimate.remaining_s(elapsed_s=self._loading_s(), progress=self._progress()),
            )
        waiter = self._queue.join(is_request=is_request, keep_alive_s=keep_alive_s)
        if self._state in (DeploymentState.UNLOADED, DeploymentState.FAILED):
            self._begin()
        try:
            return await waiter.loaded
        except asyncio.CancelledError:
            life = self._queue.withdraw(waiter)
            if life is not None and is_request:
                self.release(life)
            if not self._queue and self._state is DeploymentState.WAITING:
                self.leave(reason="nobody waits for it any more")
            raise

    # --- a life ---

    def _begin(self) -> None:
        self._state = DeploymentState.WAITING
        self._backoff.trying()
        self._cancelled = False
        self._task = asyncio.create_task(self._live(), name=f"deployment {self.name}")
        self._task.add_done_callback(self._ended)

    async def _live(self) -> None:
        await self._memory.reserve(self)
        try:
            await self._serve()
        finally:
            self._memory.free(self)

    async def _serve(self) -> None:
        self._state = DeploymentState.LOADING
        life = Life(self._spec.make(), begun_s=self._clock.monotonic_s())
        self._life = life
        try:
            await life.backend.start()
            if self._state is DeploymentState.LOADING:
                self._ready(life)
                await life.over()
        finally:
            self._state = DeploymentState.UNLOADING
            self._no_longer_idle()
            self._alarm.cancel()
            await life.stop()
            self._life = None

    def _ready(self, life: Life) -> None:
        self._state = DeploymentState.READY
        life.loaded = True
        self._loads += 1
        self._capabilities = life.backend.capabilities
        self._estimate.loaded_in(self._loading_s())
        _log.info("loaded %s in %.1f s", self.name, self._loading_s())
        self._last_used_s = self._clock.monotonic_s()
        waiters = self._queue.take()
        for waiter in waiters:
            if waiter.is_request:
                self._enter(life, waiter.keep_alive_s)
            elif waiter.keep_alive_s is not None:
                self._keep_alive_s = waiter.keep_alive_s
            waiter.loaded.set_result(life)
        if life.running:
            self._memory.rebalance()
        else:
            # Whoever loads it by hand wants it for a request to come, although it may not stay after that one.
            self._rest(awaited=len(waiters) > 0)

    def _ended(self, task: asyncio.Task[None]) -> None:
        # A callback and not the task's last lines: a task that is cancelled before its first step runs none of them.
        self._keep_alive_s = self._spec.keep_alive_s
        error = self._error_of(task)
        if error is not None:
            if not isinstance(error, InsufficientMemory | BackendStopped):
                self._backoff.failed(error.message)
            self._queue.refuse(error)
        self._state = DeploymentState.UNLOADED if self._backoff.reason is None else DeploymentState.FAILED
        if self._queue.wanted:
            self._begin()

    def _error_of(self, task: asyncio.Task[None]) -> TundishError | None:
        if task.cancelled():
            # When nobody here asked for that, the event loop is being closed.
            return None if self._cancelled else BackendStopped("This endpoint is shutting down.")
        error = task.exception()
        if error is None or isinstance(error, TundishError):
            return error
        _log.error("loading %s failed", self.name, exc_info=error)
        return ModelLoadFailed(f"The model '{self.name}' cannot be loaded: {error or type(error).__name__}.")

    # --- between requests ---

    def _enter(self, life: Life, keep_alive_s: float | None) -> None:
        self._no_longer_idle()
        life.running += 1
        self._last_used_s = self._clock.monotonic_s()
        if keep_alive_s is not None:
            self._keep_alive_s = keep_alive_s

    def _rest(self, *, awaited: bool = False) -> None:
        """Nobody uses it now. `awaited`: a request is expected, a keep-alive of 0 does not end it before that."""
        self._idle_since_s = self._last_used_s = self._clock.monotonic_s()
        if not awaited or self._keep_alive_s > 0:
            self._schedule_end()
        self._memory.rebalance()

    def _schedule_end(self) -> None:
        self._expires_at_s = None
        if self._idle_since_s is not None and not self._pinned and self._keep_alive_s != math.inf:
            self._expires_at_s = self._idle_since_s + self._keep_alive_s
            self._expire()

    def _expire(self) -> None:
        """Unload it if its keep-alive is over, look again when it will be."""
        if self._expires_at_s is None:
            return
        if self._clock.monotonic_s() >= self._expires_at_s - _TIMER_PRECISION_S:
            self.leave(reason="idle")
        else:
            self._alarm.ring_by(self._expires_at_s)

    def _no_longer_idle(self) -> None:
        self._idle_since_s = self._expires_at_s = None
