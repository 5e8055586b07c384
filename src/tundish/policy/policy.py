"""The policy: ordered data classes, and the places that each may use."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence

from tundish.core.errors import InvalidRequest
from tundish.core.place import Place, Reach
from tundish.policy.geography import around

ANYWHERE = "*"
"""The selector of every place."""
_KINDS = ("reach", "geography", "owner")
_REACHES = tuple(reach.value for reach in Reach)
_NOTHING: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Allows one class some places; what no rule allows is refused.

    `places` are selectors: a place's name, `reach:site` (exactly that reach), `geography:EU` (its member states too;
    never a place that is `global`, wherever it claims to be), `owner:acme`, or `*`.
    """

    data_class: str
    places: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Immutable. `version` is the hexadecimal SHA-256 of its canonical form: equal policies have equal versions."""

    classes: tuple[str, ...]
    """From the least to the most sensitive."""
    rules: tuple[Rule, ...]
    version: str
    default_class: str
    """Of a request that nothing says anything about."""
    _selectors: Mapping[str, frozenset[str]] = dataclasses.field(init=False, repr=False, compare=False)
    """Class → all selectors of its rules."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_selectors", _selectors_by_class(self.classes, self.rules))

    def allowed(self, data_class: str, places: Collection[Place]) -> frozenset[str]:
        """Names of those of `places` that data of this class may go to; empty for a class that is not known.

        A name that several of them have is allowed only if each of them is.
        """
        selectors = self._selectors.get(data_class, _NOTHING)
        if not selectors:
            return _NOTHING
        refused = {place.name for place in places if selectors.isdisjoint(_selectors_of(place))}
        return frozenset(place.name for place in places if place.name not in refused)

    def highest(self, claims: Mapping[str, str]) -> str:
        """The most sensitive of several claimed classes (source → class); without a claim, the default class.

        Raises:
            InvalidRequest: one of them is no class of this policy; with the known ones.
        """
        if not claims:
            return self.default_class
        classes = self.classes
        highest = -1
        for source, claimed in claims.items():
            if claimed not in classes:
                raise InvalidRequest(
                    f"'{claimed}' (from the {source}) is not a data class here. "
                    f"From the least to the most sensitive there are: {', '.join(classes)}.",
                    code="unknown_data_class",
                )
            highest = max(highest, classes.index(claimed))
        return classes[highest]

    def idle_selectors(self, places: Collection[Place]) -> tuple[tuple[str, str], ...]:
        """Class and selector of what selects none of `places`: mostly a typing error, to be warned of."""
        used = {selector for place in places for selector in _selectors_of(place)}
        return tuple(
            (rule.data_class, selector) for rule in self.rules for selector in rule.places if selector not in used
        )


def policy(*, classes: Sequence[str], rules: Sequence[Rule], default_class: str) -> Policy:
    """A policy with its version. Its rules are in canonical form: one for each class that has any, selectors sorted.

    Raises:
        ValueError: it contradicts itself; the message says where.
    """
    _require_classes(classes, default_class)
    for rule in rules:
        if rule.data_class not in classes:
            raise ValueError(f"a rule is for the class '{rule.data_class}', which is none of {', '.join(classes)}")
        for selector in rule.places:
            _require_selector(rule.data_class, selector)
    selectors = _selectors_by_class(classes, rules)
    canonical = tuple(
        Rule(data_class=name, places=tuple(sorted(selectors[name]))) for name in classes if selectors[name]
    )
    return Policy(
        classes=tuple(classes),
        rules=canonical,
        version=_version(classes, canonical, default_class),
        default_class=default_class,
    )


def _selectors_by_class(classes: Iterable[str], rules: Iterable[Rule]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {name: set() for name in classes}
    for rule in rules:
        if rule.data_class in found:
            found[rule.data_class].update(rule.places)
    return {name: frozenset(selectors) for name, selectors in found.items()}


def _selectors_of(place: Place) -> list[str]:
    """Every selector that selects this place."""
    selectors = [ANYWHERE, f"reach:{place.reach.value}"]
    if ":" not in place.name:  # else a place could be named so that a rule about something else selects it
        selectors.append(place.name)
    if place.owner:
        selectors.append(f"owner:{place.owner}")
    if place.geography and place.reach is not Reach.GLOBAL:
        selectors += [f"geography:{geography}" for geography in around(place.geography)]
    return selectors


def _require_classes(classes: Sequence[str], default_class: str) -> None:
    if not classes:
        raise ValueError("it has no data classes; name at least one")
    for name in classes:
        if not name or any(character.isspace() or not character.isprintable() for character in name):
            raise ValueError(f"the data class {name!r} must be one word of printable characters")
    if len(set(classes)) != len(classes):
        twice = next(name for name in classes if classes.count(name) > 1)
        raise ValueError(f"the data class '{twice}' is in the list twice")
    if default_class not in classes:
        raise ValueError(f"the default class '{default_class}' is none of {', '.join(classes)}")


def _require_selector(data_class: str, selector: str) -> None:
    kind, colon, wanted = selector.partition(":")
    where = f"a rule for '{data_class}' has the selector '{selector}'"
    if not selector or (colon and not wanted):
        raise ValueError(f"{where}, which selects nothing")
    if colon and kind not in _KINDS:
        raise ValueError(f"{where}; before the colon there can be {', '.join(_KINDS)}")
    if kind == "reach" and colon and wanted not in _REACHES:
        raise ValueError(f"{where}; a reach is one of {', '.join(_REACHES)}")


def _version(classes: Sequence[str], rules: Sequence[Rule], default_class: str) -> str:
    canonical = {
        "format": "tundish policy 1",
        "classes": list(classes),
        "default_class": default_class,
        "rules": [[rule.data_class, list(rule.places)] for rule in rules],
    }
    return hashlib.sha256(json.dumps(canonical, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
