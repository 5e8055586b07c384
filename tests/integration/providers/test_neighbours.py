"""Other programs' models come and go, and ours stay."""

from __future__ import annotations

import asyncio
import datetime
import logging

import pytest

from tundish.app.neighbours import Neighbour, Neighbours, parse
from tundish.core.clock import FixedClock
from tundish.deployments.fleet import Fleet
from tundish.deployments.spec import DeploymentSpec
from tundish.engines.scripted import ScriptedBackend
from tundish.providers.openai_compatible import Server


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC))


@pytest.fixture
async def fleet(clock):
    made = Fleet(budget_bytes=lambda: 10**9, clock=clock)
    made.add(DeploymentSpec(name="ours", make=ScriptedBackend, memory_bytes=0))
    yield made
    await made.stop()


async def test_models_come_and_go(listing, fleet, clock):
    neighbours = Neighbours([parse(f"lab={listing.base_url}")], fleet, clock=clock)
    listing.has("a", "b")
    await neighbours.look()
    assert set(fleet.backends) == {"ours", "lab/a", "lab/b"}
    listing.has("b", "c")
    await neighbours.look()
    assert set(fleet.backends) == {"ours", "lab/b", "lab/c"}


async def test_our_model_stays_when_one_of_the_same_name_vanishes(listing, fleet, clock, caplog):
    neighbours = Neighbours([parse(listing.base_url)], fleet, clock=clock)
    listing.has("ours")
    for _ in range(3):
        await neighbours.look()
    assert len([record for record in caplog.records if "so has this endpoint" in record.message]) == 1
    listing.has()
    await neighbours.look()
    assert set(fleet.backends) == {"ours"}


async def test_a_name_that_becomes_free_is_taken(listing, fleet, clock):
    neighbours = Neighbours([parse(listing.base_url)], fleet, clock=clock)
    listing.has("ours")
    await neighbours.look()
    await fleet.remove("ours")
    await neighbours.look()
    assert set(fleet.backends) == {"ours"}
    listing.has()
    await neighbours.look()
    assert not fleet.backends


async def test_a_model_that_an_operator_removed_may_vanish(listing, fleet, clock):
    neighbours = Neighbours([parse(listing.base_url)], fleet, clock=clock)
    listing.has("a")
    await neighbours.look()
    await fleet.remove("a")
    listing.has("b")
    await neighbours.look()
    assert set(fleet.backends) == {"ours", "b"}


async def test_our_models_do_not_come_back_from_another_tundish(listing, fleet, clock):
    neighbours = Neighbours([parse(f"b={listing.base_url}")], fleet, clock=clock)
    listing.has("theirs", "a/ours", "c/a/ours", "org/theirs", "a/b/a/b/a/gone", owned_by="tundish")
    await neighbours.look()
    assert set(fleet.backends) == {"ours", "b/theirs", "b/org/theirs"}


async def test_a_path_of_another_program_is_a_name_like_any_other(listing, fleet, clock):
    neighbours = Neighbours([parse(f"b={listing.base_url}")], fleet, clock=clock)
    listing.has("org/ours", "/home/me/models/org/x/y.gguf")
    await neighbours.look()
    assert set(fleet.backends) == {"ours", "b/org/ours", "b//home/me/models/org/x/y.gguf"}


async def test_a_neighbour_without_end_is_cut_short(listing, fleet, clock):
    neighbours = Neighbours([parse(f"b={listing.base_url}")], fleet, clock=clock)
    listing.has(*(str(number) for number in range(1500)))
    await neighbours.look()
    assert len(fleet.backends) == 1 + 1000


async def test_watching_goes_on_after_a_failure(fleet, clock, caplog):
    # A path that cannot be sent fails in no way that a server would.
    broken = Neighbour(prefix="x/", server=Server(base_url="http://127.0.0.1:9/a path"))
    watching = asyncio.ensure_future(Neighbours([broken], fleet, clock=clock).watch())
    async with asyncio.timeout(30):
        for looks in (1, 2):
            while len([record for record in caplog.records if record.levelno == logging.ERROR]) < looks:
                clock.advance(30)
                await asyncio.sleep(0.01)
    assert not watching.done()
    watching.cancel()
