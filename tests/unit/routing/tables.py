"""Routing tables small enough to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tundish.catalog.price import Price
from tundish.core.backend import Capabilities
from tundish.core.place import THIS_DEVICE, Place, Reach
from tundish.policy.label import Label
from tundish.policy.policy import Rule, policy
from tundish.routing.decision import Ask, Decision, Needs
from tundish.routing.table import Condition, Deployment, Member, Mode, Route, RoutingTable, Snapshot

CLASSES = ("public", "internal", "restricted")
CLOUD = Place(name="cloud", reach=Reach.GLOBAL, owner="microsoft")
SITE = Place(name="site", reach=Reach.SITE, owner="acme", geography="DE")
EVERYWHERE = (
    Rule(data_class="public", places=("*",)),
    Rule(data_class="internal", places=("device", "site")),
    Rule(data_class="restricted", places=("device",)),
)
CHEAP = Price(input_nano_usd=10, output_nano_usd=20)
DEAR = Price(input_nano_usd=1_000, output_nano_usd=8_000)


def deployment(
    name: str,
    *,
    place: Place = CLOUD,
    quality: float = 0.5,
    price: Price | None = CHEAP,
    context_length: int | None = 8_192,
    **can: bool,
) -> Deployment:
    return Deployment(
        name=name,
        model=name,
        place=place,
        capabilities=Capabilities(context_length=context_length, **can),
        quality=quality,
        price=price,
    )


def table(
    *deployments: Deployment,
    mode: Mode = Mode.ORDER,
    weights: Mapping[str, float] | None = None,
    rules: tuple[Rule, ...] = EVERYWHERE,
    **route: Any,
) -> RoutingTable:
    """One route, `chat`, over all of them unless `members` says otherwise."""
    weights = weights or {}
    members = tuple(Member(deployment=d.name, weight=weights.get(d.name, 1.0)) for d in deployments)
    made = Route(**{"name": "chat", "mode": mode, "members": members, **route})
    return RoutingTable(
        version="t1",
        policy=policy(classes=CLASSES, rules=rules, default_class="internal"),
        routes={made.name: made},
        deployments={d.name: d for d in deployments},
    )


def snapshot(known: RoutingTable, now_s: float = 1_000.0, **conditions: Condition) -> Snapshot:
    return Snapshot(table=known, conditions=conditions, now_s=now_s)


def ask(data_class: str = "public", **changes: Any) -> Ask:
    plain: dict[str, Any] = {
        "route": "chat",
        "label": Label(data_class=data_class),
        "needs": Needs(),
        "prompt_tokens": 100,
        "max_output_tokens": None,
        "expected_output_tokens": 200,
    }
    return Ask(**{**plain, **changes})


def constraints(decision: Decision) -> dict[str, str | None]:
    """Deployment → the constraint that refused it."""
    return {j.deployment: j.refusal and j.refusal.constraint for j in decision.judged}


__all__ = ["CHEAP", "CLOUD", "DEAR", "SITE", "THIS_DEVICE", "ask", "constraints", "deployment", "snapshot", "table"]
