"""What is said when nobody may answer, and when to come back."""

from __future__ import annotations

import pytest
from tests.unit.routing.tables import SITE, THIS_DEVICE, ask, deployment, snapshot, table

from tundish.routing.decide import decide
from tundish.routing.refusal import may_pass, retry_after_s, why_nobody
from tundish.routing.table import Circuit, Condition

FAR, FARTHER = deployment("far"), deployment("farther")
NEAR = deployment("near", place=THIS_DEVICE)
DOWN = Condition(usable=False, reason="Connection refused.")


def test_each_constraint_is_counted_and_named() -> None:
    known = snapshot(table(FAR, FARTHER, NEAR), near=DOWN)
    decision = decide(known, ask("restricted"))
    assert why_nobody(decision) == (
        "No deployment of 'chat' may answer this request: 2 of 3 are outside the places that 'restricted' data may go "
        "to (policy), 1 is down (health): Connection refused. Try again later."
    )
    assert may_pass(decision)


def test_where_only_the_policy_is_in_the_way_waiting_is_no_advice() -> None:
    decision = decide(snapshot(table(FAR)), ask("restricted"))
    assert why_nobody(decision) == (
        "No deployment of 'chat' may answer this request: 1 is outside the places that 'restricted' data may go to "
        "(policy). Ask another route, or have the policy allow one of its places."
    )
    assert not may_pass(decision)


def test_an_empty_route_says_so() -> None:
    decision = decide(snapshot(table()), ask())
    assert decision.order == ()
    assert why_nobody(decision) == "The route 'chat' has no deployments. Add one to it."
    assert not may_pass(decision)


def test_a_prompt_that_is_too_long_is_to_be_shortened() -> None:
    short = deployment("short", context_length=64)
    sentence = why_nobody(decide(snapshot(table(short)), ask()))
    assert "too small for the request (context): " in sentence
    assert "64 tokens" in sentence
    assert sentence.endswith("Send less, or ask another route.")


def test_of_many_reasons_two_are_told() -> None:
    names = ("a", "b", "c")
    conditions = {name: Condition(usable=False, reason=f"Reason {name}.") for name in names}
    sentence = why_nobody(decide(snapshot(table(*map(deployment, names)), **conditions), ask()))
    assert "3 of 3 are down (health): Reason a; Reason b; …" in sentence


def test_a_long_reason_is_cut() -> None:
    known = snapshot(table(FAR), far=Condition(usable=False, reason="x" * 10_000))
    assert len(why_nobody(decide(known, ask()))) < 400


@pytest.mark.parametrize(
    ("conditions", "wait_s"),
    [
        ({"far": Condition(retry_at_s=1_009.0), "farther": Condition(retry_at_s=1_005.0)}, 5.0),
        ({"far": Condition(retry_at_s=1_000.1), "farther": Condition(retry_at_s=1_005.0)}, 1.0),
        ({"far": Condition(circuit=Circuit.OPEN), "farther": Condition(retry_at_s=1_005.0)}, 1.0),
        ({"far": DOWN, "farther": DOWN}, 1.0),
    ],
)
def test_when_to_come_back(conditions: dict[str, Condition], wait_s: float) -> None:
    known = snapshot(table(FAR, FARTHER), **conditions)
    decision = decide(known, ask())
    assert decision.order == ()
    assert retry_after_s(known, decision) == pytest.approx(wait_s)


def test_those_who_may_never_answer_do_not_say_when_to_come_back() -> None:
    office = deployment("office", place=SITE)
    known = snapshot(table(FAR, office), far=Condition(retry_at_s=1_001.0), office=Condition(retry_at_s=1_030.0))
    assert retry_after_s(known, decide(known, ask("internal"))) == pytest.approx(30.0)
