"""Everything that can happen to a fleet, in any order, with a random number of the event loop's steps in between."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tundish.core.backend import Health
from tundish.core.errors import ModelLoadFailed, TundishError
from tundish.deployments.spec import LoadRules

from .yard import GB, HandledBackend, Yard

BUDGET_GB = 20
SIZES_GB = {"small": 4, "middle": 9, "other": 9, "large": 16, "too large": 21}
NAMES = st.sampled_from(sorted(SIZES_GB))
KEEP_ALIVES = st.sampled_from([None, 0.0, 5.0, math.inf])
STEPS = st.integers(0, 6)


class FleetStorm(RuleBasedStateMachine):
    """A fleet, its clients and its operators."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.yard = Yard(budget_bytes=BUDGET_GB * GB, rules=LoadRules(queue_limit=3, patience_s=10))
        self.yard.finishes_at_once = False
        for name, size_gb in SIZES_GB.items():
            self.yard.add(name, size_gb=size_gb, keep_alive_s=20)
        self.tasks: list[asyncio.Future[object]] = []
        self.may_be_cut: set[HandledBackend] = set()

    @initialize(starts=st.booleans(), stops=st.booleans())
    def choose_how_slow(self, starts: bool, stops: bool) -> None:
        self.yard.starts_at_once, self.yard.stops_at_once = starts, stops

    def backends(self) -> list[HandledBackend]:
        return [backend for backends in self.yard.made.values() for backend in backends]

    def live(self, steps: int, act: Callable[[], object] = lambda: None) -> None:
        """Do something inside the event loop, then let it take some steps."""

        async def acting() -> None:
            act()
            for _ in range(steps):
                await asyncio.sleep(0)

        self.runner.run(acting())

    def begin(self, steps: int, what: Coroutine[Any, Any, object]) -> None:
        self.live(steps, lambda: self.tasks.append(asyncio.ensure_future(what)))

    @rule(name=NAMES, keep_alive_s=KEEP_ALIVES, steps=STEPS)
    def ask(self, name: str, keep_alive_s: float | None, steps: int) -> None:
        if name in self.yard.fleet.backends:
            self.begin(steps, self.yard.answer(name, keep_alive_s))

    @rule(data=st.data(), steps=STEPS)
    def cancel(self, data: st.DataObject, steps: int) -> None:
        running = [task for task in self.tasks if not task.done()]
        if running:
            data.draw(st.sampled_from(running)).cancel()
        self.live(steps)

    @rule(name=NAMES, steps=STEPS)
    def load(self, name: str, steps: int) -> None:
        self.begin(steps, self.yard.fleet.load(name))

    @rule(name=NAMES, steps=STEPS, force=st.booleans())
    def unload(self, name: str, steps: int, force: bool) -> None:
        if force:
            self.may_be_cut.update(self.yard.made[name][-1:])
        self.begin(steps, self.yard.fleet.unload(name, force=force))

    @rule(name=NAMES, steps=STEPS)
    def remove(self, name: str, steps: int) -> None:
        self.begin(steps, self.yard.fleet.remove(name))

    @rule(name=NAMES, steps=STEPS)
    def add(self, name: str, steps: int) -> None:
        if name not in self.yard.fleet.backends:
            self.yard.add(name, size_gb=SIZES_GB[name], keep_alive_s=20)
        self.live(steps)

    @rule(name=NAMES, steps=STEPS, pinned=st.booleans())
    def pin(self, name: str, steps: int, pinned: bool) -> None:
        if name in self.yard.fleet.backends:
            self.live(steps, lambda: (self.yard.fleet.pin if pinned else self.yard.fleet.unpin)(name))

    @rule(data=st.data(), steps=STEPS, fails=st.booleans())
    def let_start(self, data: st.DataObject, steps: int, fails: bool) -> None:
        starting = [backend for backend in self.backends() if not backend.may_start.is_set()]
        if starting:
            backend = data.draw(st.sampled_from(starting))
            backend.error = ModelLoadFailed("no.") if fails else None
            backend.may_start.set()
        self.live(steps)

    @rule(data=st.data(), steps=STEPS)
    def let_finish(self, data: st.DataObject, steps: int) -> None:
        answering = [backend for backend in self.backends() if backend.active]
        if answering:
            backend = data.draw(st.sampled_from(answering))
            backend.may_finish.set()
            self.live(steps)
            backend.may_finish.clear()

    @rule(data=st.data(), steps=STEPS)
    def let_stop(self, data: st.DataObject, steps: int) -> None:
        stopping = [backend for backend in self.backends() if backend.stops and not backend.may_stop.is_set()]
        if stopping:
            data.draw(st.sampled_from(stopping)).may_stop.set()
        self.live(steps)

    @rule(data=st.data(), steps=STEPS)
    def engine_gives_up(self, data: st.DataObject, steps: int) -> None:
        ready = [backend for backend in self.backends() if backend.health is Health.READY and not backend.active]
        if ready:
            data.draw(st.sampled_from(ready)).health = Health.FAILED
        self.live(steps)

    @rule(seconds=st.sampled_from([0.5, 4.0, 10.0, 60.0]), steps=STEPS)
    def pass_time(self, seconds: float, steps: int) -> None:
        self.live(steps, lambda: self.yard.clock.advance(seconds))

    @invariant()
    def memory_is_never_given_twice(self) -> None:
        held_bytes = self.yard.fleet.memory().held_bytes
        assert held_bytes <= BUDGET_GB * GB
        there = sum(
            SIZES_GB[name] * GB for name, made in self.yard.made.items() for backend in made if not backend.gone
        )
        assert there <= held_bytes

    @invariant()
    def no_answer_is_cut_short(self) -> None:
        assert not [backend for backend in self.backends() if backend.cut_short and backend not in self.may_be_cut]

    @invariant()
    def each_backend_has_one_life(self) -> None:
        assert all(backend.starts == 1 and backend.stops <= 1 for backend in self.backends())

    def teardown(self) -> None:
        try:
            self.runner.run(self._end())
        finally:
            self.runner.close()

    async def _end(self) -> None:
        """From now on nothing is held up: everybody who waits must hear of it, and nothing may be left."""
        yard = self.yard
        yard.starts_at_once = yard.finishes_at_once = yard.stops_at_once = True
        for backend in self.backends():
            backend.may_start.set()
            backend.may_finish.set()
            backend.may_stop.set()
        for _ in range(12):
            await yard.pass_time(10)
        lost = [task for task in self.tasks if not task.done()]
        assert not lost, f"{len(lost)} wait for ever: {yard.fleet.deployments()}"
        outcomes = await asyncio.gather(*self.tasks, return_exceptions=True)
        assert not [each for each in outcomes if isinstance(each, Exception) and not isinstance(each, TundishError)]
        self.no_answer_is_cut_short()
        await yard.fleet.stop()
        assert all((backend.starts, backend.stops, backend.active) == (1, 1, 0) for backend in self.backends())
        assert yard.fleet.memory().held_bytes == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}


FleetStorm.TestCase.settings = settings(
    max_examples=80, stateful_step_count=50, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
TestFleetStorm = FleetStorm.TestCase
