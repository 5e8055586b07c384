"""Whatever is configured, asked and broken: what must always hold."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tundish.core.errors import (
    BackendDied,
    BackendTimeout,
    ContextLengthExceeded,
    InvalidRequest,
    Overloaded,
    TundishError,
    Unavailable,
)
from tundish.dispatch.rules import BreakerRules, RetryRules, Rules
from tundish.routing.decide import decide
from tundish.routing.table import Member, Mode, Route, Shadow

from .plant import CLASSES, PLACES, POLICY, Asked, Hang, Plant, Played, PlayedRelay, Step, answer, plant

NAMES = ("a", "b", "c", "d")

errors = st.sampled_from(
    [
        BackendDied("Died."),
        BackendTimeout("Slow."),
        Overloaded("Busy.", retry_after_s=0.5),
        Overloaded("Busy for long.", retry_after_s=60.0),
        Unavailable("Loading."),
        InvalidRequest("Bad."),
        ContextLengthExceeded(prompt_tokens=2, context_length=1),
    ]
)
steps: st.SearchStrategy[Step] = st.one_of(st.just("la "), st.just("la "), errors, st.just(Hang()))
scripts = st.lists(st.lists(steps, max_size=4), min_size=1, max_size=4)
backends = st.builds(lambda kind, played: kind(*played), st.sampled_from([Played, PlayedRelay]), scripts)


@st.composite
def plants(draw: st.DrawFn) -> Plant:
    names = NAMES[: draw(st.integers(1, len(NAMES)))]
    built: dict[str, Played] = {name: draw(backends) for name in names}
    by = Route(
        name="r",
        mode=draw(st.sampled_from(list(Mode))),
        members=tuple(Member(deployment=name, weight=draw(st.floats(0.1, 9))) for name in draw(st.permutations(names))),
        default_class=draw(st.sampled_from([None, *CLASSES])),
        continue_elsewhere=draw(st.booleans()),
        hedge_after_s=draw(st.sampled_from([None, 0.0, 1.0])),
        sticky=draw(st.booleans()),
        shadow=draw(st.sampled_from([None, *(Shadow(deployment=name, share=0.5) for name in names)])),
    )
    rules = Rules(
        retries=RetryRules(
            attempts=draw(st.integers(1, 6)),
            budget_ratio=draw(st.sampled_from([0.0, 0.2])),
            budget_burst=draw(st.sampled_from([0.0, 2.0, 10.0])),
        ),
        breaker=BreakerRules(failures=draw(st.integers(1, 4)), open_s=5.0),
    )
    return plant(built, {name: draw(st.sampled_from(list(PLACES))) for name in names}, by=by, rules=rules)


requests = st.lists(
    st.fixed_dictionaries(
        {
            "route": st.sampled_from(["r", "r", "a", "nobody"]),
            "claimed_class": st.sampled_from([None, *CLASSES, "unheard-of"]),
            "conversations": st.sampled_from([(), ("c1",), ("c2", "c1")]),
            "raw": st.booleans(),
            "leaves": st.booleans(),
        }
    ),
    min_size=1,
    max_size=8,
)


async def one(works: Plant, leaves: bool, **fields: Any) -> None:
    """One request; its client goes away when everything hangs, or in the middle when it `leaves`."""
    task = asyncio.create_task(answer(works, Asked(**fields)))
    for _ in range(3 if leaves else 400):
        if task.done():
            break
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(TundishError, asyncio.CancelledError):
        await task


async def play(works: Plant, asked: list[dict[str, Any]]) -> int:
    """All of them, one after the other; how many generations still run then."""
    for fields in asked:
        await one(works, **fields)
        works.clock.at_s += 1.0
    await works.dispatcher.stop()
    return sum(backend.active for backend in works.backends.values())


@settings(deadline=None, max_examples=150)
@given(plants(), requests)
def test_no_attempt_leaves_the_allowed_places_and_each_request_has_one_receipt(
    works: Plant, asked: list[dict[str, Any]]
) -> None:
    asyncio.run(play(works, asked))
    real = [receipt for receipt in works.seen.receipts if not receipt.shadow_of]
    assert len(real) == len(asked)
    touched = 0
    for receipt in works.seen.receipts:
        allowed = POLICY.allowed(receipt.data_class, list(PLACES.values())) if receipt.data_class else frozenset[str]()
        assert {attempt.place for attempt in receipt.attempts} <= allowed
        assert receipt.place == "" or receipt.place in allowed
        touched += len(receipt.attempts)
    assert touched >= sum(len(backend.asked) for backend in works.backends.values()), "every call is on record"


@settings(deadline=None, max_examples=100)
@given(plants(), requests)
def test_nothing_is_left_behind(works: Plant, asked: list[dict[str, Any]]) -> None:
    assert asyncio.run(play(works, asked)) == 0
    assert works.seen.running == 0
    assert len(works.seen.records) <= len(asked)


@settings(deadline=None, max_examples=100)
@given(plants(), requests)
def test_a_budget_bounds_the_retries(works: Plant, asked: list[dict[str, Any]]) -> None:
    rules = works.dispatcher.site.rules.retries
    asyncio.run(play(works, asked))
    of_route = [receipt for receipt in works.seen.receipts if receipt.route == "r"]
    retries = sum(max(0, len(receipt.attempts) - 1) for receipt in of_route)
    assert retries <= rules.budget_burst + rules.budget_ratio * len(of_route)
    assert all(len(receipt.attempts) <= rules.attempts for receipt in of_route)


@settings(deadline=None, max_examples=100)
@given(plants(), requests)
def test_decisions_replay(works: Plant, asked: list[dict[str, Any]]) -> None:
    asyncio.run(play(works, asked))
    for snapshot, ask, decision in works.decisions:
        again = decide(snapshot, ask)
        assert (again.order, again.judged, again.shadow) == (decision.order, decision.judged, decision.shadow)


@settings(deadline=None, max_examples=100)
@given(plants(), requests)
def test_a_conversations_class_never_falls(works: Plant, asked: list[dict[str, Any]]) -> None:
    asyncio.run(play(works, [fields | {"conversations": ("c",), "route": "r"} for fields in asked]))
    claimed = [(r.label_sources, r.data_class) for r in works.seen.receipts if r.data_class and not r.shadow_of]
    highest = -1
    for sources, data_class in claimed:
        assert CLASSES.index(data_class) >= highest
        if any(source.startswith("header=") for source in sources):
            highest = CLASSES.index(data_class)
