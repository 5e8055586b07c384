"""What the client is told when nobody may answer, or nobody did: why, and whether trying again can help."""

from __future__ import annotations

from collections.abc import Sequence

from tundish.core.errors import ContextLengthExceeded, InvalidRequest, Overloaded, TundishError
from tundish.dispatch.errors import EveryAttemptFailed, NoDeploymentLeft, NoPlaceAllowed
from tundish.dispatch.retry import come_back_s
from tundish.dispatch.work import Work
from tundish.routing import refusal
from tundish.routing.constraints import Constraint
from tundish.routing.decision import Decision
from tundish.routing.table import Snapshot

_FULL = frozenset({Constraint.CAPACITY.value, Constraint.RATE.value})
"""Constraints that are over as soon as others are served: 429, as when there is one deployment and it is full."""


def nobody_may_answer(snapshot: Snapshot, decision: Decision, work: Work) -> TundishError:
    """The error for a decision that left nobody: by which constraint."""
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


def what_to_say(route: str, failures: Sequence[tuple[str, TundishError]], *, configured: bool) -> TundishError:
    """The error for attempts that all failed: deployment and error, in their order.

    A mistake of the client's own stays what it is, and so does a queue that is full wherever one looks. All else is
    503: each deployment is named, and another attempt may find it well. A model that is not `configured` has no other
    beside it and speaks for itself.
    """
    if not configured or all(isinstance(error, InvalidRequest) for _, error in failures):
        return failures[-1][1]
    waits_s = [wait_s for _, error in failures if (wait_s := come_back_s(error)) is not None]
    wait_s = min(waits_s, default=1.0)
    if all(isinstance(error, Overloaded) for _, error in failures):
        told = dict.fromkeys(error.message for _, error in failures)
        return Overloaded(" ".join(told), retry_after_s=wait_s)
    return EveryAttemptFailed(route, [(name, error.message) for name, error in failures], retry_after_s=wait_s)


def _too_long(snapshot: Snapshot, decision: Decision, work: Work) -> TundishError:
    deployments = snapshot.table.deployments
    lengths = [deployments[judged.deployment].capabilities.context_length or 0 for judged in decision.judged]
    return ContextLengthExceeded(prompt_tokens=work.prompt_tokens, context_length=max(lengths, default=0))
