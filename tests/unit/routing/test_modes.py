"""What a route prefers among those that may answer."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.unit.routing.tables import CHEAP, DEAR, THIS_DEVICE, ask, deployment, snapshot, table

from tundish.routing.decide import decide
from tundish.routing.decision import Decision
from tundish.routing.table import Circuit, Condition, Mode, Shadow

CLEVER = deployment("clever", quality=0.9, price=DEAR)
THRIFTY = deployment("thrifty", quality=0.5, price=CHEAP)
UNPRICED = deployment("unpriced", quality=0.7, price=None)
SLOW = Condition(first_token_s=2.0, tokens_per_s=20.0)
QUICK = Condition(first_token_s=0.1, tokens_per_s=200.0)
HALF_OPEN = Condition(circuit=Circuit.HALF_OPEN)


def scores(decision: Decision) -> dict[str, float | None]:
    return {judged.deployment: judged.score for judged in decision.judged}


def test_quality_comes_first_in_quality() -> None:
    decision = decide(snapshot(table(THRIFTY, UNPRICED, CLEVER, mode=Mode.QUALITY)), ask())
    assert decision.order == ("clever", "unpriced", "thrifty")
    assert scores(decision) == {"clever": 0.9, "unpriced": 0.7, "thrifty": 0.5}


def test_of_equal_quality_the_cheaper_comes_first_and_then_the_quicker() -> None:
    dear, cheap, quick = (deployment(name, price=p) for name, p in (("dear", DEAR), ("cheap", CHEAP), ("quick", CHEAP)))
    known = snapshot(table(dear, cheap, quick, mode=Mode.QUALITY), cheap=SLOW, quick=QUICK, dear=QUICK)
    assert decide(known, ask()).order == ("quick", "cheap", "dear")


def test_the_cheapest_comes_first_in_cost_and_an_unknown_price_last() -> None:
    decision = decide(snapshot(table(UNPRICED, CLEVER, THRIFTY, mode=Mode.COST)), ask())
    assert decision.order == ("thrifty", "clever", "unpriced")
    assert scores(decision)["thrifty"] == 1.0
    assert scores(decision)["unpriced"] == 0.0
    assert decision.judged[0].estimate_usd is None


def test_cost_depends_on_what_is_read_and_what_is_written() -> None:
    reads = deployment("reads", price=CHEAP.__class__(input_nano_usd=1, output_nano_usd=1_000))
    writes = deployment("writes", price=CHEAP.__class__(input_nano_usd=100, output_nano_usd=100))
    known = snapshot(table(reads, writes, mode=Mode.COST))
    assert decide(known, ask(prompt_tokens=4_000, expected_output_tokens=10)).order == ("reads", "writes")
    assert decide(known, ask(prompt_tokens=10, expected_output_tokens=500)).order == ("writes", "reads")
    assert decide(known, ask(prompt_tokens=4_000, expected_output_tokens=500, max_output_tokens=10)).order[0] == "reads"


def test_the_quickest_comes_first_in_latency_by_the_whole_answer() -> None:
    starts_early = Condition(first_token_s=0.1, tokens_per_s=10.0)
    writes_fast = Condition(first_token_s=1.0, tokens_per_s=100.0)
    known = snapshot(table(CLEVER, THRIFTY, mode=Mode.LATENCY), clever=starts_early, thrifty=writes_fast)
    assert decide(known, ask(expected_output_tokens=4)).order == ("clever", "thrifty")
    decision = decide(known, ask(expected_output_tokens=208))
    assert decision.order == ("thrifty", "clever")
    assert [judged.expected_s for judged in decision.judged] == [pytest.approx(20.9), pytest.approx(3.08)]


def test_a_queue_makes_a_deployment_slower() -> None:
    busy = Condition(first_token_s=0.1, tokens_per_s=200.0, free_slots=0, slots=2, queued=39)
    known = snapshot(table(CLEVER, THRIFTY, mode=Mode.LATENCY), clever=busy, thrifty=SLOW)
    decision = decide(known, ask(expected_output_tokens=200))
    assert decision.order == ("thrifty", "clever")
    # (0.1 s + 208 tokens at 200 a second) × (1 + 40 ahead over two slots)
    assert decision.judged[0].expected_s == pytest.approx(1.14 * 21)


def test_what_was_never_measured_is_tried() -> None:
    known = snapshot(table(CLEVER, THRIFTY, mode=Mode.LATENCY), clever=QUICK)
    assert decide(known, ask()).order == ("thrifty", "clever")
    broken = Condition(first_token_s=float("nan"), tokens_per_s=0.0)
    assert decide(snapshot(table(CLEVER, mode=Mode.LATENCY), clever=broken), ask()).judged[0].expected_s is not None


def test_balanced_weighs_all_three() -> None:
    known = table(CLEVER, THRIFTY, mode=Mode.BALANCED)
    level = decide(snapshot(known, clever=QUICK, thrifty=QUICK), ask())
    # 0.5 × 1 + 0.3 × (cheap / dear) + 0.2 × 1, and 0.5 × 0.5 / 0.9 + 0.3 × 1 + 0.2 × 1
    cheap, dear = 104 * 10 + 208 * 20, 104 * 1_000 + 208 * 8_000
    assert scores(level)["clever"] == pytest.approx(0.5 + 0.3 * (cheap + 1) / (dear + 1) + 0.2, abs=1e-5)
    assert scores(level)["thrifty"] == pytest.approx(0.5 * 0.5 / 0.9 + 0.3 + 0.2, abs=1e-5)
    assert level.order == ("thrifty", "clever")
    assert decide(snapshot(known, clever=QUICK, thrifty=SLOW), ask()).order == ("clever", "thrifty")


def test_what_costs_nothing_and_is_worth_nothing_divides_by_nothing() -> None:
    free = CHEAP.__class__(input_nano_usd=0, output_nano_usd=0)
    for mode in Mode:
        members = (deployment("a", quality=0.0, price=free), deployment("b", quality=0.0, price=free))
        decision = decide(snapshot(table(*members, mode=mode, weights={"a": 0.0, "b": 0.0})), ask(prompt_tokens=0))
        assert decision.order == ("a", "b")


def test_order_is_as_listed() -> None:
    decision = decide(snapshot(table(CLEVER, UNPRICED, THRIFTY)), ask())
    assert decision.order == ("clever", "unpriced", "thrifty")
    assert scores(decision) == {"clever": 1.0, "unpriced": 0.5, "thrifty": pytest.approx(1 / 3, abs=1e-6)}


def test_weights_are_kept_and_the_rest_follows_by_weight() -> None:
    known = snapshot(
        table(CLEVER, THRIFTY, UNPRICED, mode=Mode.WEIGHTED, weights={"clever": 1, "thrifty": 7, "unpriced": 2})
    )
    drawn = Counter(decide(known, ask(draw=index / 1_000)).order for index in range(1_000))
    assert drawn == {
        ("thrifty", "unpriced", "clever"): 700,
        ("unpriced", "thrifty", "clever"): 200,
        ("clever", "thrifty", "unpriced"): 100,
    }


def test_the_refused_give_their_share_to_the_others() -> None:
    members = table(CLEVER, THRIFTY, UNPRICED, mode=Mode.WEIGHTED, weights={"clever": 1, "thrifty": 7, "unpriced": 3})
    known = snapshot(members, thrifty=Condition(usable=False))
    drawn = Counter(decide(known, ask(draw=index / 1_000)).chosen for index in range(1_000))
    assert drawn == {"unpriced": 750, "clever": 250}


def test_without_a_weight_a_deployment_is_only_a_last_resort() -> None:
    weights = {"clever": 0.0, "thrifty": 1.0}
    known = table(CLEVER, THRIFTY, mode=Mode.WEIGHTED, weights=weights)
    for draw in (0.0, 0.5, 0.999999, 1.0):
        assert decide(snapshot(known), ask(draw=draw)).order == ("thrifty", "clever")
    assert decide(snapshot(known, thrifty=Condition(usable=False)), ask()).order == ("clever",)


@pytest.mark.parametrize("mode", Mode)
def test_a_conversation_stays_where_it_is(mode: Mode) -> None:
    known = table(CLEVER, THRIFTY, UNPRICED, mode=mode)
    for name in known.deployments:
        decision = decide(snapshot(known), ask(stuck_to=name))
        assert decision.order[0] == name
        assert sorted(decision.order) == ["clever", "thrifty", "unpriced"]


def test_but_not_where_it_may_no_longer_be() -> None:
    near = deployment("near", place=THIS_DEVICE)
    known = table(CLEVER, near)
    assert decide(snapshot(known), ask("restricted", stuck_to="clever")).order == ("near",)
    assert decide(snapshot(known, near=Condition(usable=False)), ask(stuck_to="near")).order == ("clever",)
    assert decide(snapshot(known, near=HALF_OPEN), ask(stuck_to="near")).order == ("clever", "near")
    assert decide(snapshot(known), ask(stuck_to="ghost")).order == ("clever", "near")
    assert decide(snapshot(table(CLEVER, near, sticky=False)), ask(stuck_to="near")).order == ("clever", "near")


@pytest.mark.parametrize("mode", [Mode.ORDER, Mode.QUALITY, Mode.WEIGHTED])
def test_a_half_open_circuit_comes_last_but_for_a_probe_in_sixteen(mode: Mode) -> None:
    known = table(CLEVER, THRIFTY, UNPRICED, mode=mode, weights={"clever": 1e9, "unpriced": 0.0})
    recovering = snapshot(known, clever=HALF_OPEN)
    assert decide(recovering, ask(draw=0.0)).order[-1] == "clever"
    firsts = Counter(decide(recovering, ask(draw=index / 9_973)).chosen for index in range(9_973))
    assert firsts["clever"] == pytest.approx(9_973 / 16, rel=0.1)
    alone = snapshot(known, clever=HALF_OPEN, thrifty=Condition(usable=False), unpriced=Condition(usable=False))
    assert decide(alone, ask()).order == ("clever",)


def test_a_shadow_gets_its_share_and_is_never_the_one_that_answers() -> None:
    mirrored = table(CLEVER, THRIFTY, shadow=Shadow(deployment="thrifty", share=0.25))
    shadows = Counter(decide(snapshot(mirrored), ask(draw=index / 9_973)).shadow for index in range(9_973))
    assert shadows["thrifty"] == pytest.approx(9_973 / 4, rel=0.1)
    assert set(shadows) == {None, "thrifty"}
    always = table(CLEVER, THRIFTY, shadow=Shadow(deployment="thrifty", share=1.0))
    assert decide(snapshot(always), ask(draw=0.7)).shadow == "thrifty"
    assert decide(snapshot(always), ask(draw=0.7, stuck_to="thrifty")).shadow is None
    never = table(CLEVER, THRIFTY, shadow=Shadow(deployment="thrifty", share=0.0))
    assert decide(snapshot(never), ask(draw=0.0)).shadow is None


def test_a_weighted_route_mirrors_all_its_members_alike() -> None:
    outside = deployment("outside")
    known = table(CLEVER, THRIFTY, outside, mode=Mode.WEIGHTED, weights={"outside": 0.0})
    route = known.routes["chat"]
    mirrored = table(
        CLEVER,
        THRIFTY,
        outside,
        mode=Mode.WEIGHTED,
        members=route.members[:2],
        shadow=Shadow(deployment="outside", share=0.5),
    )
    decisions = [decide(snapshot(mirrored), ask(draw=index / 9_973)) for index in range(9_973)]
    assert all("outside" not in decision.order for decision in decisions)
    for name in ("clever", "thrifty"):
        chosen = [decision for decision in decisions if decision.chosen == name]
        assert sum(decision.shadow == "outside" for decision in chosen) == pytest.approx(len(chosen) / 2, rel=0.1)


@pytest.mark.parametrize(
    ("shadow", "condition", "changes"),
    [
        (deployment("shadow"), Condition(), {"data_class": "restricted"}),
        (deployment("shadow", place=THIS_DEVICE), Condition(usable=False), {}),
        (deployment("shadow", place=THIS_DEVICE), Condition(circuit=Circuit.HALF_OPEN), {}),
        (deployment("shadow", place=THIS_DEVICE, context_length=64), Condition(), {}),
        (deployment("shadow", place=THIS_DEVICE, price=DEAR), Condition(), {}),
        (deployment("shadow", place=THIS_DEVICE), Condition(), {"data_class": "unknown"}),
    ],
)
def test_a_shadow_must_satisfy_what_the_others_must(shadow, condition: Condition, changes: dict[str, str]) -> None:
    near = deployment("near", place=THIS_DEVICE)
    route = {"price_ceiling_usd": 0.001, "shadow": Shadow(deployment="shadow", share=1.0)}
    known = table(near, shadow, members=table(near).routes["chat"].members, **route)
    assert decide(snapshot(known, shadow=condition), ask(**changes)).shadow is None
