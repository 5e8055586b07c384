"""The error for a decision that left nobody: by which constraint, and whether trying again can help."""

from __future__ import annotations

from tundish.core.errors import ContextLengthExceeded, InvalidRequest, Overloaded, TundishError
from tundish.dispatch.errors import NoDeploymentLeft, NoPlaceAllowed
from tundish.dispatch.work import Work
from tundish.routing import refusal
from tundish.routing.constraints import Constraint
from tundish.routing.decision import Decision
from tundish.routing.table import Snapshot

_FULL = frozenset({Constraint.CAPACITY.value, Constraint.RATE.value})
"""Constraints that are over as soon as others are served: 429, as when there is one deployment and it is full."""


def nobody_may_answer(snapshot: Snapshot, decision: Decision, work: Work) -> TundishError:
    """What the client is told."""
    sentence = refusal.why_nobody(decision)
    constraints = {judged.refusal.constraint for judged in decision.judged if judged.refusal is not None}
    if constraints == {Constraint.PLACE.value}:
        return NoPlaceAllowed(sentence)
    if constraints == {Constraint.CONTEXT.value}:
        return _too_long(snapshot, decision, work)
    if constraints == {Constraint.CAPABILITY.value}:
        return InvalidRequest(sentence, param="model", code="unsupported_by_route")
    wait_s = refusal.retry_after_s(snapshot, decision)
    if constraints and constraints <= _FULL:
        return Overloaded(sentence, retry_after_s=wait_s)
    return NoDeploymentLeft(sentence, retry_after_s=wait_s)


def _too_long(snapshot: Snapshot, decision: Decision, work: Work) -> TundishError:
    deployments = snapshot.table.deployments
    lengths = [deployments[judged.deployment].capabilities.context_length or 0 for judged in decision.judged]
    return ContextLengthExceeded(prompt_tokens=work.prompt_tokens, context_length=max(lengths, default=0))
