"""Where a deployment computes."""

from __future__ import annotations

import dataclasses
import enum


class Reach(enum.Enum):
    """How far data travels to get there, from nearest to farthest."""

    DEVICE = "device"
    SITE = "site"
    REGION = "region"
    ZONE = "zone"
    GLOBAL = "global"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One place. `geography` is legal, not physical: `DE`, `EU`, `US`; empty where it is unknown or everywhere."""

    name: str
    reach: Reach
    owner: str = ""
    """Whose machines they are: the site's own name, `microsoft`, …; empty is unknown."""
    geography: str = ""


THIS_DEVICE = Place(name="device", reach=Reach.DEVICE)
"""The machine that Tundish runs on."""
