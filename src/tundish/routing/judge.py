"""Judges every deployment of a route for requests of one size, and ranks those that may answer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from tundish.routing.constraints import price_refusal
from tundish.routing.decision import Judgement
from tundish.routing.roster import Candidate
from tundish.routing.scores import Prospect, ranked
from tundish.routing.slate import Ranking, Slate, SlateKey
from tundish.routing.standing import Pace, Standing
from tundish.routing.table import Mode, Route

_MOST_SLATES = 128
_PENDING = Judgement(deployment="", place="")
"""Holds the place of one that has yet to be scored."""


def slate_of(standing: Standing, key: SlateKey) -> Slate:
    """The same object each time, while the standing remembers it."""
    slate = standing.slates.get(key)
    if slate is None:
        slate = _slate(standing, *key)
        if len(standing.slates) >= _MOST_SLATES:
            standing.slates.clear()
        standing.slates[key] = slate
    return slate


def _slate(standing: Standing, too_short: int, prompt_tokens: int, answer_tokens: int) -> Slate:
    roster = standing.roster
    route, mode = roster.route, roster.route.mode
    longest_too_short = roster.context_lengths[too_short - 1] if too_short else 0
    judged: list[Judgement] = []
    prospects: list[Prospect] = []
    for candidate, state in zip(roster.candidates, standing.states, strict=True):
        verdict = _verdict(candidate, state, route, longest_too_short, prompt_tokens, answer_tokens)
        if isinstance(verdict, Prospect):
            prospects.append(verdict)
            judged.append(_PENDING)
        else:
            judged.append(verdict)
    ranks = ranked(mode, prospects)
    for score, prospect in ranks:
        judged[prospect.candidate.position] = _scored(prospect, score)
    candidates = [prospect.candidate for _, prospect in ranks]
    probing = _ranking(mode, candidates, [])
    steady = probing
    if standing.half_open:
        well = [candidate for candidate in candidates if candidate.name not in standing.half_open]
        probes = [candidate for candidate in candidates if candidate.name in standing.half_open]
        steady = _ranking(mode, well or probes, probes if well else [])
    shadow = None
    if roster.shadow is not None and standing.shadow_pace is not None:
        pace = standing.shadow_pace
        verdict = _verdict(roster.shadow, pace, route, longest_too_short, prompt_tokens, answer_tokens)
        shadow = roster.shadow.name if isinstance(verdict, Prospect) else None
    return Slate(judged=tuple(judged), steady=steady, probing=probing, unsteady=standing.half_open, shadow=shadow)


def _verdict(
    candidate: Candidate,
    state: Judgement | Pace,
    route: Route,
    longest_too_short: float,
    prompt_tokens: int,
    answer_tokens: int,
) -> Judgement | Prospect:
    """Its refusal, or what it promises."""
    if candidate.refused is not None:
        return candidate.refused
    if candidate.too_long is not None and candidate.context_length <= longest_too_short:
        return candidate.too_long
    if not isinstance(state, Pace):
        return state
    price = candidate.price
    cost = (
        math.inf if price is None else price.cost_nano_usd(prompt_tokens=prompt_tokens, completion_tokens=answer_tokens)
    )
    if route.price_ceiling_usd is not None:
        refusal = price_refusal(route.price_ceiling_usd, cost)
        if refusal is not None:
            name, place = candidate.name, candidate.place
            return Judgement(deployment=name, place=place, refusal=refusal, estimate_usd=_usd(cost))
    return Prospect(candidate, cost, state.turns * (state.first_token_s + answer_tokens * state.token_s))


def _ranking(mode: Mode, candidates: Sequence[Candidate], after: Sequence[Candidate]) -> Ranking:
    """Of `candidates` in this order, and behind them `after`, which no draw puts in front."""
    names = tuple(candidate.name for candidate in (*candidates, *after))
    if mode is not Mode.WEIGHTED:
        return Ranking(names=names)
    weights = [candidate.weight for candidate in candidates if candidate.weight > 0]  # sorted: the rest have none
    running = list(itertools.accumulate(weights))
    return Ranking(names=names, shares=tuple(weight / running[-1] for weight in running))


def _scored(prospect: Prospect, score: float) -> Judgement:
    return Judgement(
        deployment=prospect.candidate.name,
        place=prospect.candidate.place,
        score=round(score, 6),
        estimate_usd=_usd(prospect.cost),
        expected_s=round(prospect.expected_s, 4),
    )


def _usd(nano_usd: float) -> float | None:
    return None if nano_usd == math.inf else nano_usd / 1e9
