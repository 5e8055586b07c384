"""What a deployment must satisfy before anything is scored, in the order in which it is asked; the first that fails is
its refusal."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping

from tundish.core.backend import Capabilities
from tundish.routing.decision import Needs, Refusal
from tundish.routing.table import Circuit, Condition, RoutingTable


class Constraint(enum.Enum):
    """In the order in which they are asked. The values are those of `Refusal.constraint`."""

    PLACE = "place"
    CAPABILITY = "capability"
    CONTEXT = "context"
    HEALTH = "health"
    CIRCUIT = "circuit"
    RATE = "rate"
    CAPACITY = "capacity"
    PRICE = "price"


PASSING = frozenset((Constraint.HEALTH, Constraint.CIRCUIT, Constraint.RATE, Constraint.CAPACITY))
"""Those that time alone may lift."""

_NEEDS: Mapping[str, str] = {
    "tools": "tools",
    "structured_output": "structured output",
    "reasoning_effort": "a reasoning effort",
    "logprobs": "log probabilities",
    "completions": "plain completions",
}
"""Field of both `Needs` and `Capabilities` → what it is called."""


def place_refusal(table: RoutingTable, data_class: str, deployment: str) -> Refusal | None:
    """Whether the policy keeps data of this class away; what is not known is kept away."""
    if table.allows(data_class, deployment):
        return None
    known = table.deployments.get(deployment)
    if known is None:
        reason = f"There is no deployment '{deployment}', so nothing is known of its place."
    elif data_class not in table.policy.classes:
        reason = f"The policy knows no data class '{data_class}', so its data may go nowhere."
    else:
        reason = f"No rule of the policy lets '{data_class}' data go to the place '{known.place.name}'."
    return _refusal(Constraint.PLACE, reason)


def capability_refusal(capabilities: Capabilities, needs: Needs) -> Refusal | None:
    """Whether it lacks something that the request needs."""
    lacking = [name for field, name in _NEEDS.items() if getattr(needs, field) and not getattr(capabilities, field)]
    if not lacking:
        return None
    return _refusal(Constraint.CAPABILITY, f"It does not offer {' and '.join(lacking)}.")


def context_refusal(context_length: int) -> Refusal:
    """Of a request that needs more than this; without its size, so that requests can share it."""
    reason = f"The prompt and the answer need more than its context length of {context_length} tokens."
    return _refusal(Constraint.CONTEXT, reason)


def condition_refusal(condition: Condition, now_s: float) -> Refusal | None:
    """Whether it is down, failing, holding us off or full."""
    if not condition.usable:
        return _refusal(Constraint.HEALTH, condition.reason or "It is not usable, and does not say why.")
    if condition.circuit is Circuit.OPEN:
        return _refusal(Constraint.CIRCUIT, "It failed too often just now; its circuit is open.")
    wait_s = 0.0 if condition.retry_at_s is None else condition.retry_at_s - now_s
    if wait_s > 0:
        return _refusal(Constraint.RATE, f"It asked not to be called for another {math.ceil(wait_s * 10) / 10:g} s.")
    no_slot = condition.free_slots is not None and condition.free_slots <= 0
    if no_slot and condition.queue_room is not None and condition.queue_room <= 0:
        return _refusal(Constraint.CAPACITY, f"All its slots are busy, and its queue is full with {condition.queued}.")
    return None


def price_refusal(ceiling_usd: float, estimate_nano_usd: float) -> Refusal | None:
    """Whether it would cost more than the route allows for one request; an unknown price (infinite) may be any."""
    if estimate_nano_usd <= ceiling_usd * 1e9:
        return None
    if estimate_nano_usd == math.inf:
        reason = f"Its price is unknown, and the ceiling is ${ceiling_usd:.6g} a request."
    else:
        reason = f"It would cost about ${estimate_nano_usd / 1e9:.6g}, and the ceiling is ${ceiling_usd:.6g} a request."
    return _refusal(Constraint.PRICE, reason)


def _refusal(constraint: Constraint, reason: str) -> Refusal:
    return Refusal(constraint=constraint.value, reason=reason)
