"""The decision. A pure function: the same snapshot and the same ask give the same decision, whenever it is taken again.

The work is done once for all requests of a route, data class, needs and size, and remembered inside the snapshot
(`standings`) and the table (`rosters`), where it dies with them. What remains for each request is what its draw and its
conversation say.
"""

from __future__ import annotations

import bisect

from tundish.core.errors import ModelNotFound
from tundish.routing.decision import Ask, Decision
from tundish.routing.judge import slate_of
from tundish.routing.size import answer_tokens, context_need, rounded_up
from tundish.routing.slate import Slate, first
from tundish.routing.standing import standing_of
from tundish.routing.table import Route, Snapshot

_PROBE_SHARE = 1 / 16
_PROBE_SPREAD = 7_919.373
_SHADOW_SPREAD = 1_618.034
"""One draw decides three things. Multiplied by this, what is behind its point says nothing of what it was before it."""


def decide(snapshot: Snapshot, ask: Ask) -> Decision:
    """Who may answer, in which order, and why not the others. Nobody: `order` is empty, and `refusal` has the sentence.

    Raises:
        ModelNotFound: no such route; with the known ones.
    """
    table = snapshot.table
    route = table.routes.get(ask.route)
    if route is None:
        raise ModelNotFound(model=ask.route, known=tuple(table.routes))
    standing = standing_of(snapshot, (ask.route, ask.label.data_class, ask.needs))
    too_short = bisect.bisect_left(standing.roster.context_lengths, context_need(ask))
    slate = slate_of(standing, (too_short, rounded_up(ask.prompt_tokens), rounded_up(answer_tokens(ask))))
    order = _order(route, slate, ask)
    return Decision(
        route=route.name,
        label=ask.label,
        policy_version=table.policy.version,
        table_version=table.version,
        mode=route.mode.value,
        order=order,
        judged=slate.judged,
        shadow=_shadow(route, slate, ask, order),
    )


def _order(route: Route, slate: Slate, ask: Ask) -> tuple[str, ...]:
    probe = slate.unsteady and _spread(ask.draw, _PROBE_SPREAD) >= 1 - _PROBE_SHARE
    order = (slate.probing if probe else slate.steady).order(ask.draw)
    stuck_to = ask.stuck_to
    if stuck_to is None or not route.sticky or stuck_to not in order:
        return order
    if stuck_to in slate.unsteady and not probe:
        return order
    return first(order, order.index(stuck_to))


def _shadow(route: Route, slate: Slate, ask: Ask, order: tuple[str, ...]) -> str | None:
    if slate.shadow is None or route.shadow is None or not order or slate.shadow == order[0]:
        return None
    return slate.shadow if _spread(ask.draw, _SHADOW_SPREAD) < route.shadow.share else None


def _spread(draw: float, factor: float) -> float:
    return draw * factor % 1.0
