from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from tundish.engines.llama_cpp.launch_gate import LaunchGate


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_many_together_and_one_alone() -> None:
    gate = LaunchGate()
    await gate.enter()
    await gate.enter()
    alone = asyncio.ensure_future(gate.enter(alone=True))
    late = asyncio.ensure_future(gate.enter())
    await settle()
    assert (alone.done(), late.done()) == (False, False)  # who comes later does not overtake who wants to be alone
    gate.leave()
    gate.leave()
    await settle()
    assert (alone.done(), late.done()) == (True, False)
    gate.leave(alone=True)
    await late


async def test_who_gives_up_waiting_lets_the_others_in() -> None:
    gate = LaunchGate()
    await gate.enter()
    alone = asyncio.ensure_future(gate.enter(alone=True))
    late = asyncio.ensure_future(gate.enter())
    await settle()
    alone.cancel()
    await settle()
    assert late.done()


async def test_who_is_cancelled_in_the_moment_of_its_turn_gives_it_back() -> None:
    gate = LaunchGate()
    await gate.enter(alone=True)
    turn = asyncio.ensure_future(gate.enter(alone=True))
    await settle()
    gate.leave(alone=True)
    turn.cancel()
    await settle()
    assert turn.cancelled()
    await asyncio.wait_for(gate.enter(alone=True), 5)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.booleans()), max_size=20))
async def test_nobody_is_ever_beside_who_is_alone(plans: list[tuple[bool, int, bool]]) -> None:
    gate = LaunchGate()
    inside: list[bool] = []

    async def visit(alone: bool, turns: int) -> None:
        await gate.enter(alone=alone)
        inside.append(alone)
        try:
            assert inside == [True] or True not in inside
            for _ in range(turns):
                await asyncio.sleep(0)
        finally:
            inside.remove(alone)
            gate.leave(alone=alone)

    tasks = [asyncio.ensure_future(visit(alone, turns)) for alone, turns, _ in plans]
    await settle()
    for task, (_, _, cancelled) in zip(tasks, plans, strict=True):
        if cancelled:
            task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert not [result for result in results if isinstance(result, AssertionError)]
    await asyncio.wait_for(gate.enter(alone=True), 5)  # everything was given back
