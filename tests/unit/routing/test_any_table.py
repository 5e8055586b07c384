"""For any table, conditions and request: never outside the allowed places, everybody judged, and the same again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tundish.catalog.price import Price
from tundish.core.backend import Capabilities
from tundish.core.place import Place, Reach
from tundish.policy.label import Label
from tundish.policy.policy import Rule, policy
from tundish.routing.decide import decide
from tundish.routing.decision import Ask, Decision, Needs
from tundish.routing.refusal import may_pass, retry_after_s, why_nobody
from tundish.routing.size import answer_tokens, context_need, rounded_up
from tundish.routing.table import Circuit, Condition, Deployment, Member, Mode, Route, RoutingTable, Shadow, Snapshot

NAMES = [f"d{index}" for index in range(4)]
CLASSES = ("public", "internal", "restricted")
SELECTORS = ["*", "p0", "p1", "p2", "reach:device", "reach:site", "reach:global", "geography:EU", "owner:acme"]
NOW_S = 1_000.0

places = st.builds(
    Place,
    name=st.sampled_from(["p0", "p1", "p2", "reach:site"]),
    reach=st.sampled_from(Reach),
    owner=st.sampled_from(["", "acme"]),
    geography=st.sampled_from(["", "DE", "US"]),
)
capabilities = st.builds(
    Capabilities,
    context_length=st.none() | st.sampled_from([256, 1_000, 8_192]),
    tools=st.booleans(),
    logprobs=st.booleans(),
)
prices = st.none() | st.builds(Price, input_nano_usd=st.integers(0, 10_000), output_nano_usd=st.integers(0, 50_000))
conditions = st.builds(
    Condition,
    usable=st.sampled_from([True, True, True, False]),
    circuit=st.sampled_from(Circuit),
    free_slots=st.none() | st.integers(0, 2),
    slots=st.none() | st.integers(0, 4),
    queued=st.integers(0, 5),
    queue_room=st.none() | st.integers(0, 2),
    retry_at_s=st.none() | st.sampled_from([NOW_S - 5, NOW_S, NOW_S + 5]),
    first_token_s=st.none() | st.floats(0, 60),
    tokens_per_s=st.none() | st.floats(0, 1_000),
)
asks = st.builds(
    Ask,
    route=st.just("chat"),
    label=st.builds(Label, data_class=st.sampled_from([*CLASSES, "unknown"])),
    needs=st.builds(Needs, tools=st.booleans(), logprobs=st.booleans()),
    prompt_tokens=st.integers(0, 9_000),
    max_output_tokens=st.none() | st.integers(0, 9_000),
    expected_output_tokens=st.integers(0, 2_000),
    stuck_to=st.none() | st.sampled_from([*NAMES, "ghost"]),
    draw=st.floats(0, 1),
)
members = st.builds(
    Member, deployment=st.sampled_from([*NAMES, "ghost"]), weight=st.sampled_from([0.0, 0.1, 1.0, 50.0])
)
shadows = st.none() | st.builds(
    Shadow, deployment=st.sampled_from([*NAMES, "ghost"]), share=st.sampled_from([0.0, 0.5, 1.0])
)
routes = st.builds(
    Route,
    name=st.just("chat"),
    mode=st.sampled_from(Mode),
    members=st.lists(members, max_size=5).map(tuple),
    sticky=st.booleans(),
    price_ceiling_usd=st.none() | st.sampled_from([0.0, 0.0001, 0.01]),
    shadow=shadows,
)
rules = st.builds(
    Rule, data_class=st.sampled_from(CLASSES), places=st.lists(st.sampled_from(SELECTORS), max_size=3).map(tuple)
)


@st.composite
def tables(draw: st.DrawFn) -> RoutingTable:
    deployments = {
        name: Deployment(
            name=name,
            model="m",
            place=draw(places),
            capabilities=draw(capabilities),
            quality=draw(st.floats(0, 1)),
            price=draw(prices),
        )
        for name in NAMES
    }
    stated = draw(st.lists(rules, max_size=5))
    return RoutingTable(
        version="1",
        policy=policy(classes=CLASSES, rules=stated, default_class="internal"),
        routes={"chat": draw(routes)},
        deployments=deployments,
    )


snapshots = st.builds(
    Snapshot,
    table=tables(),
    conditions=st.dictionaries(st.sampled_from(NAMES), conditions),
    now_s=st.just(NOW_S),
)


def copy(snapshot: Snapshot) -> Snapshot:
    """The same, having seen nothing."""
    return dataclasses.replace(snapshot, table=dataclasses.replace(snapshot.table))


def expected_refusal(snapshot: Snapshot, ask: Ask, name: str) -> str | None:
    """Read off the definition, one deployment at a time: what `decide` must find by its shorter ways."""
    table, condition = snapshot.table, snapshot.conditions.get(name, Condition())
    known = table.deployments.get(name)
    everywhere = [deployment.place for deployment in table.deployments.values()]
    if known is None or known.place.name not in table.policy.allowed(ask.label.data_class, everywhere):
        return "place"
    can = known.capabilities
    route, size = table.routes["chat"], answer_tokens(ask)
    price = known.price and known.price.cost_nano_usd(
        prompt_tokens=rounded_up(ask.prompt_tokens), completion_tokens=rounded_up(size)
    )
    wrong: Mapping[str, bool] = {
        "capability": (ask.needs.tools and not can.tools) or (ask.needs.logprobs and not can.logprobs),
        "context": can.context_length is not None and context_need(ask) > can.context_length,
        "health": not condition.usable,
        "circuit": condition.circuit is Circuit.OPEN,
        "rate": condition.retry_at_s is not None and condition.retry_at_s > snapshot.now_s,
        "capacity": condition.free_slots == 0 and condition.queue_room == 0,
        "price": route.price_ceiling_usd is not None and (price is None or price > route.price_ceiling_usd * 1e9),
    }
    return next((constraint for constraint, failed in wrong.items() if failed), None)


@given(snapshots, st.lists(asks, min_size=1, max_size=4))
@settings(deadline=None, max_examples=150)
def test_nothing_is_ever_tried_outside_the_allowed_places(snapshot: Snapshot, several: list[Ask]) -> None:
    table = snapshot.table
    everywhere = [deployment.place for deployment in table.deployments.values()]
    for ask in several:
        decision = decide(snapshot, ask)
        allowed = table.policy.allowed(ask.label.data_class, everywhere)
        tried = [*decision.order, *([decision.shadow] if decision.shadow else [])]
        assert {table.deployments[name].place.name for name in tried} <= allowed
        assert all(table.allows(ask.label.data_class, name) for name in tried)
        assert decision.shadow is None or decision.shadow != decision.chosen
        if ask.label.data_class == "unknown":
            assert tried == []


@given(snapshots, st.lists(asks, min_size=1, max_size=4))
@settings(deadline=None, max_examples=150)
def test_everybody_is_judged_once_and_rightly(snapshot: Snapshot, several: list[Ask]) -> None:
    route = snapshot.table.routes["chat"]
    for ask in several:
        decision = decide(snapshot, ask)
        names = list(dict.fromkeys(member.deployment for member in route.members))
        assert [judged.deployment for judged in decision.judged] == names
        for judged in decision.judged:
            refusal = expected_refusal(snapshot, ask, judged.deployment)
            assert (judged.refusal and judged.refusal.constraint) == refusal
            assert (judged.score is None) == (judged.expected_s is None) == (refusal is not None)
        assert sorted(decision.order) == sorted(j.deployment for j in decision.judged if j.refusal is None)


@given(snapshots, st.lists(asks, min_size=1, max_size=6), asks)
@settings(deadline=None, max_examples=100)
def test_a_decision_replays_identically_whatever_was_decided_before(
    snapshot: Snapshot, before: list[Ask], ask: Ask
) -> None:
    fresh = decide(copy(snapshot), ask)
    for other in before:
        decide(snapshot, other)
    assert decide(snapshot, ask) == fresh
    assert decide(snapshot, ask).judged is decide(snapshot, ask).judged  # shared, so that it is encoded once


@given(snapshots, asks, st.integers(0, 40))
@settings(deadline=None, max_examples=75)
def test_requests_of_about_the_same_size_are_judged_by_their_own(snapshot: Snapshot, ask: Ask, more: int) -> None:
    larger = msgspec.structs.replace(ask, prompt_tokens=ask.prompt_tokens + more)
    decide(snapshot, ask)
    assert decide(snapshot, larger) == decide(copy(snapshot), larger)


@given(snapshots, asks, st.randoms())
@settings(deadline=None, max_examples=75)
def test_the_order_of_rules_and_of_conditions_changes_nothing(snapshot: Snapshot, ask: Ask, random: object) -> None:
    table = snapshot.table
    stated, states = list(table.policy.rules), list(snapshot.conditions.items())
    random.shuffle(stated)
    random.shuffle(states)
    shuffled = policy(classes=CLASSES, rules=stated, default_class="internal")
    other = Snapshot(table=dataclasses.replace(table, policy=shuffled), conditions=dict(states), now_s=snapshot.now_s)
    assert decide(other, ask) == decide(snapshot, ask)


@given(snapshots, asks)
@settings(deadline=None, max_examples=75)
def test_there_is_always_something_to_say(snapshot: Snapshot, ask: Ask) -> None:
    decision: Decision = decide(snapshot, ask)
    if decision.order:
        return
    sentence = why_nobody(decision)
    assert "'chat'" in sentence
    assert sentence.endswith(".")
    assert retry_after_s(snapshot, decision) >= 1
    for judged in decision.judged:
        assert judged.refusal is not None
        name = {"place": "policy"}.get(judged.refusal.constraint, judged.refusal.constraint)
        assert f"({name})" in sentence
    constraints = {judged.refusal.constraint for judged in decision.judged if judged.refusal}
    assert may_pass(decision) == bool(constraints & {"health", "circuit", "rate", "capacity"})


@given(st.integers(0, 10**9))
def test_a_size_is_rounded_up_by_an_eighth_at_most(tokens: int) -> None:
    rounded = rounded_up(tokens)
    assert tokens <= rounded <= tokens * 1.125
    assert rounded_up(rounded) == rounded
    assert rounded_up(tokens + 1) >= rounded
