"""How a route's mode ranks those that may answer. docs/routing.md has the formulas."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from tundish.routing.roster import Candidate
from tundish.routing.table import Mode

_QUALITY_SHARE = 0.5
_COST_SHARE = 0.3
_LATENCY_SHARE = 0.2
_LEAST_NANO_USD = 1.0
_LEAST_S = 0.001
"""Added above and below the line of a ratio, so that nothing is divided by zero."""


class Prospect(NamedTuple):
    """A candidate that may answer, with what that would cost and how long it would take."""

    candidate: Candidate
    cost: float
    """In nano-dollars; infinite where the price is unknown, so that it comes after every known one."""
    expected_s: float


Best: TypeAlias = tuple[float, float, float, float]
"""Of the prospects: the highest quality, the lowest cost, the shortest time; and the sum of the weights."""


def ranked(mode: Mode, prospects: Sequence[Prospect]) -> list[tuple[float, Prospect]]:
    """Scores (0 … 1, higher is better) and prospects, the best first.

    Ties go to the cheaper, then the better, then the faster, then to the one that the route names first.
    """
    if not prospects:
        return []
    best = (
        max(prospect.candidate.quality for prospect in prospects),
        min(prospect.cost for prospect in prospects),
        min(prospect.expected_s for prospect in prospects),
        sum(prospect.candidate.weight for prospect in prospects),
    )
    score = _SCORES[mode]
    scored = [(score(prospect, best), prospect) for prospect in prospects]
    if mode is Mode.ORDER:
        return scored  # as the route has them
    scored.sort(key=_precedence)
    return scored


def _precedence(scored: tuple[float, Prospect]) -> tuple[float, float, float, float, int]:
    score, prospect = scored
    candidate = prospect.candidate
    return -score, prospect.cost, -candidate.quality, prospect.expected_s, candidate.position


def _quality(prospect: Prospect, best: Best) -> float:
    del best
    return prospect.candidate.quality


def _cost(prospect: Prospect, best: Best) -> float:
    return 0.0 if prospect.cost == math.inf else (best[1] + _LEAST_NANO_USD) / (prospect.cost + _LEAST_NANO_USD)


def _latency(prospect: Prospect, best: Best) -> float:
    return (best[2] + _LEAST_S) / (prospect.expected_s + _LEAST_S)


def _balanced(prospect: Prospect, best: Best) -> float:
    quality = prospect.candidate.quality / best[0] if best[0] > 0 else 1.0
    return _QUALITY_SHARE * quality + _COST_SHARE * _cost(prospect, best) + _LATENCY_SHARE * _latency(prospect, best)


def _order(prospect: Prospect, best: Best) -> float:
    del best
    return 1 / (1 + prospect.candidate.position)


def _weighted(prospect: Prospect, best: Best) -> float:
    return prospect.candidate.weight / best[3] if best[3] > 0 else 0.0


_SCORES: Mapping[Mode, Callable[[Prospect, Best], float]] = {
    Mode.QUALITY: _quality,
    Mode.BALANCED: _balanced,
    Mode.COST: _cost,
    Mode.LATENCY: _latency,
    Mode.ORDER: _order,
    Mode.WEIGHTED: _weighted,
}
