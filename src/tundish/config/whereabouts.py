"""Where a deployment computes, from what is said of it; a claim that cannot be true is an error."""

from __future__ import annotations

import functools
import ipaddress
import urllib.parse

from tundish.config.section import Section
from tundish.config.wording import did_you_mean, shorten
from tundish.core.place import THIS_DEVICE, Place, Reach
from tundish.policy.azure_places import place_of_sku
from tundish.providers import profile
from tundish.providers.profile import Profile

_PLACED_BY_SKU = frozenset({"azure"})
"""Kinds of services where the SKU says where a deployment computes."""
_SKU_HOSTS = (
    ".openai.azure.com",
    ".services.ai.azure.com",
    ".cognitiveservices.azure.com",
    ".inference.ai.azure.com",
    ".openai.azure.us",
    ".openai.azure.cn",
)
"""Azure under whatever profile: its SKU counts, too."""
_NEAR = (Reach.DEVICE, Reach.SITE)


def local_place(section: Section, places: dict[str, Place]) -> Place:
    """Of a model that Tundish runs itself: this device, or the site or region that this machine stands in."""
    place = _named_place(section, places, THIS_DEVICE)
    if place.reach in (Reach.ZONE, Reach.GLOBAL):
        section.problem(
            f"'{place.name}' cannot be: a local model runs on this machine, whose reach is device, site or region "
            f"and not {place.reach.value}.",
            "place",
        )
    return place


def remote_place(section: Section, service: Profile, places: dict[str, Place]) -> Place:
    """Of a service: what its SKU says, else what the configuration says."""
    host = _host(section.value("base_url") or service.base_url)
    sku, region = section.text("sku"), section.text("region")
    if service.name in _PLACED_BY_SKU or host.endswith(_SKU_HOSTS):
        section.require("sku", "where the deployment computes follows from it: GlobalStandard, DataZoneStandard, …")
        return _placed_by_sku(section, sku, region, places)
    for key, value in (("sku", sku), ("region", region)):
        if value is not None:
            section.problem("means something on Azure only. Say 'place' instead.", key)
    section.require("place", f"the name of the place where it computes. Places: {', '.join(places)}.")
    place = _named_place(section, places, _NOWHERE)
    if place.reach is Reach.DEVICE and host and not _is_loopback(host):
        section.problem(
            f"'{place.name}' cannot be: {shorten(host)} is not this device. Name the place where it computes.", "place"
        )
    elif place.reach in _NEAR and host in _public_hosts():
        section.problem(f"'{place.name}' cannot be: {host} is a public service, not this site.", "place")
    return place


_NOWHERE = Place(name="unknown", reach=Reach.GLOBAL)
"""Stands in for a place that is missing, which is an error anyway."""


def _named_place(section: Section, places: dict[str, Place], default: Place) -> Place:
    name = section.text("place")
    if name is None:
        return places.get(default.name, default)
    if name not in places:
        near = did_you_mean(name, places) or f" Places: {', '.join(places)}."
        section.problem(f"There is no place '{shorten(name)}'.{near}", "place")
    return places.get(name, default)


def _placed_by_sku(section: Section, sku: str | None, region: str | None, places: dict[str, Place]) -> Place:
    claimed = None if section.text("place") is None else _named_place(section, places, _NOWHERE)
    if sku is None:
        return _NOWHERE
    try:
        place = place_of_sku(sku, region, "azure")
    except ValueError as error:
        section.problem(str(error), "sku")
        return _NOWHERE
    if claimed is not None:
        if claimed is not _NOWHERE and not _agree(claimed, place):
            section.problem(
                f"'{claimed.name}' is {_described(claimed)}, but the SKU {sku} computes in {_described(place)}. "
                "The SKU is what counts: correct the place, or leave it out.",
                "place",
            )
        return claimed
    place = Place(name=_name(place, region), reach=place.reach, owner=place.owner, geography=place.geography)
    known = places.setdefault(place.name, place)
    if not _agree(known, place):
        section.problem(
            f"The SKU {sku} computes in {_described(place)}, which is called '{place.name}'; but [places] has another "
            f"'{place.name}'. Rename that one.",
            "sku",
        )
    return known


def _agree(claimed: Place, true: Place) -> bool:
    """Whether a claimed place is where the SKU computes; an owner may be left out, and not be another."""
    same = (claimed.reach, claimed.geography) == (true.reach, true.geography)
    return same and claimed.owner in ("", true.owner)


def _name(place: Place, region: str | None) -> str:
    if place.reach is Reach.GLOBAL:
        return "azure-global"
    return f"azure-{(place.geography if place.reach is Reach.ZONE else region or '').replace(' ', '').lower()}"


def _described(place: Place) -> str:
    owner = f" of {place.owner}" if place.owner else ""
    return f"{place.reach.value} {place.geography}".rstrip() + owner


@functools.cache
def _public_hosts() -> frozenset[str]:
    """Of services that are the same for everybody."""
    urls = (profile.load(name).base_url for name in profile.known())
    return frozenset(_host(url) for url in urls if url is not None)


def _host(url: object) -> str:
    try:
        return (urllib.parse.urlsplit(url).hostname or "").rstrip(".") if isinstance(url, str) else ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
