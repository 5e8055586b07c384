"""Who may answer a kind of request, as far as only the table decides: place and capability."""

from __future__ import annotations

import dataclasses
import math

from tundish.catalog.price import Price
from tundish.routing.constraints import capability_refusal, context_refusal, place_refusal
from tundish.routing.decision import Judgement, Needs, Refusal
from tundish.routing.table import Member, Route, RoutingTable, Scope

_MOST_ROSTERS = 1_024


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A deployment of a route, and what the table alone says of it."""

    name: str
    place: str
    position: int
    """In the route's list, from 0."""
    weight: float
    quality: float
    price: Price | None
    context_length: float
    """Tokens; infinite where it is unknown, which is not held against it."""
    refused: Judgement | None
    """For its place or its capabilities, whatever the moment and the size."""
    too_long: Judgement | None
    """What is said of requests that need more than its context length."""

    def judged(self, refusal: Refusal) -> Judgement:
        """Refused."""
        return Judgement(deployment=self.name, place=self.place, refusal=refusal)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """For one route, one data class and one set of needs."""

    route: Route
    candidates: tuple[Candidate, ...]
    """One for each deployment of the route, in its order, the refused among them."""
    shadow: Candidate | None
    """The route's shadow; None also where it may not get the data."""
    context_lengths: tuple[float, ...]
    """All of them, sorted: requests that need more than equally many of them are equal before the context."""


def roster_of(table: RoutingTable, scope: Scope) -> Roster:
    """The same object each time, while the table remembers it. Its route must exist."""
    roster = table.rosters.get(scope)
    if roster is None:
        route, data_class, needs = scope
        roster = _roster(table, table.routes[route], data_class, needs)
        if len(table.rosters) >= _MOST_ROSTERS:
            table.rosters.clear()
        table.rosters[scope] = roster
    return roster


def _roster(table: RoutingTable, route: Route, data_class: str, needs: Needs) -> Roster:
    members: dict[str, Member] = {}
    for member in route.members:
        members.setdefault(member.deployment, member)
    candidates = tuple(
        _candidate(table, member, position, data_class, needs) for position, member in enumerate(members.values())
    )
    shadow = None
    if route.shadow is not None:
        shadow = _candidate(table, Member(deployment=route.shadow.deployment), len(candidates), data_class, needs)
        shadow = None if shadow.refused else shadow
    everyone = candidates if shadow is None else (*candidates, shadow)
    return Roster(
        route=route,
        candidates=candidates,
        shadow=shadow,
        context_lengths=tuple(sorted({candidate.context_length for candidate in everyone})),
    )


def _candidate(table: RoutingTable, member: Member, position: int, data_class: str, needs: Needs) -> Candidate:
    name = member.deployment
    known = table.deployments.get(name)
    refusal = place_refusal(table, data_class, name)
    if known is None:
        nowhere = refusal and Judgement(deployment=name, place="", refusal=refusal)
        return Candidate(
            name=name,
            place="",
            position=position,
            weight=0.0,
            quality=0.0,
            price=None,
            context_length=math.inf,
            refused=nowhere,
            too_long=None,
        )
    refusal = refusal or capability_refusal(known.capabilities, needs)
    context_length, place = known.capabilities.context_length, known.place.name
    return Candidate(
        name=name,
        place=place,
        position=position,
        weight=member.weight if member.weight > 0 else 0.0,
        quality=known.quality,
        price=known.price,
        context_length=math.inf if context_length is None else context_length,
        refused=refusal and Judgement(deployment=name, place=place, refusal=refusal),
        too_long=None
        if context_length is None
        else Judgement(deployment=name, place=place, refusal=context_refusal(context_length)),
    )
