from __future__ import annotations

import asyncio

import pytest

from tundish.core.events import Finished
from tundish.deployments.errors import InsufficientMemory, LoadCancelled
from tundish.deployments.fleet import Fleet
from tundish.deployments.snapshot import DeploymentState
from tundish.deployments.spec import LoadRules

from .yard import GB, Yard


async def _running(yard: Yard, name: str) -> asyncio.Task[list[object]]:
    """An answer that goes on until its backend may finish."""
    yard.starts_at_once = yard.finishes_at_once = False
    asked = yard.ask(name)
    await yard.settle()
    yard.backend(name).may_start.set()
    await yard.settle()
    assert yard.fleet.deployment(name).running == 1
    yard.starts_at_once = yard.finishes_at_once = True
    return asked


async def test_models_share_memory_as_long_as_there_is_enough():
    yard = Yard(budget_bytes=30 * GB)
    for name in "abc":
        yard.add(name, size_gb=10)
    await yard.answered("a", "b", "c")
    assert yard.loaded() == ["a", "b", "c"]
    assert yard.fleet.memory().held_bytes == 30 * GB


async def test_the_least_recently_used_goes_and_no_more_than_needed():
    yard = Yard(budget_bytes=30 * GB)
    for name in "abcd":
        yard.add(name, size_gb=10)
    for name in ("a", "b", "c", "a"):
        await yard.answered(name)
        await yard.pass_time(1)
    await yard.answered("d")
    assert yard.loaded() == ["a", "c", "d"]


async def test_as_many_go_as_are_needed():
    yard = Yard(budget_bytes=30 * GB)
    for name in "abc":
        yard.add(name, size_gb=10)
    yard.add("big", size_gb=15)
    for name in "abc":
        await yard.answered(name)
        await yard.pass_time(1)
    await yard.answered("big")
    assert yard.loaded() == ["big", "c"]


async def test_memory_is_not_given_twice_while_the_old_engine_is_still_going():
    yard = Yard(budget_bytes=10 * GB)
    yard.stops_at_once = False
    yard.add("a", size_gb=10)
    yard.add("b", size_gb=10)
    await yard.answered("a")
    asked = yard.ask("b")
    await yard.settle()
    assert (yard.state("a"), yard.state("b")) == (DeploymentState.UNLOADING, DeploymentState.WAITING)
    assert not yard.made["b"]
    assert yard.fleet.deployment("b").detail == "waiting for memory: 10.0 GB needed, 0.0 MB free"
    yard.backend("a").may_stop.set()
    yard.stops_at_once = True
    await asked
    yard.backend("b").may_stop.set()
    assert yard.loaded() == ["b"]


async def test_pinned_models_are_never_evicted():
    yard = Yard(budget_bytes=20 * GB)
    yard.add("pinned", size_gb=10, pinned=True)
    yard.add("a", size_gb=10)
    yard.add("b", size_gb=10)
    yard.add("big", size_gb=11)
    await yard.answered("pinned", "a", "b")
    assert yard.loaded() == ["b", "pinned"]
    with pytest.raises(
        InsufficientMemory, match=r"needs 11\.0 GB.*of the 20\.0 GB.*10\.0 GB are held by what is pinned \(pinned\)"
    ):
        await yard.ask("big")
    yard.fleet.unpin("pinned")
    await yard.ask("big")
    assert yard.loaded() == ["big"]


async def test_what_can_never_fit_is_refused_with_the_numbers_and_evicts_nobody():
    yard = Yard(budget_bytes=20 * GB)
    yard.add("a", size_gb=10)
    yard.add("huge", size_gb=63)
    await yard.answered("a")
    with pytest.raises(InsufficientMemory, match=r"needs 63\.0 GB of memory, but models may use 20\.0 GB") as refused:
        await yard.ask("huge")
    assert not refused.value.retryable
    assert (refused.value.needed_bytes, refused.value.budget_bytes) == (63 * GB, 20 * GB)
    assert yard.loaded() == ["a"]
    yard.budget_bytes = 80 * GB  # it is no failure of the model: nothing is held against it
    await yard.ask("huge")


async def test_one_that_generates_is_waited_for():
    yard = Yard(budget_bytes=10 * GB)
    yard.add("a", size_gb=10)
    yard.add("b", size_gb=10)
    running = await _running(yard, "a")
    asked = yard.ask("b")
    await yard.settle()
    assert (yard.state("a"), yard.state("b")) == (DeploymentState.READY, DeploymentState.WAITING)
    yard.backend("a").may_finish.set()
    assert isinstance((await running)[-1], Finished)
    await asked
    assert yard.made["a"][0].cut_short == 0


async def test_one_that_loads_is_waited_for():
    yard = Yard(budget_bytes=10 * GB)
    yard.add("a", size_gb=10)
    yard.add("b", size_gb=10)
    yard.starts_at_once = yard.finishes_at_once = False
    first = yard.ask("a")
    await yard.settle()
    yard.starts_at_once = yard.finishes_at_once = True
    second = yard.ask("b")
    await yard.pass_time(1000)
    assert (yard.state("a"), yard.state("b")) == (DeploymentState.LOADING, DeploymentState.WAITING)
    yard.backend("a").may_finish.set()
    yard.backend("a").may_start.set()
    await first
    await second


async def test_a_busy_model_takes_new_requests_only_until_the_patience_of_the_next_is_over():
    yard = Yard(budget_bytes=10 * GB, rules=LoadRules(patience_s=10))
    yard.add("a", size_gb=10)
    yard.add("b", size_gb=10)
    running = [await _running(yard, "a")]
    other = yard.ask("b")
    await yard.pass_time(9)
    running.append(yard.ask("a"))
    await yard.settle()
    assert yard.fleet.deployment("a").running == 2
    await yard.pass_time(1)
    late = yard.ask("a")
    await yard.settle()
    assert (yard.state("a"), yard.fleet.deployment("a").running) == (DeploymentState.DRAINING, 2)
    yard.backend("a").may_finish.set()
    await asyncio.gather(*running)
    await other
    await late  # it is loaded again for this, once "b" has answered
    assert len(yard.made["a"]) == 2
    assert yard.made["a"][0].cut_short == 0


async def test_a_small_model_need_not_wait_behind_a_large_one():
    yard = Yard(budget_bytes=20 * GB, rules=LoadRules(patience_s=10))
    yard.add("busy", size_gb=15)
    yard.add("large", size_gb=12)
    yard.add("small", size_gb=4)
    yard.add("tiny", size_gb=0.5)
    running = await _running(yard, "busy")
    large = yard.ask("large")
    await yard.settle()
    await yard.ask("small")
    assert yard.state("large") is DeploymentState.WAITING
    await yard.fleet.unload("small")
    await yard.pass_time(10)  # now what is free is kept for "large", but for what it leaves
    assert yard.state("busy") is DeploymentState.DRAINING
    await yard.ask("tiny")
    await yard.ask("small")
    assert yard.state("large") is DeploymentState.WAITING
    yard.backend("busy").may_finish.set()
    await asyncio.gather(running, large)


async def test_once_the_patience_is_over_nobody_takes_what_the_first_needs():
    yard = Yard(budget_bytes=20 * GB, rules=LoadRules(patience_s=10))
    for name, size_gb in (("busy", 15), ("large", 18), ("small", 4)):
        yard.add(name, size_gb=size_gb)
    running = await _running(yard, "busy")
    large = yard.ask("large")
    await yard.pass_time(10)
    small = yard.ask("small")
    await yard.settle()
    assert yard.state("small") is DeploymentState.WAITING
    yard.backend("busy").may_finish.set()
    await asyncio.gather(running, large, small)


async def test_what_is_being_freed_for_one_is_not_taken_by_another():
    yard = Yard(budget_bytes=20 * GB)
    yard.stops_at_once = False
    for name, size_gb in (("a", 10), ("b", 10), ("large", 20), ("small", 10)):
        yard.add(name, size_gb=size_gb)
    await yard.answered("a", "b")
    large = yard.ask("large")
    await yard.settle()
    small = yard.ask("small")
    yard.backend("a").may_stop.set()
    await yard.settle()
    assert (yard.state("large"), yard.state("small")) == (DeploymentState.WAITING, DeploymentState.WAITING)
    yard.stops_at_once = True
    yard.backend("b").may_stop.set()
    await large
    await small


async def test_nobody_goes_for_a_load_that_was_given_up():
    yard = Yard(budget_bytes=10 * GB)
    yard.add("a", size_gb=10)
    yard.add("b", size_gb=10)
    running = await _running(yard, "a")
    gone = yard.ask("b")
    await yard.settle()
    gone.cancel()
    await yard.settle()
    assert yard.state("b") is DeploymentState.UNLOADED
    yard.backend("a").may_finish.set()
    await running
    await yard.pass_time(100)
    assert yard.loaded() == ["a"]
    assert not yard.made["b"]


async def test_a_load_given_up_in_the_moment_it_gets_its_memory_gives_it_back():
    yard = Yard(budget_bytes=10 * GB)
    yard.add("a", size_gb=10)
    yard.add("b", size_gb=10)
    running = await _running(yard, "a")
    asked = yard.ask("b")
    await yard.settle()
    yard.backend("a").may_finish.set()
    await running
    for _ in range(20):
        if yard.backend("a").gone:
            break
        await asyncio.sleep(0)
    assert yard.state("b") is DeploymentState.WAITING  # it has the memory of "a" and has not heard of it yet
    await yard.fleet.unload("b")
    assert yard.fleet.memory().held_bytes == 0
    with pytest.raises(LoadCancelled):
        await asked
    await yard.ask("a")


async def test_when_the_first_in_the_queue_gives_up_the_next_has_its_turn_at_once():
    yard = Yard(budget_bytes=20 * GB, rules=LoadRules(patience_s=10))
    for name, size_gb in (("busy", 15), ("large", 18), ("small", 4)):
        yard.add(name, size_gb=size_gb)
    running = await _running(yard, "busy")
    large = yard.ask("large")
    await yard.pass_time(10)
    small = yard.ask("small")
    await yard.settle()
    large.cancel()
    await small
    yard.backend("busy").may_finish.set()
    await running


async def test_pinning_what_another_waits_for_refuses_the_other():
    yard = Yard(budget_bytes=10 * GB)
    yard.add("a", size_gb=10)
    yard.add("b", size_gb=10)
    running = await _running(yard, "a")
    asked = yard.ask("b")
    await yard.settle()
    yard.fleet.pin("a")
    await yard.pass_time(10)
    with pytest.raises(InsufficientMemory):
        await asked
    yard.backend("a").may_finish.set()
    await running


async def test_memory_that_became_free_elsewhere_is_noticed():
    yard = Yard(budget_bytes=10 * GB)
    yard.add("a", size_gb=10)
    yard.add("b", size_gb=10)
    running = await _running(yard, "a")
    asked = yard.ask("b")
    await yard.pass_time(1)
    yard.budget_bytes = 20 * GB
    await yard.pass_time(10)
    await asked
    assert yard.fleet.deployment("a").running == 1
    yard.backend("a").may_finish.set()
    await running


async def test_a_budget_that_has_shrunk_counts_for_the_next_load():
    yard = Yard(budget_bytes=30 * GB)
    for name in "abc":
        yard.add(name, size_gb=10)
    await yard.answered("a", "b")
    yard.budget_bytes = 10 * GB
    await yard.answered("c")
    assert yard.loaded() == ["c"]


async def test_two_models_that_do_not_fit_together_take_turns_and_neither_starves():
    yard = Yard(budget_bytes=10 * GB, rules=LoadRules(patience_s=10))
    yard.add("a", size_gb=10)
    yard.add("b", size_gb=10)
    answered = {"a": 0, "b": 0}

    async def keep_asking(name: str) -> None:
        while True:
            await yard.ask(name)
            answered[name] += 1
            await yard.clock.sleep(0.5)

    # Two clients of "a" whose requests overlap, so that it is hardly ever idle, and one of "b".
    clients = [asyncio.ensure_future(keep_asking(name)) for name in ("a", "a", "b")]
    for _ in range(400):
        await yard.pass_time(0.25)
    for client in clients:
        client.cancel()
    assert min(answered.values()) > 10


class _Machine:
    """Memory as a real machine tells of it: what is free now, whoever took the rest and however far a load has come."""

    def __init__(self, *, total_gb: int, rules: LoadRules | None = None) -> None:
        self.yard = Yard(rules=rules)
        self.total_gb = total_gb
        self.used_gb: dict[str, int] = {}
        self.yard.fleet = Fleet(budget_bytes=self.budget_bytes, clock=self.yard.clock, rules=rules)

    def budget_bytes(self) -> int:
        used_gb = sum(used_gb for name, used_gb in self.used_gb.items() if not self.yard.backend(name).gone)
        return (self.total_gb - used_gb) * GB + self.yard.fleet.memory_loaded_bytes


async def test_what_a_load_has_not_taken_yet_is_not_given_to_another():
    machine = _Machine(total_gb=30)
    yard = machine.yard
    yard.starts_at_once = False
    yard.add("a", size_gb=20)
    yard.add("b", size_gb=20)
    first = yard.ask("a")
    await yard.settle()
    second = yard.ask("b")
    for machine.used_gb["a"] in (0, 10, 20):
        await yard.pass_time(1)
        assert (yard.state("a"), yard.state("b")) == (DeploymentState.LOADING, DeploymentState.WAITING)
    yard.starts_at_once = True
    yard.backend("a").may_start.set()
    await first
    await second
    assert yard.loaded() == ["b"]


async def test_nothing_is_refused_for_what_only_a_load_in_progress_makes_uncertain():
    machine = _Machine(total_gb=30)
    yard = machine.yard
    yard.add("a", size_gb=20)
    yard.add("b", size_gb=25)
    yard.add("c", size_gb=31)
    yard.starts_at_once = False
    first = yard.ask("a")
    await yard.settle()
    yard.starts_at_once = True
    machine.used_gb["a"] = 19
    second = yard.ask("b")  # more than is free plus what is loaded, and yet it will fit
    third = yard.ask("c")
    await yard.settle()
    assert yard.state("b") is DeploymentState.WAITING
    machine.used_gb["a"] = 20
    yard.backend("a").may_start.set()
    await first
    await second
    await yard.pass_time(10)
    with pytest.raises(InsufficientMemory):
        await third


async def test_memory_that_comes_back_late_is_waited_for():
    machine = _Machine(total_gb=30)
    yard = machine.yard
    yard.add("a", size_gb=20)
    yard.add("b", size_gb=25)
    await yard.answered("a")
    machine.total_gb = 10  # what "a" has taken; the system counts it as taken for a while after its end
    second = yard.ask("b")
    await yard.settle()
    assert (yard.state("a"), yard.state("b")) == (DeploymentState.UNLOADED, DeploymentState.WAITING)
    machine.total_gb = 30
    await yard.pass_time(10)
    await second


async def test_a_load_that_is_done_lets_the_next_one_begin_although_it_is_busy_at_once():
    machine = _Machine(total_gb=30)
    yard = machine.yard
    yard.add("a", size_gb=14)
    yard.add("b", size_gb=15)
    yard.starts_at_once = yard.finishes_at_once = False
    running = yard.ask("a")
    await yard.settle()
    yard.starts_at_once = yard.finishes_at_once = True
    machine.used_gb["a"] = 14
    other = yard.ask("b")  # 16 GB are free, but "a" may still take 14 of them
    await yard.settle()
    assert yard.state("b") is DeploymentState.WAITING
    yard.backend("a").may_start.set()
    await other
    assert yard.fleet.deployment("a").running == 1
    yard.backend("a").may_finish.set()
    await running
