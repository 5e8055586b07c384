"""What must hold before anything is scored: one test for each constraint, and which comes first."""

from __future__ import annotations

import pytest
from tests.unit.routing.tables import CLOUD, DEAR, SITE, THIS_DEVICE, ask, constraints, deployment, snapshot, table

from tundish.core.errors import ModelNotFound
from tundish.core.place import Place, Reach
from tundish.policy.policy import Rule
from tundish.routing.decide import decide
from tundish.routing.decision import Needs
from tundish.routing.table import Circuit, Condition, Member, Mode, RoutingTable

NEAR = deployment("near", place=THIS_DEVICE)
OFFICE = deployment("office", place=SITE)
FAR = deployment("far", place=CLOUD)
FULL = Condition(free_slots=0, queued=3, queue_room=0)


def test_data_goes_only_where_its_class_may() -> None:
    known = snapshot(table(FAR, OFFICE, NEAR))
    assert decide(known, ask("public")).order == ("far", "office", "near")
    assert decide(known, ask("internal")).order == ("office", "near")
    restricted = decide(known, ask("restricted"))
    assert restricted.order == ("near",)
    assert constraints(restricted) == {"far": "place", "office": "place", "near": None}
    assert restricted.judged[0].refusal is not None
    assert "'restricted'" in restricted.judged[0].refusal.reason
    assert "'cloud'" in restricted.judged[0].refusal.reason


@pytest.mark.parametrize("data_class", ["secret", "", "Public", "*"])
def test_an_unknown_class_is_answered_by_nobody(data_class: str) -> None:
    decision = decide(snapshot(table(FAR, NEAR)), ask(data_class))
    assert decision.order == ()
    assert constraints(decision) == {"far": "place", "near": "place"}


def test_a_member_that_does_not_exist_is_nowhere() -> None:
    known = table(NEAR, members=(Member(deployment="ghost"), Member(deployment="near")))
    decision = decide(snapshot(known), ask())
    assert decision.order == ("near",)
    assert constraints(decision) == {"ghost": "place", "near": None}


def test_a_deployment_in_a_place_that_pretends_to_be_another_is_refused() -> None:
    impostor = deployment("impostor", place=Place(name="site", reach=Reach.GLOBAL))
    only_sites = (Rule(data_class="internal", places=("reach:site",)),)
    decision = decide(snapshot(table(impostor, OFFICE, rules=only_sites)), ask("internal"))
    assert decision.order == ()  # of the two that claim to be `site` one is not, so the name says nothing


def test_an_unknown_route_says_which_there_are() -> None:
    with pytest.raises(ModelNotFound, match="Known models: chat"):
        decide(snapshot(table(NEAR)), ask(route="chatt"))


@pytest.mark.parametrize("need", ["tools", "structured_output", "reasoning_effort", "logprobs", "completions"])
def test_a_missing_capability_refuses_only_who_needs_it(need: str) -> None:
    known = snapshot(table(deployment("without", **{need: False}), deployment("with")))
    assert decide(known, ask()).order == ("without", "with")
    decision = decide(known, ask(needs=Needs(**{need: True})))
    assert decision.order == ("with",)
    assert constraints(decision) == {"without": "capability", "with": None}


@pytest.mark.parametrize(
    ("prompt_tokens", "max_output_tokens", "expected", "fits"),
    [
        (800, None, 200, True),
        (801, None, 200, False),
        (990, 10, 200, True),
        (991, 10, 200, False),
        (1, 1_000_000, 200, False),  # 1 024 of them must fit
        (999, None, 0, True),  # an answer has at least one token
        (1_000, None, 0, False),
    ],
)
def test_the_context_must_hold_the_prompt_and_the_answer_exactly(
    prompt_tokens: int, max_output_tokens: int | None, expected: int, fits: bool
) -> None:
    known = snapshot(table(deployment("short", context_length=1_000), deployment("any", context_length=None)))
    size = {
        "prompt_tokens": prompt_tokens,
        "max_output_tokens": max_output_tokens,
        "expected_output_tokens": expected,
    }
    decision = decide(known, ask(**size))
    assert constraints(decision) == {"short": None if fits else "context", "any": None}
    assert decision.order == (("short", "any") if fits else ("any",))


def test_an_answer_that_is_expected_to_be_long_must_fit_as_far_as_it_was_asked_for() -> None:
    known = snapshot(table(deployment("short", context_length=2_000)))
    for max_output_tokens, fits in ((1_900, True), (1_901, False), (9_000, False)):
        size = ask(prompt_tokens=100, max_output_tokens=max_output_tokens, expected_output_tokens=5_000)
        assert bool(decide(known, size).order) is fits


@pytest.mark.parametrize(
    ("condition", "constraint", "words"),
    [
        (Condition(usable=False, reason="Connection refused."), "health", "Connection refused."),
        (Condition(usable=False), "health", "not usable"),
        (Condition(circuit=Circuit.OPEN), "circuit", "open"),
        (Condition(retry_at_s=1_002.34), "rate", "another 2.4 s"),
        (FULL, "capacity", "full with 3"),
        (Condition(free_slots=-1, queue_room=-1), "capacity", "full"),
    ],
)
def test_a_bad_moment_refuses(condition: Condition, constraint: str, words: str) -> None:
    decision = decide(snapshot(table(FAR, NEAR), far=condition), ask())
    assert decision.order == ("near",)
    assert constraints(decision) == {"far": constraint, "near": None}
    assert decision.judged[0].refusal is not None
    assert words in decision.judged[0].refusal.reason


@pytest.mark.parametrize(
    "condition",
    [
        Condition(retry_at_s=1_000.0),
        Condition(retry_at_s=3.0),
        Condition(free_slots=0, queue_room=1),
        Condition(free_slots=0, queue_room=None, queued=99),
        Condition(free_slots=1, queue_room=0),
        Condition(free_slots=None, queue_room=0),
        Condition(circuit=Circuit.HALF_OPEN),
    ],
)
def test_what_may_still_answer_is_not_refused(condition: Condition) -> None:
    assert decide(snapshot(table(FAR), far=condition), ask()).order == ("far",)


def test_a_ceiling_refuses_what_costs_more_and_what_has_no_price() -> None:
    # 104 prompt tokens (100, rounded up) and 208 of an answer: 5.2e-6 and 1.768e-3 dollars.
    cheap, dear, unknown = deployment("cheap"), deployment("dear", price=DEAR), deployment("unknown", price=None)
    members = table(cheap, dear, unknown, price_ceiling_usd=0.001)
    decision = decide(snapshot(members), ask())
    assert decision.order == ("cheap",)
    assert constraints(decision) == {"cheap": None, "dear": "price", "unknown": "price"}
    assert decision.judged[1].estimate_usd == pytest.approx((104 * 1_000 + 208 * 8_000) / 1e9)
    assert decision.judged[2].refusal is not None
    assert "unknown" in decision.judged[2].refusal.reason
    assert decide(snapshot(table(cheap, dear, unknown)), ask()).order == ("cheap", "dear", "unknown")


def test_the_first_constraint_that_fails_is_the_one_that_is_told() -> None:
    everything_wrong = {"place": CLOUD, "tools": False, "context_length": 10, "price": None}
    conditions = {
        "health": Condition(usable=False, circuit=Circuit.OPEN, retry_at_s=9e9, free_slots=0, queue_room=0),
        "circuit": Condition(circuit=Circuit.OPEN, retry_at_s=9e9, free_slots=0, queue_room=0),
        "rate": Condition(retry_at_s=9e9, free_slots=0, queue_room=0),
        "capacity": Condition(free_slots=0, queue_room=0),
        "price": Condition(),
    }
    repairs = [
        ("place", {}),
        ("capability", {"place": THIS_DEVICE}),
        ("context", {"place": THIS_DEVICE, "tools": True}),
        *((name, {"place": THIS_DEVICE, "tools": True, "context_length": None}) for name in conditions),
    ]
    for expected, repair in repairs:
        bad: RoutingTable = table(deployment("x", **{**everything_wrong, **repair}), price_ceiling_usd=1e-9)
        condition = conditions.get(expected, conditions["health"])
        decision = decide(snapshot(bad, x=condition), ask("restricted", needs=Needs(tools=True)))
        assert constraints(decision) == {"x": expected}
        assert decision.order == ()


def test_a_deployment_that_a_route_names_twice_is_one() -> None:
    known = table(NEAR, mode=Mode.ORDER, members=(Member(deployment="near"), Member(deployment="near")))
    decision = decide(snapshot(known), ask())
    assert decision.order == ("near",)
    assert len(decision.judged) == 1


def test_a_last_look_before_an_attempt_agrees() -> None:
    known = table(FAR, NEAR)
    assert known.allows("restricted", "near")
    assert not known.allows("restricted", "far")
    assert not known.allows("secret", "near")
    assert not known.allows("public", "ghost")
