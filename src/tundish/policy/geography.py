"""Which legal geographies lie inside others."""

from __future__ import annotations

from collections.abc import Mapping

_EU = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK"
_MEMBERS: Mapping[str, frozenset[str]] = {
    "EU": frozenset(_EU.split()),
    "EEA": frozenset((*_EU.split(), "EU", "IS", "LI", "NO")),
}
"""The European Union and the European Economic Area, by ISO 3166 codes; Switzerland and the UK are in neither."""


def around(geography: str) -> tuple[str, ...]:
    """The geography itself and those that it is wholly inside of: `DE` → `DE`, `EU`, `EEA`."""
    return (geography, *(outer for outer, members in _MEMBERS.items() if geography in members))
