"""From a document to a site, or to everything that is wrong with it."""

from __future__ import annotations

import datetime
import hashlib
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from tundish.config.deployments import read_defaults, read_deployments
from tundish.config.document import Document
from tundish.config.errors import ConfigInvalid
from tundish.config.gateway import read_conversations, read_keys, read_projects, read_receipts, read_rules
from tundish.config.places import read_places, read_policy
from tundish.config.reading import Reading
from tundish.config.routes import read_routes
from tundish.config.section import Section
from tundish.config.site import SiteConfig
from tundish.core.place import Place
from tundish.policy.policy import Policy
from tundish.providers import profile
from tundish.routing.table import Deployment, Route, RoutingTable


def build(document: Document, path: Path | None) -> SiteConfig:
    """The site that `document` describes.

    Raises:
        ConfigInvalid: with all that is wrong, in the order of its lines.
    """
    reading = Reading(document)
    root = Section(reading, document.values, ())
    for kind, name in document.clashes:
        message = f"'{name}' was added at run time, too. Rename this one, or `tundish {kind[:-1]} remove {name}`."
        reading.problem((kind, name), message)
    site = root.table("site")
    name = site.name("name", "")
    site.finish()
    places = read_places(root)
    profiles = profile.known()
    defaults = read_defaults(root, profiles)
    deployments, backends = read_deployments(root, places, defaults, profiles)
    policy = read_policy(root, places)
    routes = read_routes(root, root.table("deployments").names, policy.classes)
    projects = read_projects(root, policy.classes)
    keys = read_keys(root, projects, policy.classes)
    receipts, rules, conversations = read_receipts(root), read_rules(root), read_conversations(root)
    root.finish()
    if reading.problems:
        raise ConfigInvalid(sorted(reading.problems, key=lambda problem: problem.line or 0))
    _warn_of_dead_ends(root, routes, deployments, policy, places)
    version = _version(document.values)
    return SiteConfig(
        version=version,
        name=name,
        path=path,
        places=places,
        policy=policy,
        table=RoutingTable(version=version, policy=policy, routes=routes, deployments=deployments),
        backends=backends,
        projects=projects,
        keys=keys,
        receipts=receipts,
        rules=rules,
        conversations=conversations,
        content=document.values,
        warnings=tuple(reading.warnings),
    )


def _warn_of_dead_ends(
    root: Section,
    routes: Mapping[str, Route],
    deployments: Mapping[str, Deployment],
    policy: Policy,
    places: Mapping[str, Place],
) -> None:
    """Warn of routes that must refuse whatever comes with their own default class."""
    for name, route in routes.items():
        data_class = route.default_class or policy.default_class
        allowed = policy.allowed(data_class, list(places.values()))
        members = [deployments[member.deployment] for member in route.members]
        if not any(deployment.place.name in allowed for deployment in members):
            root.warn(
                f"None of its deployments is in a place that '{data_class}' data may go to: requests that claim no "
                "other class are all refused.",
                "routes",
                name,
            )


def _version(values: Mapping[str, object]) -> str:
    """SHA-256, hexadecimal, of what the values are as JSON with sorted keys."""
    return hashlib.sha256(msgspec.json.encode(_plain(values), order="deterministic")).hexdigest()


def _plain(value: object) -> object:
    """What JSON has, of what TOML has."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in typing.cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in typing.cast("Sequence[object]", value)]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, float):
        return repr(value)  # so that nan and inf are something, too
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) >= 2**63 else value
    return value
