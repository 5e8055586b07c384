from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tundish.core.errors import Overloaded
from tundish.engines.llama_cpp.admission import Admission, Share

ONE = Share(1, 10)


def admission(*, slots: int = 2, kv_tokens: int = 100, queue_limit: int = 3) -> Admission:
    return Admission(slots=slots, kv_tokens=kv_tokens, queue_limit=queue_limit)


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_slots_are_given_until_there_are_none() -> None:
    gate = admission()
    await gate.enter(ONE)
    await gate.enter(ONE)
    third = asyncio.ensure_future(gate.enter(ONE))
    await settle()
    assert (gate.busy, gate.queued, third.done()) == (2, 1, False)
    gate.leave(ONE, held_s=1.0)
    await third
    assert (gate.busy, gate.queued) == (2, 0)


async def test_tokens_run_out_before_slots_do() -> None:
    gate = admission(slots=4)
    await gate.enter(Share(1, 60))
    second = asyncio.ensure_future(gate.enter(Share(1, 60)))
    await settle()
    assert not second.done()
    gate.leave(Share(1, 60), held_s=None)
    await second


async def test_a_large_request_is_not_overtaken() -> None:
    gate = admission()
    await gate.enter(ONE)
    large = asyncio.ensure_future(gate.enter(Share(2, 20)))
    small = asyncio.ensure_future(gate.enter(ONE))
    await settle()
    assert (large.done(), small.done()) == (False, False)  # though a slot is free
    gate.leave(ONE, held_s=None)
    await settle()
    assert (large.done(), small.done()) == (True, False)
    gate.leave(Share(2, 20), held_s=None)
    await small


async def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    gate = admission(slots=1, queue_limit=1)
    await gate.enter(ONE)
    waiting = asyncio.ensure_future(gate.enter(ONE))
    await settle()
    with pytest.raises(Overloaded, match="1 requests wait") as caught:
        await gate.enter(ONE)
    assert caught.value.retry_after_s >= 1.0
    gate.leave(ONE, held_s=None)
    await waiting


async def test_a_waiter_that_goes_lets_the_next_one_in() -> None:
    gate = admission()
    await gate.enter(ONE)
    large = asyncio.ensure_future(gate.enter(Share(2, 20)))
    small = asyncio.ensure_future(gate.enter(ONE))
    await settle()
    large.cancel()
    await settle()
    assert small.done()
    assert (gate.busy, gate.queued) == (2, 0)


async def test_a_turn_that_comes_with_the_cancellation_is_given_back() -> None:
    gate = admission(slots=1)
    await gate.enter(ONE)
    waiting = asyncio.ensure_future(gate.enter(ONE))
    await settle()
    gate.leave(ONE, held_s=None)  # its turn has come …
    waiting.cancel()  # … and it goes before it could know
    await settle()
    assert waiting.cancelled()
    assert gate.busy == 0


async def test_a_cancelled_waiter_that_is_still_in_the_queue_is_passed_over() -> None:
    gate = admission(slots=1)
    await gate.enter(ONE)
    first = asyncio.ensure_future(gate.enter(ONE))
    second = asyncio.ensure_future(gate.enter(ONE))
    await settle()
    first.cancel()
    gate.leave(ONE, held_s=None)  # before `first` could run
    await settle()
    assert first.cancelled()
    assert second.done()
    assert gate.busy == 1


async def test_the_expected_wait_follows_what_requests_took() -> None:
    gate = admission(slots=1)
    for _ in range(50):
        await gate.enter(ONE)
        gate.leave(ONE, held_s=30.0)
    assert 25.0 < gate.expected_wait_s() <= 30.0


async def test_idle_is_when_nobody_is_in() -> None:
    gate = admission()
    await gate.idle()
    await gate.enter(ONE)
    idle = asyncio.ensure_future(gate.idle())
    await settle()
    assert not idle.done()
    gate.leave(ONE, held_s=None)
    await idle


@given(st.data())
def test_nothing_is_lost_or_given_twice(data: st.DataObject) -> None:
    async def scenario() -> None:
        gate = Admission(slots=3, kv_tokens=100, queue_limit=4)
        inside: list[Share] = []
        waiting: list[tuple[Share, asyncio.Task[None]]] = []
        for _ in range(data.draw(st.integers(1, 30))):
            action = data.draw(st.sampled_from(["enter", "leave", "cancel", "turn"]))
            if action == "enter":
                share = Share(data.draw(st.integers(1, 3)), data.draw(st.integers(0, 100)))
                waiting.append((share, asyncio.ensure_future(gate.enter(share))))
            elif action == "leave" and inside:
                gate.leave(inside.pop(data.draw(st.integers(0, len(inside) - 1))), held_s=None)
            elif action == "cancel" and waiting:
                waiting[data.draw(st.integers(0, len(waiting) - 1))][1].cancel()
            else:
                await settle()
                for share, task in [entry for entry in waiting if entry[1].done()]:
                    waiting.remove((share, task))
                    if not task.cancelled() and task.exception() is None:
                        inside.append(share)
                assert gate.busy == sum(share.slots for share in inside) <= 3
                assert sum(share.kv_tokens for share in inside) <= 100
                assert gate.queued == len(waiting) <= 4
        await settle()
        for share, task in waiting:
            if task.done() and not task.cancelled() and task.exception() is None:
                inside.append(share)
            task.cancel()
        await settle()
        for share in inside:
            gate.leave(share, held_s=None)
        assert (gate.busy, gate.queued) == (0, 0)

    asyncio.run(scenario())
