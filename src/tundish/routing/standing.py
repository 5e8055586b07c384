"""How a route's deployments are doing in a snapshot: who is refused for it, and how fast the others are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tundish.routing.constraints import condition_refusal
from tundish.routing.decision import Judgement
from tundish.routing.roster import Candidate, Roster, roster_of
from tundish.routing.slate import Slate, SlateKey
from tundish.routing.table import Circuit, Condition, Scope, Snapshot

_MOST_STANDINGS = 128
_WELL = Condition()
_FIRST_TOKEN_S = 0.3
_TOKENS_PER_S = 80.0
_SLOTS = 4
_OPTIMISM = 0.9
"""What was never measured is taken for a little faster than the fastest that was, so that it gets measured."""


class Pace(NamedTuple):
    """How fast a deployment would answer now."""

    first_token_s: float
    token_s: float
    """Seconds for each token after it."""
    turns: float
    """How many answers' times pass until an answer is complete, its own included: 1 where nothing is queued."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Of one roster in one snapshot; what is remembered of the sizes seen hangs on it."""

    roster: Roster
    states: tuple[Judgement | Pace, ...]
    """For each candidate: its refusal, or its pace."""
    half_open: frozenset[str]
    """Candidates whose circuit lets a probe through."""
    shadow_pace: Pace | None
    """Of the shadow; None where there is none or it is not well."""
    slates: dict[SlateKey, Slate] = dataclasses.field(
        default_factory=dict[SlateKey, Slate], init=False, repr=False, compare=False
    )
    """Remembered by `slate_of` alone."""


def standing_of(snapshot: Snapshot, scope: Scope) -> Standing:
    """The same object each time, while the snapshot remembers it. Its route must exist."""
    standing = snapshot.standings.get(scope)
    if standing is None:
        standing = _standing(snapshot, roster_of(snapshot.table, scope))
        if len(snapshot.standings) >= _MOST_STANDINGS:
            snapshot.standings.clear()
        snapshot.standings[scope] = standing
    return standing


def _standing(snapshot: Snapshot, roster: Roster) -> Standing:
    found = [(candidate, *_state(snapshot, candidate)) for candidate in roster.candidates]
    paces = _paces([condition for _, refused, condition in found if refused is None])
    states = tuple(next(paces) if refused is None else refused for _, refused, _ in found)
    half_open = [
        candidate.name
        for candidate, refused, condition in found
        if refused is None and condition.circuit is Circuit.HALF_OPEN
    ]
    shadow_pace = None
    if roster.shadow is not None:
        refused, condition = _state(snapshot, roster.shadow)
        if refused is None and condition.circuit is Circuit.CLOSED:
            shadow_pace = next(_paces([condition]))
    return Standing(roster=roster, states=states, half_open=frozenset(half_open), shadow_pace=shadow_pace)


def _state(snapshot: Snapshot, candidate: Candidate) -> tuple[Judgement | None, Condition]:
    condition = snapshot.conditions.get(candidate.name, _WELL)
    if candidate.refused is not None:
        return candidate.refused, condition
    refusal = condition_refusal(condition, snapshot.now_s)
    return refusal and candidate.judged(refusal), condition


def _paces(conditions: Sequence[Condition]) -> Iterator[Pace]:
    """In the same order."""
    firsts = [c.first_token_s for c in conditions if c.first_token_s is not None and c.first_token_s >= 0]
    speeds = [c.tokens_per_s for c in conditions if c.tokens_per_s is not None and c.tokens_per_s > 0]
    first_token_s = min(firsts) * _OPTIMISM if firsts else _FIRST_TOKEN_S
    tokens_per_s = max(speeds) / _OPTIMISM if speeds else _TOKENS_PER_S
    for condition in conditions:
        first, speed, slots = condition.first_token_s, condition.tokens_per_s, condition.free_slots
        ahead = condition.queued if slots is None or slots > 0 else condition.queued + 1
        yield Pace(
            first if first is not None and first >= 0 else first_token_s,
            1 / (speed if speed is not None and speed > 0 else tokens_per_s),
            1 + ahead / (condition.slots or _SLOTS) if ahead > 0 else 1.0,
        )
