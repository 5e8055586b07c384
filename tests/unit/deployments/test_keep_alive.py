from __future__ import annotations

import asyncio
import contextlib
import math

import pytest

from tundish.core.errors import BackendStopped, ModelNotFound, Unavailable
from tundish.core.events import Finished
from tundish.core.request import Request, UserMessage
from tundish.deployments.errors import DeploymentUnloaded
from tundish.deployments.snapshot import DeploymentState

from .yard import Yard


async def test_an_idle_model_is_unloaded_when_its_keep_alive_is_over():
    yard = Yard()
    yard.add("a", keep_alive_s=60)
    await yard.answered("a")
    await yard.pass_time(59)
    seen = yard.fleet.deployment("a")
    assert (seen.state, seen.idle_s, seen.expires_in_s) == (DeploymentState.READY, 59, 1)
    await yard.answered("a")  # begins it anew
    await yard.pass_time(59)
    assert yard.state("a") is DeploymentState.READY
    await yard.pass_time(1)
    assert yard.state("a") is DeploymentState.UNLOADED
    assert (yard.backend("a").stops, yard.fleet.memory().held_bytes) == (1, 0)


async def test_it_is_never_unloaded_while_it_generates():
    yard = Yard()
    yard.starts_at_once = yard.finishes_at_once = False
    yard.add("a", keep_alive_s=1)
    asked = yard.ask("a")
    await yard.settle()
    yard.backend("a").may_start.set()
    await yard.settle()
    await yard.pass_time(1000)
    seen = yard.fleet.deployment("a")
    assert (seen.state, seen.running, seen.idle_s, seen.expires_in_s) == (DeploymentState.READY, 1, None, None)
    yard.backend("a").may_finish.set()
    await asked
    await yard.settle()
    yard.backend("a").may_finish.clear()
    asked = yard.ask("a")  # in the last moment
    await yard.pass_time(1)
    assert yard.state("a") is DeploymentState.READY
    yard.backend("a").may_finish.set()
    await asked
    await yard.pass_time(1)
    assert yard.state("a") is DeploymentState.UNLOADED
    assert yard.backend("a").cut_short == 0


async def test_zero_unloads_at_once_and_infinity_never():
    yard = Yard()
    yard.add("at once", keep_alive_s=0)
    yard.add("never", keep_alive_s=math.inf)
    await yard.answered("at once", "never")
    await yard.pass_time(10**9)
    assert yard.loaded() == ["never"]


@pytest.mark.parametrize(
    ("keep_alive_s", "states"), [(0.0, "u"), (5.0, "ru"), (900.0, "rrr"), (math.inf, "rrr"), (None, "rru")]
)
async def test_a_request_may_say_how_long(keep_alive_s: float | None, states: str):
    yard = Yard()
    yard.add("a", keep_alive_s=60)
    await yard.ask("a", keep_alive_s=keep_alive_s)
    await yard.settle()
    seen = ""
    for passing_s in (0, 5, 55):
        await yard.pass_time(passing_s)
        seen += yard.state("a").value[0]
    assert seen.rstrip("u") + "u" * ("u" in seen) == states


async def test_what_a_request_said_holds_until_the_model_is_unloaded():
    yard = Yard()
    yard.add("a", keep_alive_s=60)
    await yard.ask("a", keep_alive_s=600)
    await yard.answered("a")
    assert yard.fleet.deployment("a").keep_alive_s == 600
    await yard.fleet.unload("a")
    await yard.answered("a")
    assert yard.fleet.deployment("a").keep_alive_s == 60


async def test_a_pinned_model_stays_and_an_unpinned_one_has_been_idle_meanwhile():
    yard = Yard()
    yard.add("a", keep_alive_s=60, pinned=True)
    await yard.answered("a")
    await yard.pass_time(50)
    assert yard.fleet.deployment("a").expires_in_s is None
    assert yard.fleet.unpin("a").expires_in_s == 10
    yard.fleet.pin("a")
    await yard.pass_time(500)
    assert yard.loaded() == ["a"]
    yard.fleet.unpin("a")
    await yard.settle()
    assert yard.state("a") is DeploymentState.UNLOADED


async def test_loading_by_hand_begins_the_keep_alive():
    yard = Yard()
    yard.add("a", keep_alive_s=60)
    await yard.fleet.load("a", keep_alive_s=600)
    await yard.pass_time(599)
    await yard.fleet.load("a")
    assert yard.fleet.deployment("a").expires_in_s == 600
    await yard.pass_time(600)
    assert yard.state("a") is DeploymentState.UNLOADED


async def test_what_is_loaded_by_hand_waits_for_its_first_request_even_without_keep_alive():
    yard = Yard()
    yard.add("a", keep_alive_s=0)
    await yard.fleet.load("a")
    await yard.pass_time(1000)
    assert yard.loaded() == ["a"]
    await yard.answered("a")
    assert yard.state("a") is DeploymentState.UNLOADED
    assert len(yard.made["a"]) == 1


async def test_a_load_that_nobody_waits_for_any_more_keeps_alive_like_any_other():
    yard = Yard()
    yard.starts_at_once = yard.finishes_at_once = False
    yard.add("a", keep_alive_s=60)
    yard.add("b", keep_alive_s=0)
    for name in "ab":
        gone = yard.ask(name)
        await yard.settle()
        gone.cancel()
        await yard.settle()
        yard.backend(name).may_start.set()
        await yard.settle()
    assert yard.loaded() == ["a"]
    await yard.pass_time(60)
    assert yard.loaded() == []


async def test_unloading_lets_running_answers_finish_and_new_requests_wait_for_the_next_load():
    yard = Yard()
    yard.starts_at_once = yard.finishes_at_once = False
    yard.add("a")
    running = yard.ask("a")
    await yard.settle()
    yard.backend("a").may_start.set()
    await yard.settle()
    unloading = asyncio.ensure_future(yard.fleet.unload("a"))
    await yard.settle()
    late = yard.ask("a")
    await yard.settle()
    seen = yard.fleet.deployment("a")
    assert (seen.state, seen.detail, seen.waiting) == (DeploymentState.DRAINING, "unloading after 1 running request", 1)
    assert yard.fleet.backends["a"].status().queued == 1
    yard.starts_at_once = yard.finishes_at_once = True
    yard.backend("a").may_finish.set()
    assert isinstance((await running)[-1], Finished)
    await unloading
    await late
    assert [backend.cut_short for backend in yard.made["a"]] == [0, 0]


async def test_force_ends_running_answers_and_says_so():
    yard = Yard()
    yard.starts_at_once = yard.finishes_at_once = False
    yard.add("a")
    running = yard.ask("a")
    await yard.settle()
    yard.backend("a").may_start.set()
    await yard.settle()
    draining = asyncio.ensure_future(yard.fleet.unload("a"))
    await yard.settle()
    assert (await yard.fleet.unload("a", force=True)).state is DeploymentState.UNLOADED
    await draining
    with pytest.raises(DeploymentUnloaded, match="by force"):
        await running
    assert yard.backend("a").stops == 1


async def test_an_answer_that_is_slow_to_notice_its_end_does_not_count_for_the_next_life():
    yard = Yard()
    yard.add("a", keep_alive_s=10)
    request = Request(model="a", messages=(UserMessage(text="?"),))
    old, new = (yard.fleet.backends["a"].generate(request) for _ in range(2))
    await anext(old)
    await yard.fleet.unload("a", force=True)
    await anext(new)
    await old.aclose()
    seen = yard.fleet.deployment("a")
    assert (seen.running, seen.idle_s) == (1, None)
    await yard.pass_time(10)
    assert yard.state("a") is DeploymentState.READY
    await new.aclose()
    await yard.pass_time(10)
    assert yard.state("a") is DeploymentState.UNLOADED


async def test_an_operator_who_goes_away_does_not_stop_the_unloading():
    yard = Yard()
    yard.stops_at_once = False
    yard.add("a")
    await yard.answered("a")
    unloading = asyncio.ensure_future(yard.fleet.unload("a"))
    await yard.settle()
    unloading.cancel()
    yard.backend("a").may_stop.set()
    await yard.settle()
    assert yard.state("a") is DeploymentState.UNLOADED


async def test_removing_refuses_new_requests_and_lets_running_ones_finish():
    yard = Yard()
    yard.starts_at_once = yard.finishes_at_once = False
    yard.add("a")
    backend = yard.fleet.backends["a"]
    running = yard.ask("a")
    await yard.settle()
    yard.backend("a").may_start.set()
    await yard.settle()
    removing = asyncio.ensure_future(yard.fleet.remove("a"))
    await yard.settle()
    assert "a" not in yard.fleet.backends
    assert [seen.state for seen in yard.fleet.deployments()] == [DeploymentState.DRAINING]
    with pytest.raises(Unavailable, match="was removed"):
        async with contextlib.aclosing(backend.generate(Request(model="a", messages=()))) as answer:
            await anext(answer)
    with pytest.raises(ModelNotFound):
        await yard.fleet.load("a")
    old = yard.backend("a")
    yard.add("a")  # the name is free at once
    yard.starts_at_once = yard.finishes_at_once = True
    await yard.ask("a")
    old.may_finish.set()
    await running
    await removing
    assert len(yard.fleet.deployments()) == 1
    assert (old.stops, old.cut_short) == (1, 0)


async def test_stopping_ends_everything_and_tells_everybody():
    yard = Yard(budget_bytes=30 * 10**9)
    yard.starts_at_once = yard.finishes_at_once = False
    for name in ("runs", "loads", "waits for memory", "goes", "is never used"):
        yard.add(name, size_gb=10)
    running, going = yard.ask("runs"), yard.ask("goes")
    await yard.settle()
    for name in ("runs", "goes"):
        yard.backend(name).may_start.set()
    await yard.settle()
    removing = asyncio.ensure_future(yard.fleet.remove("goes"))
    loading, waiting = yard.ask("loads"), yard.ask("waits for memory")
    await yard.settle()
    assert yard.state("waits for memory") is DeploymentState.WAITING
    await asyncio.gather(yard.fleet.stop(), yard.fleet.stop())
    await removing
    for task, kind in (
        (running, BackendStopped),
        (going, BackendStopped),
        (loading, Unavailable),
        (waiting, Unavailable),
    ):
        with pytest.raises(kind, match="shutting down"):
            await task
    every = [backend for backends in yard.made.values() for backend in backends]
    assert [backend.stops for backend in every] == [1, 1, 1]
    assert yard.fleet.memory().held_bytes == 0
    with pytest.raises(Unavailable, match="shutting down"):
        await yard.ask("runs")
    with pytest.raises(Unavailable, match="shutting down"):
        yard.add("new")


async def test_a_deployment_is_a_backend_that_starts_and_stops():
    yard = Yard()
    yard.add("a")
    backend = yard.fleet.backends["a"]
    await backend.start()
    assert yard.state("a") is DeploymentState.READY
    await backend.stop()
    assert yard.state("a") is DeploymentState.UNLOADED


async def test_a_backend_that_cannot_be_stopped_does_not_keep_its_memory(caplog: pytest.LogCaptureFixture):
    yard = Yard()
    yard.add("a")
    await yard.answered("a")

    async def stop() -> None:
        raise OSError("it resists")

    yard.backend("a").stop = stop
    await yard.fleet.unload("a")
    assert yard.fleet.memory().held_bytes == 0
    assert "it resists" in caplog.text
    await yard.ask("a")
