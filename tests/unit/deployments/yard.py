"""A fleet of backends that the test holds by the hand: when each has loaded, answers and stops is the test's to say."""

from __future__ import annotations

import asyncio
import collections
import datetime
from collections.abc import AsyncGenerator

from tundish.core.backend import BackendStatus, Capabilities, Health
from tundish.core.clock import FixedClock
from tundish.core.errors import BackendStopped, Unavailable
from tundish.core.events import Finished, GenerationEvent, TextDelta, Usage
from tundish.core.request import CompletionRequest, Request, UserMessage
from tundish.deployments.fleet import Fleet
from tundish.deployments.snapshot import DeploymentState
from tundish.deployments.spec import DeploymentSpec, LoadRules

GB = 10**9


class HandledBackend:
    """Loads when `may_start` is set, answers when `may_finish` is, stops when `may_stop` is."""

    def __init__(self, *, starts: bool, finishes: bool, stops: bool, error: Exception | None) -> None:
        self.may_start, self.may_finish, self.may_stop = asyncio.Event(), asyncio.Event(), asyncio.Event()
        for event, at_once in ((self.may_start, starts), (self.may_finish, finishes), (self.may_stop, stops)):
            if at_once:
                event.set()
        self.error = error
        self.health = Health.STARTING
        self.detail = ""
        self.progress: float | None = None
        self.stubborn = False
        """Whether it starts even when that is cancelled."""
        self.starts = 0
        self.stops = 0
        self.active = 0
        self.gone = False
        self.cut_short = 0
        """Generations that it could not finish since it was stopped."""
        self._stopped = asyncio.Event()

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(context_length=2048)

    def status(self) -> BackendStatus:
        return BackendStatus(
            health=self.health, detail=self.detail, slots=4, slots_busy=self.active, load_progress=self.progress
        )

    def generate(self, request: Request) -> AsyncGenerator[GenerationEvent, None]:
        return self._answer()

    def complete(self, request: CompletionRequest) -> AsyncGenerator[GenerationEvent, None]:
        return self._answer()

    async def _answer(self) -> AsyncGenerator[GenerationEvent, None]:
        if self.health is Health.FAILED:
            raise Unavailable("its engine is gone")
        if self.health is Health.STOPPED:
            self.cut_short += 1
            raise BackendStopped("stopped")
        assert self.health is Health.READY, f"a request was given to a backend that is {self.health}"
        self.active += 1
        try:
            yield TextDelta("so")
            ends = [asyncio.ensure_future(event.wait()) for event in (self.may_finish, self._stopped)]
            try:
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for end in ends:
                    end.cancel()
            if self._stopped.is_set():
                raise BackendStopped("stopped")
            yield Finished(Usage(prompt_tokens=1, completion_tokens=1))
        finally:
            self.active -= 1

    async def start(self) -> None:
        self.starts += 1
        try:
            await self.may_start.wait()
        except asyncio.CancelledError:
            if not self.stubborn:
                raise
        if self.error is not None:
            raise self.error
        self.health = Health.READY

    async def stop(self) -> None:
        self.stops += 1
        self.cut_short += self.active
        self.health = Health.STOPPED
        self._stopped.set()
        await self.may_stop.wait()
        self.gone = True


class Yard:
    """The fleet, its clock, and every backend that was ever made."""

    def __init__(self, *, budget_bytes: int = 100 * GB, rules: LoadRules | None = None) -> None:
        self.clock = FixedClock(datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC))
        self.budget_bytes = budget_bytes
        self.fleet = Fleet(budget_bytes=lambda: self.budget_bytes, clock=self.clock, rules=rules)
        self.made: collections.defaultdict[str, list[HandledBackend]] = collections.defaultdict(list)
        self.starts_at_once = self.finishes_at_once = self.stops_at_once = True
        """What new backends do without being told."""
        self.error: Exception | None = None
        """What the next ones fail to load with."""

    def add(
        self,
        name: str,
        *,
        size_gb: float = 10,
        keep_alive_s: float = 300.0,
        pinned: bool = False,
        capabilities: Capabilities | None = None,
    ) -> None:
        def make() -> HandledBackend:
            backend = HandledBackend(
                starts=self.starts_at_once, finishes=self.finishes_at_once, stops=self.stops_at_once, error=self.error
            )
            self.made[name].append(backend)
            return backend

        self.fleet.add(
            DeploymentSpec(
                name=name,
                make=make,
                memory_bytes=int(size_gb * GB),
                keep_alive_s=keep_alive_s,
                pinned=pinned,
                capabilities=capabilities,
            )
        )

    def backend(self, name: str) -> HandledBackend:
        """The newest one of that name."""
        return self.made[name][-1]

    def ask(self, name: str, *, keep_alive_s: float | None = None) -> asyncio.Task[list[GenerationEvent]]:
        """A request that goes its way by itself."""
        return asyncio.ensure_future(self.answer(name, keep_alive_s))

    async def answer(self, name: str, keep_alive_s: float | None) -> list[GenerationEvent]:
        request = Request(model=name, messages=(UserMessage(text="?"),), keep_alive_s=keep_alive_s)
        return [event async for event in self.fleet.backends[name].generate(request)]

    async def answered(self, *names: str) -> None:
        """Ask each, one after the other, and let everything that follows from it happen."""
        for name in names:
            await self.ask(name)
            await self.settle()

    async def pass_time(self, seconds: float) -> None:
        await self.settle()  # whoever is about to sleep does so before the time passes
        self.clock.advance(seconds)
        await self.settle()

    @staticmethod
    async def settle() -> None:
        """Let everything happen that can happen without the clock or the test."""
        for _ in range(40):
            await asyncio.sleep(0)

    def state(self, name: str) -> DeploymentState:
        return self.fleet.deployment(name).state

    def loaded(self) -> list[str]:
        return [each.name for each in self.fleet.deployments() if each.state is DeploymentState.READY]
