"""What was used and what it cost, counted receipt by receipt."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from typing import TypeAlias

import msgspec

from tundish.ledger.receipt import Receipt

_US_PER_DAY = 86_400_000_000
_EPOCH = datetime.date(1970, 1, 1).toordinal()
_Key: TypeAlias = tuple[int, str, str, str]


class Tally(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Sums over receipts. Money is in nano-dollars (10⁻⁹ USD)."""

    requests: int = 0
    """Asked by clients; mirrored ones are not among them."""
    failed: int = 0
    """Of these, that got no whole answer: refused, broken off, or left by the client."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cost_nano_usd: int = 0
    """Of all whose cost is known, mirrored ones included."""
    unpriced: int = 0
    """Answered, tokens known, price not known."""
    unmetered: int = 0
    """Answered, tokens not known."""
    compared: int = 0
    """Requests whose cost and whose baseline are both known."""
    compared_nano_usd: int = 0
    """What these cost."""
    baseline_nano_usd: int = 0
    """What these would have cost at the baseline."""
    mirrored: int = 0
    mirrored_nano_usd: int = 0

    @property
    def saved_nano_usd(self) -> int:
        """Against the baseline, over the requests that can be compared; negative when it cost more."""
        return self.baseline_nano_usd - self.compared_nano_usd

    def add(self, other: Tally) -> None:
        """Add another's sums."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """One day of one route, deployment and project."""

    day: str
    """ISO date, UTC."""
    route: str
    deployment: str
    """Empty where nobody answered."""
    project: str
    tally: Tally


class Usage:
    """Grows with each receipt: one row for each day, route, deployment and project."""

    def __init__(self, rows: Iterable[UsageRow] = ()) -> None:
        self._tallies: dict[_Key, Tally] = {}
        for row in rows:
            self._tally((_day_number(row.day), row.route, row.deployment, row.project)).add(row.tally)

    def count(self, receipt: Receipt) -> None:
        """Take a receipt in."""
        tally = self._tally(
            (receipt.arrived_us // _US_PER_DAY, receipt.route, receipt.deployment, receipt.project),
        )
        prompt, completion, cost = receipt.prompt_tokens, receipt.completion_tokens, receipt.cost_nano_usd
        if receipt.shadow_of:
            tally.mirrored += 1
            tally.mirrored_nano_usd += cost or 0
        else:
            tally.requests += 1
            if receipt.outcome != "ok":
                tally.failed += 1
            if cost is not None and receipt.baseline_nano_usd is not None:
                tally.compared += 1
                tally.compared_nano_usd += cost
                tally.baseline_nano_usd += receipt.baseline_nano_usd
        tally.prompt_tokens += prompt or 0
        tally.completion_tokens += completion or 0
        tally.cached_tokens += receipt.cached_tokens or 0
        if cost is not None:
            tally.cost_nano_usd += cost
        elif receipt.deployment:
            if prompt is None or completion is None:
                tally.unmetered += 1
            else:
                tally.unpriced += 1

    def rows(self) -> list[UsageRow]:
        """All that was counted, by day, route, deployment and project. May be called while another thread counts."""
        return [
            UsageRow(
                day=_day(number),
                route=route,
                deployment=deployment,
                project=project,
                tally=msgspec.structs.replace(tally),
            )
            for (number, route, deployment, project), tally in sorted(self._tallies.copy().items(), key=_by_key)
        ]

    def add(self, other: Usage) -> None:
        """Add what another counted."""
        for key, tally in other._tallies.items():
            self._tally(key).add(tally)

    def total(self) -> Tally:
        """Everything together."""
        total = Tally()
        for row in self.rows():
            total.add(row.tally)
        return total

    def by(self, name: Callable[[UsageRow], str]) -> dict[str, Tally]:
        """Sums for each name, sorted."""
        sums: dict[str, Tally] = {}
        for row in self.rows():
            sums.setdefault(name(row), Tally()).add(row.tally)
        return dict(sorted(sums.items()))

    def _tally(self, key: _Key) -> Tally:
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = Tally()
        return tally


def _by_key(item: tuple[_Key, Tally]) -> _Key:
    return item[0]


def _day(number: int) -> str:
    try:
        return datetime.date.fromordinal(_EPOCH + number).isoformat()
    except (ValueError, OverflowError):  # a clock gone wild
        return f"day {number}"


def _day_number(day: str) -> int:
    if day.startswith("day "):
        return int(day.removeprefix("day "))
    return datetime.date.fromisoformat(day).toordinal() - _EPOCH
