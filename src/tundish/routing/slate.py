"""The part of a decision that requests of the same kind and about the same size share."""

from __future__ import annotations

import bisect
import dataclasses
from typing import TypeAlias

from tundish.routing.decision import Judgement

SlateKey: TypeAlias = tuple[int, int, int]
"""How many of the roster's context lengths are too short; the prompt's and the answer's tokens, rounded up."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Deployments that may answer, the best first."""

    names: tuple[str, ...]
    shares: tuple[float, ...] = ()
    """Of a weighted route: running sums of the shares of the first `names`, up to 1; the rest have none."""

    def order(self, draw: float) -> tuple[str, ...]:
        """In which to try them: with shares the draw (0 … 1) says who is first, and the rest follow by share."""
        if not self.shares:
            return self.names
        return first(self.names, min(bisect.bisect_right(self.shares, draw), len(self.shares) - 1))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Slate:
    """Everybody judged, and those who may answer ranked."""

    judged: tuple[Judgement, ...]
    steady: Ranking
    """Half-open circuits last."""
    probing: Ranking
    """Half-open circuits where they would be if they were closed."""
    unsteady: frozenset[str]
    """The half-open ones."""
    shadow: str | None
    """May get the data, is well, and fits."""


def first(names: tuple[str, ...], index: int) -> tuple[str, ...]:
    """The same names, the one at `index` in front."""
    if index == 0:
        return names
    return (names[index], *names[:index], *names[index + 1 :])
