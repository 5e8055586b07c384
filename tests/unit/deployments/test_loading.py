from __future__ import annotations

import asyncio
import itertools

import pytest

from tundish.core.backend import Capabilities, Health
from tundish.core.errors import InvalidRequest, ModelFileInvalid, ModelLoadFailed, ModelNotFound, Unavailable
from tundish.core.events import Finished, TextDelta
from tundish.core.request import CompletionRequest
from tundish.deployments.errors import (
    DeploymentExists,
    DeploymentFailed,
    DeploymentNotLoaded,
    LoadCancelled,
    LoadQueueFull,
)
from tundish.deployments.snapshot import DeploymentState
from tundish.deployments.spec import DeploymentSpec, LoadRules

from .yard import GB, Yard


async def test_the_first_request_loads_and_the_second_just_answers():
    yard = Yard()
    yard.add("a")
    assert yard.fleet.backends["a"].status().health is Health.UNLOADED
    for _ in range(2):
        events = await yard.ask("a")
        assert [type(event) for event in events] == [TextDelta, Finished]
    assert len(yard.made["a"]) == 1
    assert yard.fleet.backends["a"].status().health is Health.READY


async def test_raw_completions_load_too():
    yard = Yard()
    yard.add("a")
    events = [event async for event in yard.fleet.backends["a"].complete(CompletionRequest(model="a", prompt="x"))]
    assert isinstance(events[-1], Finished)


async def test_requests_that_come_while_it_loads_share_one_load():
    yard = Yard()
    yard.starts_at_once = yard.finishes_at_once = False
    yard.add("a")
    asked = [yard.ask("a") for _ in range(10)]
    await yard.settle()
    assert yard.state("a") is DeploymentState.LOADING
    assert yard.fleet.deployment("a").waiting == 10
    yard.backend("a").may_start.set()
    await yard.settle()
    assert yard.fleet.deployment("a").running == 10
    yard.backend("a").may_finish.set()
    assert all(isinstance(events[-1], Finished) for events in await asyncio.gather(*asked))
    assert len(yard.made["a"]) == 1


async def test_a_full_queue_refuses_and_says_when_to_come_back():
    yard = Yard(rules=LoadRules(queue_limit=2))
    yard.starts_at_once = yard.finishes_at_once = False
    yard.add("a", size_gb=10)
    waiting = [yard.ask("a") for _ in range(2)]
    await yard.settle()
    yard.backend("a").progress = 0.4
    await yard.pass_time(8)
    with pytest.raises(LoadQueueFull, match=r"loading: 4\.0 of 10\.0 GB, 8 s so far.*2 requests wait") as refused:
        await yard.ask("a")
    assert refused.value.retry_after_s == pytest.approx(12.0)
    yard.backend("a").may_start.set()
    yard.backend("a").may_finish.set()
    await asyncio.gather(*waiting)


async def test_without_a_queue_the_first_request_still_loads():
    yard = Yard(rules=LoadRules(queue_limit=0))
    yard.starts_at_once = False
    yard.add("a")
    first = yard.ask("a")
    await yard.settle()
    with pytest.raises(LoadQueueFull):
        await yard.ask("a")
    yard.backend("a").may_start.set()
    assert isinstance((await first)[-1], Finished)


async def test_when_to_come_back_is_learned_from_earlier_loads():
    yard = Yard(rules=LoadRules(queue_limit=0))
    yard.starts_at_once = yard.finishes_at_once = False
    yard.add("a", size_gb=10)
    loading = asyncio.ensure_future(yard.fleet.load("a"))
    await yard.settle()
    await yard.pass_time(5)
    with pytest.raises(LoadQueueFull) as first_guess:
        await yard.ask("a")
    assert first_guess.value.retry_after_s == pytest.approx(15.0)  # 10 GB at 500 MB/s, 5 s of it over
    await yard.pass_time(35)
    yard.backend("a").may_start.set()
    await loading
    await yard.fleet.unload("a")
    loading = asyncio.ensure_future(yard.fleet.load("a"))
    await yard.settle()
    with pytest.raises(LoadQueueFull) as learned:
        await yard.ask("a")
    assert learned.value.retry_after_s == pytest.approx(40.0)
    loading.cancel()
    await yard.fleet.stop()


async def test_a_load_in_progress_reports_it():
    yard = Yard()
    yard.starts_at_once = yard.finishes_at_once = False
    yard.add("a", size_gb=12.1)
    asked = yard.ask("a")
    await yard.settle()
    await yard.pass_time(9)
    status = yard.fleet.backends["a"].status()
    assert (status.health, status.detail, status.queued) == (Health.STARTING, "loading: 12.1 GB, 9 s so far", 1)
    yard.backend("a").progress = 0.35
    status = yard.fleet.backends["a"].status()
    assert (status.load_progress, status.detail) == (0.35, "loading: 4.2 of 12.1 GB, 9 s so far")
    yard.backend("a").may_start.set()
    yard.backend("a").may_finish.set()
    await asked


async def test_a_cancelled_waiter_leaves_its_place_and_the_load_goes_on():
    yard = Yard(rules=LoadRules(queue_limit=1))
    yard.starts_at_once = yard.finishes_at_once = False
    yard.add("a")
    gone = yard.ask("a")
    await yard.settle()
    gone.cancel()
    await yard.settle()
    assert yard.fleet.deployment("a").waiting == 0
    assert yard.state("a") is DeploymentState.LOADING
    stays = yard.ask("a")
    yard.backend("a").may_finish.set()
    yard.backend("a").may_start.set()
    await stays
    assert len(yard.made["a"]) == 1


async def test_a_waiter_cancelled_in_the_moment_it_is_served_gives_back_what_it_got():
    yard = Yard()
    yard.starts_at_once = yard.finishes_at_once = False
    yard.add("a", keep_alive_s=10)
    asked = yard.ask("a")
    await yard.settle()
    yard.backend("a").may_start.set()
    for _ in range(10):
        if yard.state("a") is DeploymentState.READY:
            break
        await asyncio.sleep(0)
    assert yard.fleet.deployment("a").running == 1
    asked.cancel()  # it was given the model and has not heard of it yet
    await yard.settle()
    assert yard.fleet.deployment("a").running == 0
    await yard.pass_time(10)
    assert yard.state("a") is DeploymentState.UNLOADED


async def test_a_failed_load_fails_all_who_wait_with_its_reason():
    yard = Yard()
    yard.starts_at_once, yard.error = False, ModelFileInvalid("The file is cut short.")
    yard.add("a")
    asked = [yard.ask("a") for _ in range(3)]
    await yard.settle()
    yard.backend("a").may_start.set()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["The file is cut short."] * 3
    assert all(isinstance(outcome, ModelFileInvalid) for outcome in outcomes)
    assert yard.backend("a").stops == 1
    status = yard.fleet.backends["a"].status()
    assert (status.health, status.detail) == (Health.FAILED, "The file is cut short.")
    assert yard.fleet.memory().held_bytes == 0


async def test_after_a_failure_only_a_request_after_the_backoff_tries_again():
    yard = Yard(rules=LoadRules(backoff_first_s=2, backoff_limit_s=5))
    yard.error = ModelLoadFailed("no.")
    yard.add("a")
    for delay_s in (2, 4, 5, 5):
        with pytest.raises(ModelLoadFailed):
            await yard.ask("a")
        tries = len(yard.made["a"])
        await yard.pass_time(delay_s - 0.5)
        with pytest.raises(DeploymentFailed, match=r"cannot be used: no\. A request") as refused:
            await yard.ask("a")
        assert refused.value.retry_after_s == pytest.approx(0.5)
        await yard.pass_time(0.5)
        assert len(yard.made["a"]) == tries  # nothing but a request makes it try
    yard.error = None
    await yard.ask("a")
    await yard.fleet.unload("a")
    yard.error = ModelLoadFailed("no.")
    with pytest.raises(ModelLoadFailed):
        await yard.ask("a")
    await yard.pass_time(2)  # it had worked in between: the first of a new row
    with pytest.raises(ModelLoadFailed):
        await yard.ask("a")


async def test_an_operator_need_not_wait_for_the_backoff():
    yard = Yard()
    yard.error = ModelLoadFailed("no.")
    yard.add("a")
    with pytest.raises(ModelLoadFailed):
        await yard.ask("a")
    yard.error = None
    assert (await yard.fleet.load("a")).state is DeploymentState.READY


async def test_thousands_of_failures_in_a_row_overflow_nothing():
    yard = Yard(rules=LoadRules(backoff_first_s=1, backoff_limit_s=60))
    yard.error = ModelLoadFailed("no.")
    yard.add("a")
    for _ in range(1100):
        with pytest.raises(ModelLoadFailed):
            await yard.fleet.load("a")
    assert yard.state("a") is DeploymentState.FAILED


@pytest.mark.parametrize("where", ["make", "start"])
async def test_an_unforeseen_error_is_told_to_all_who_wait(where: str, caplog: pytest.LogCaptureFixture):
    yard = Yard()
    if where == "start":
        yard.error = OSError(28, "No space left on device")
        yard.add("a")
    else:

        def make() -> object:
            raise OSError(28, "No space left on device")

        yard.fleet.add(DeploymentSpec(name="a", make=make, memory_bytes=GB))  # pyright: ignore[reportArgumentType]
    outcomes = await asyncio.gather(*(yard.ask("a") for _ in range(2)), return_exceptions=True)
    assert all(isinstance(each, ModelLoadFailed) and "No space left" in str(each) for each in outcomes)
    assert "loading a failed" in caplog.text
    assert yard.fleet.memory().held_bytes == 0


async def test_an_engine_that_gave_up_is_replaced_after_the_backoff():
    yard = Yard(rules=LoadRules(backoff_first_s=2))
    yard.add("a")
    await yard.ask("a")
    first = yard.backend("a")
    first.health, first.detail = Health.FAILED, "it died 6 times in a row"
    with pytest.raises(DeploymentFailed, match="it died 6 times in a row"):
        await yard.ask("a")
    await yard.settle()
    assert (yard.state("a"), first.stops) == (DeploymentState.FAILED, 1)
    await yard.pass_time(2)
    await yard.ask("a")
    assert len(yard.made["a"]) == 2


async def test_an_operator_replaces_an_engine_that_gave_up_at_once():
    yard = Yard()
    yard.add("a", pinned=True)
    await yard.fleet.load("a")
    yard.backend("a").health = Health.FAILED
    await yard.fleet.load("a")
    assert yard.state("a") is DeploymentState.READY
    assert [backend.stops for backend in yard.made["a"]] == [1, 0]


async def test_loading_on_demand_can_be_off():
    yard = Yard(rules=LoadRules(on_demand=False))
    yard.add("a")
    with pytest.raises(DeploymentNotLoaded, match="tundish load a"):
        await yard.ask("a")
    yard.starts_at_once = yard.finishes_at_once = False
    loading = asyncio.ensure_future(yard.fleet.load("a"))
    await yard.settle()
    asked = yard.ask("a")  # somebody loads it already
    await yard.settle()
    yard.backend("a").may_start.set()
    yard.backend("a").may_finish.set()
    await loading
    await asked


async def test_capabilities_are_what_is_expected_until_the_backend_knows():
    yard = Yard()
    yard.add("a", capabilities=Capabilities(context_length=8192))
    yard.add("b")
    assert yard.fleet.backends["a"].capabilities.context_length == 8192
    assert yard.fleet.deployment("b").capabilities is None
    with pytest.raises(Unavailable):
        _ = yard.fleet.backends["b"].capabilities
    await yard.answered("a", "b")
    await yard.fleet.unload("a")
    assert [yard.fleet.backends[name].capabilities.context_length for name in "ab"] == [2048, 2048]


async def test_unloading_gives_up_a_load_and_tells_those_who_wait():
    yard = Yard()
    yard.starts_at_once = yard.finishes_at_once = yard.stops_at_once = False
    yard.add("a")
    asked = yard.ask("a")
    await yard.settle()
    unloading = asyncio.ensure_future(yard.fleet.unload("a"))
    with pytest.raises(LoadCancelled, match="an operator unloaded it"):
        await asked
    late = yard.ask("a")  # while the half-loaded backend is being stopped
    await yard.settle()
    assert len(yard.made["a"]) == 1
    yard.backend("a").may_stop.set()
    yard.starts_at_once = yard.finishes_at_once = yard.stops_at_once = True
    await unloading
    await late
    assert [backend.stops for backend in yard.made["a"]] == [1, 0]


async def test_a_load_can_be_given_up_before_its_first_step():
    yard = Yard()
    yard.add("a")
    first = yard.ask("a")
    await asyncio.sleep(0)  # it has asked for the load; the load itself has not run yet
    await yard.fleet.unload("a")
    with pytest.raises(LoadCancelled):
        await first
    await yard.ask("a")


async def test_a_backend_that_starts_although_its_load_was_given_up_is_stopped():
    yard = Yard()
    yard.starts_at_once = False
    yard.add("a")
    asked = yard.ask("a")
    await yard.settle()
    backend = yard.backend("a")
    backend.stubborn = True
    await yard.fleet.unload("a")
    with pytest.raises(LoadCancelled):
        await asked
    assert (yard.state("a"), backend.stops, yard.fleet.deployment("a").loads) == (DeploymentState.UNLOADED, 1, 0)


async def test_names_are_given_once_and_known_by_name():
    yard = Yard()
    yard.add("a")
    with pytest.raises(DeploymentExists):
        yard.add("a")
    for unknown in (yard.fleet.load("b"), yard.fleet.unload("b"), yard.fleet.remove("b")):
        with pytest.raises(ModelNotFound, match="Known models: a"):
            await unknown
    for look in (yard.fleet.pin, yard.fleet.unpin, yard.fleet.deployment):
        with pytest.raises(ModelNotFound):
            look("b")


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("-inf")])
async def test_what_is_no_duration_is_refused(seconds: float):
    yard = Yard()
    yard.add("a")
    with pytest.raises(InvalidRequest, match="keep-alive"):
        await yard.ask("a", keep_alive_s=seconds)
    with pytest.raises(InvalidRequest):
        await yard.fleet.load("a", keep_alive_s=seconds)
    with pytest.raises(InvalidRequest):
        yard.add("b", keep_alive_s=seconds)
    assert yard.state("a") is DeploymentState.UNLOADED


async def test_storms_of_loading_unloading_and_cancelling_end_in_peace():
    yard = Yard()
    yard.add("a", size_gb=60)
    yard.add("b", size_gb=60)
    tasks: list[asyncio.Task[object]] = []
    for round_, name in zip(range(300), itertools.cycle("ab"), strict=False):
        tasks.append(yard.ask(name))
        if round_ % 7 == 0:
            tasks.append(asyncio.ensure_future(yard.fleet.unload(name)))
        if round_ % 5 == 0:
            tasks[round_ // 2].cancel()
        if round_ % 3 == 0:
            await asyncio.sleep(0)
    await yard.pass_time(60)
    await yard.pass_time(60)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert not [each for each in outcomes if isinstance(each, Exception) and not isinstance(each, LoadCancelled)]
    await yard.fleet.stop()
    every = [backend for backends in yard.made.values() for backend in backends]
    assert all((backend.starts, backend.stops) == (1, 1) for backend in every)
