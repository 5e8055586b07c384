"""Deployments, as the configuration states them: what runs the model, where that is, what it costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from tundish.catalog.price import Price
from tundish.catalog.prices import price_of, quality_of
from tundish.config.network import read_auth, read_connections, read_headers, read_timeouts, read_url
from tundish.config.prices import (
    LocalCost,
    PriceOverride,
    cost_of,
    overriding,
    read_local_cost,
    read_overrides,
    read_price,
)
from tundish.config.section import Section
from tundish.config.site import BackendSpec, ConnectionSpec, LocalSpec, RemoteSpec
from tundish.config.whereabouts import local_place, remote_place
from tundish.core.backend import Capabilities
from tundish.core.place import Place
from tundish.providers import profile as profiles_data
from tundish.providers.profile import Profile
from tundish.providers.spec import RemoteTimeouts
from tundish.routing.table import Deployment

LOCAL = "local"
_UNKNOWN_QUALITY = 0.5
_NOT_STATED = frozenset({"context_length", "continues"})
"""What is stated elsewhere, and what is the engine's to know."""
_CAPABILITIES = tuple(field.name for field in dataclasses.fields(Capabilities) if field.name not in _NOT_STATED)
_LONGEST_CONTEXT = 16_777_216


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SiteDefaults:
    """What holds for each deployment that says nothing else."""

    timeouts: RemoteTimeouts
    connections: ConnectionSpec
    local_cost: LocalCost
    prices: Sequence[PriceOverride]


def read_defaults(root: Section, profiles: Sequence[str]) -> SiteDefaults:
    """`[timeouts]`, `[connections]`, `[local_cost]` and `[[prices]]`."""
    return SiteDefaults(
        timeouts=read_timeouts(root, RemoteTimeouts()),
        connections=read_connections(root, ConnectionSpec()),
        local_cost=read_local_cost(root, LocalCost()),
        prices=read_overrides(root, profiles),
    )


def read_deployments(
    root: Section, places: dict[str, Place], defaults: SiteDefaults, profiles: Sequence[str]
) -> tuple[Mapping[str, Deployment], Mapping[str, BackendSpec]]:
    """The deployments of `[deployments]`: for routing, and for whoever makes their backends.

    Args:
        root: the top of the document.
        places: the places that are named; those that follow from an SKU are added.
        defaults: what holds unless a deployment says otherwise.
        profiles: the kinds of remote services.
    """
    deployments: dict[str, Deployment] = {}
    backends: dict[str, BackendSpec] = {}
    for name, section in root.tables("deployments"):
        section.require("backend", f"'{LOCAL}', or the kind of service: {', '.join(profiles)}.")
        section.require("model", "the model's name in the catalog.")
        profile = section.one_of("backend", (LOCAL, *profiles), None)
        model = section.text("model", name)
        if profile is None:
            continue  # what its other keys mean depends on it
        if profile == LOCAL:
            known = _read_capabilities(section, Capabilities(context_length=None))
            place = local_place(section, places)
            backend: BackendSpec = _read_local(section, model, known)
            price = _local_price(section, read_local_cost(section, defaults.local_cost))
        else:
            service = profiles_data.load(profile)
            known = _read_capabilities(section, _capabilities_of(section, service))
            place = remote_place(section, service, places)
            backend = _read_remote(section, service, model, defaults, known)
            price = _remote_price(section, profile, model, defaults.prices)
        quality = section.number("quality", None, most=1.0)
        section.finish()
        backends[name] = backend
        deployments[name] = Deployment(
            name=name,
            model=model,
            place=place,
            capabilities=known,
            quality=quality if quality is not None else quality_of(model) or _UNKNOWN_QUALITY,
            price=price,
        )
    return deployments, backends


def _capabilities_of(section: Section, service: Profile) -> Capabilities:
    """What the service can do for a model that refuses what this deployment says."""
    refuses = service.refuses | frozenset(section.texts("refuses"))
    can = {name: refuses.isdisjoint(parameters) for name, parameters in profiles_data.PARAMETERS_OF.items()}
    versioned = service.versioned_paths if "api_version" in section else None
    paths = versioned or service.paths
    return Capabilities(context_length=None, completions=paths.completions is not None, **can)


def _read_capabilities(section: Section, base: Capabilities) -> Capabilities:
    table = section.table("capabilities")
    stated = {name: table.flag(name, getattr(base, name)) for name in _CAPABILITIES}
    table.finish()
    context_length = section.whole("context_length", None, least=16, most=_LONGEST_CONTEXT)
    return Capabilities(context_length=context_length, **stated)


def _read_local(section: Section, model: str, known: Capabilities) -> LocalSpec:
    return LocalSpec(
        model=model,
        pinned=section.flag("pinned", False),
        keep_alive_s=section.keep_alive("keep_alive"),
        context_length=known.context_length,
        slots=section.whole("slots", None, least=1, most=256),
        threads=section.whole("threads", None, least=1, most=1024),
        gpu_layers=section.whole("gpu_layers", None, least=0, most=10_000),
    )


def _read_remote(
    section: Section, service: Profile, model: str, defaults: SiteDefaults, known: Capabilities
) -> RemoteSpec:
    if service.base_url is None:
        section.require("base_url", "the service's address, such as https://HOST/v1.")
    api_version = section.name("api_version")
    if api_version is not None and service.versioned_paths is None:
        section.problem(f"{service.title} has no such thing. Leave it out.", "api_version")
    return RemoteSpec(
        profile=service.name,
        base_url=read_url(section, "base_url") or service.base_url or "",
        remote_model=section.text("remote_model", model),
        api_version=api_version,
        auth=read_auth(section),
        timeouts=read_timeouts(section, defaults.timeouts),
        connections=read_connections(section, defaults.connections),
        headers=read_headers(section),
        capabilities=known,
        refuses=frozenset(section.texts("refuses")),
    )


def _local_price(section: Section, cost: LocalCost) -> Price | None:
    if "price" in section:
        return _stated_price(section)
    section.table("price")
    price = cost_of(cost)
    if isinstance(price, str):
        section.warn(f"Its cost is not known: {price}.")
        return None
    return price


def _remote_price(section: Section, profile: str, model: str, overrides: Sequence[PriceOverride]) -> Price | None:
    if "price" in section:
        return _stated_price(section)
    section.table("price")
    known = overriding(overrides, profile, model)
    return known or price_of(profile, model, region=section.text("region"), sku=section.text("sku"))


def _stated_price(section: Section) -> Price | None:
    table = section.table("price")
    price = read_price(table)
    table.finish()
    return price
