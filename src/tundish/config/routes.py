"""Routes, as the configuration states them."""

from __future__ import annotations

import typing
from collections.abc import Collection, Mapping, Sequence

from tundish.config.places import read_class
from tundish.config.section import Section
from tundish.config.wording import did_you_mean, shorten, shown
from tundish.routing.table import Member, Mode, Route, Shadow

_MODES = {mode.value: mode for mode in Mode}
_HEAVIEST = 1e9


def read_routes(root: Section, deployments: Collection[str], classes: Sequence[str]) -> Mapping[str, Route]:
    """The routes of `[routes]`; `deployments`: the names of those that there are, right or wrong."""
    return {name: _read_route(name, section, deployments, classes) for name, section in root.tables("routes")}


def _read_route(name: str, section: Section, deployments: Collection[str], classes: Sequence[str]) -> Route:
    section.require("deployments", "an array of the deployments that may answer.")
    if name in deployments:
        section.problem("A deployment has this name, too. Clients could not say which they mean: rename one.")
    mode = _MODES[section.one_of("mode", _MODES, Mode.BALANCED.value)]
    members = _read_members(section, deployments)
    baseline = section.text("baseline")
    if baseline is not None:
        _check_exists(section, baseline, deployments, "baseline")
    route = Route(
        name=name,
        mode=mode,
        members=members,
        default_class=read_class(section, "default_class", classes),
        sticky=section.flag("sticky", True),
        continue_elsewhere=section.flag("continue_elsewhere", True),
        hedge_after_s=section.seconds("hedge_after_s", None, most=3600.0),
        price_ceiling_usd=section.number("price_ceiling_usd", None, above=True, most=1e6),
        shadow=_read_shadow(section, deployments),
        baseline=baseline,
    )
    section.finish()
    return route


def _read_members(section: Section, deployments: Collection[str]) -> tuple[Member, ...]:
    members: list[Member] = []
    for index, value in enumerate(section.array("deployments")):
        weight = 1.0
        if isinstance(value, str):
            name = value
        elif isinstance(value, Mapping):
            table = section.as_table(typing.cast("Mapping[str, object]", value), "deployments", index)
            table.require("name", "the deployment's.")
            name = table.text("name", "")
            weight = table.number("weight", 1.0, above=True, most=_HEAVIEST)
            table.finish()
        else:
            message = f"must be a deployment's name, or {{ name = …, weight = … }}, not {shown(value)}."
            section.problem(message, "deployments", index)
            continue
        if not name:
            continue
        if any(name == member.deployment for member in members):
            section.problem(f"'{shorten(name)}' is in the list twice.", "deployments", index)
        elif _check_exists(section, name, deployments, "deployments", index):
            members.append(Member(deployment=name, weight=weight))
    if "deployments" in section and not section.array("deployments"):
        section.problem("must name at least one deployment.", "deployments")
    return tuple(members)


def _read_shadow(section: Section, deployments: Collection[str]) -> Shadow | None:
    table = section.table("shadow")
    if "shadow" not in section:
        return None
    table.require("deployment", "the one that answers a share of the requests, too.")
    table.require("share", "above 0, at most 1.")
    name = table.text("deployment")
    share = table.number("share", None, above=True, most=1.0)
    table.finish()
    if name is None or not _check_exists(table, name, deployments, "deployment") or share is None:
        return None
    return Shadow(deployment=name, share=share)


def _check_exists(section: Section, name: str, deployments: Collection[str], *key: str | int) -> bool:
    if name in deployments:
        return True
    known = f" Deployments: {', '.join(sorted(deployments)[:20])}." if deployments else " There is none at all."
    advice = did_you_mean(name, deployments) or known
    section.problem(f"There is no deployment '{shorten(name)}'.{advice}", *key)
    return False
