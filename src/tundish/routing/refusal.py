"""What is said when nobody may answer."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from tundish.routing.constraints import PASSING, Constraint
from tundish.routing.decision import Decision, Refusal
from tundish.routing.table import Snapshot

_WHAT: Mapping[Constraint, str] = {
    Constraint.PLACE: "outside the places that '{data_class}' data may go to",
    Constraint.CAPABILITY: "unable to do what the request asks for",
    Constraint.CONTEXT: "too small for the request",
    Constraint.HEALTH: "down",
    Constraint.CIRCUIT: "failing, with an open circuit",
    Constraint.RATE: "holding requests off",
    Constraint.CAPACITY: "full",
    Constraint.PRICE: "above the price ceiling, or of unknown price",
}
_NAMES: Mapping[Constraint, str] = {Constraint.PLACE: "policy"}
"""Where people call it otherwise than by its value."""
_TELLING = frozenset((Constraint.CAPABILITY, Constraint.CONTEXT, Constraint.HEALTH, Constraint.RATE, Constraint.PRICE))
"""Whose reasons say more than what is said of them anyway."""
_MOST_REASONS = 2
_LEAST_WAIT_S = 1.0
_MOST_REASON_CHARS = 200


def why_nobody(decision: Decision) -> str:
    """The sentence that names the constraints which emptied the set, and what can be done; for the 503."""
    refusals = [judgement.refusal for judgement in decision.judged if judgement.refusal is not None]
    if not refusals:
        return f"The route '{decision.route}' has no deployments. Add one to it."
    groups = [(constraint, [r for r in refusals if r.constraint == constraint.value]) for constraint in Constraint]
    said = [_part(decision, constraint, found) for constraint, found in groups if found]
    said[0] = said[0].replace(" ", f" of {len(refusals)} ", 1) if len(refusals) > 1 else said[0]
    return f"No deployment of '{decision.route}' may answer this request: {', '.join(said)}. {_advice(decision)}"


def may_pass(decision: Decision) -> bool:
    """Whether the same request may find somebody later, without a change to it or to the configuration."""
    passing = {constraint.value for constraint in PASSING}
    return any(judged.refusal is None or judged.refusal.constraint in passing for judged in decision.judged)


def retry_after_s(snapshot: Snapshot, decision: Decision) -> float:
    """When to come back, at the earliest: when the first of those that hold requests off takes them again, else 1 s."""
    held = [judged for judged in decision.judged if _is(judged.refusal, Constraint.RATE)]
    waits = [
        condition.retry_at_s - snapshot.now_s
        for condition in (snapshot.conditions.get(judged.deployment) for judged in held)
        if condition is not None and condition.retry_at_s is not None
    ]
    others = any(_is(j.refusal, *(PASSING - {Constraint.RATE})) for j in decision.judged)
    return _LEAST_WAIT_S if others or not waits else max(_LEAST_WAIT_S, min(waits))


def _is(refusal: Refusal | None, *constraints: Constraint) -> bool:
    return refusal is not None and any(refusal.constraint == constraint.value for constraint in constraints)


def _part(decision: Decision, constraint: Constraint, found: Sequence[Refusal]) -> str:
    what = _WHAT[constraint].format(data_class=decision.label.data_class)
    name = _NAMES.get(constraint, constraint.value)
    verb = "is" if len(found) == 1 else "are"
    reasons = list(dict.fromkeys(refusal.reason.rstrip(". ")[:_MOST_REASON_CHARS] for refusal in found))
    told = ": " + "; ".join(itertools.islice(reasons, _MOST_REASONS)) if constraint in _TELLING else ""
    more = "; …" if told and len(reasons) > _MOST_REASONS else ""
    return f"{len(found)} {verb} {what} ({name}){told}{more}"


def _advice(decision: Decision) -> str:
    if may_pass(decision):
        return "Try again later."
    found = {judgement.refusal.constraint for judgement in decision.judged if judgement.refusal is not None}
    if found == {Constraint.PLACE.value}:
        return "Ask another route, or have the policy allow one of its places."
    if found <= {Constraint.CONTEXT.value, Constraint.PLACE.value}:
        return "Send less, or ask another route."
    return "Ask another route, or change the request."
