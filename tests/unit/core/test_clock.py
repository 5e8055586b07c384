from __future__ import annotations

import asyncio
import datetime

from tundish.core.clock import FixedClock, SystemClock


def _clock() -> FixedClock:
    return FixedClock(datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC))


async def test_sleepers_wake_in_order_when_the_clock_has_come_that_far():
    clock, woken = _clock(), list[float]()

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    tasks = [asyncio.ensure_future(sleep(seconds)) for seconds in (3.0, 1.0, 2.0, 0.0)]
    await asyncio.sleep(0.0)
    await asyncio.sleep(0.0)
    assert woken == [0.0]
    clock.advance(2.0)
    await asyncio.gather(*tasks[1:3])
    assert woken == [0.0, 1.0, 2.0]
    clock.advance(1.0)
    await tasks[0]
    assert clock.monotonic_s() == 3.0
    assert clock.now() == datetime.datetime(2026, 11, 1, 0, 0, 3, tzinfo=datetime.UTC)


async def test_a_cancelled_sleeper_disturbs_nobody():
    clock = _clock()
    gone, stays = asyncio.ensure_future(clock.sleep(1)), asyncio.ensure_future(clock.sleep(1))
    await asyncio.sleep(0)
    gone.cancel()
    clock.advance(1)
    await stays
    assert gone.cancelled()


async def test_the_system_clock_sleeps_too():
    await SystemClock().sleep(0)
