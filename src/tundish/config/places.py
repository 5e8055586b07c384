"""Places and policy, as the configuration states them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from tundish.config.section import Section
from tundish.config.wording import did_you_mean, shorten
from tundish.core.place import THIS_DEVICE, Place, Reach
from tundish.policy.policy import Policy, Rule, policy

_GEOGRAPHY = re.compile(r"[A-Z][A-Z0-9-]{1,15}")
_REACHES = {reach.value: reach for reach in Reach}
CLASSES = ("public", "internal", "confidential", "restricted")
"""Data classes of a site that names none, from the least to the most sensitive."""
_DEFAULT_CLASS = "internal"
_NEAR = ("reach:device", "reach:site")
"""Where any data may go at a site without a policy."""


def read_places(root: Section) -> dict[str, Place]:
    """The places of `[places]`, and this device."""
    places = {THIS_DEVICE.name: THIS_DEVICE}
    for name, section in root.tables("places"):
        section.require("reach", f"one of {', '.join(_REACHES)}.")
        reach = section.one_of("reach", _REACHES, None)
        place = Place(
            name=name,
            reach=_REACHES[reach or Reach.GLOBAL.value],  # the farthest, should it be missing: that is an error anyway
            owner=section.name("owner", ""),
            geography=read_geography(section, "geography") or "",
        )
        section.finish()
        if ":" in name:
            section.problem("The name of a place holds no ':', which rules use otherwise ('reach:site').")
        if name == THIS_DEVICE.name and reach is not None and place.reach is not Reach.DEVICE:
            section.problem(f"'{name}' is the machine that Tundish runs on; its reach is always 'device'.", "reach")
        places[name] = place
    return places


def read_geography(section: Section, key: str) -> str | None:
    """A legal geography: `DE`, `EU`, `US`."""
    value = section.text(key, None)
    if value is not None and not _GEOGRAPHY.fullmatch(value):
        section.problem(f"must be a code in capitals such as DE, EU or US, not '{shorten(value)}'.", key)
        return None
    return value


def read_policy(root: Section, places: Mapping[str, Place]) -> Policy:
    """The policy of `[policy]`; without one, nothing leaves the site.

    Args:
        root: the top of the document.
        places: all that there are, those that follow from deployments among them.
    """
    section = root.table("policy")
    stated = "policy" in root
    classes = _read_classes(section)
    if stated:
        section.require("default_class", f"the class of requests that nothing says anything about: {_among(classes)}.")
    fallback = _DEFAULT_CLASS if _DEFAULT_CLASS in classes else classes[-1]
    default_class = section.one_of("default_class", classes, fallback)
    rules = _read_rules(section, classes, places) if stated else [Rule(data_class=c, places=_NEAR) for c in classes]
    section.finish()
    try:
        return policy(classes=classes, rules=rules, default_class=default_class)
    except ValueError as error:
        section.problem(f"The policy contradicts itself: {error}")
        return policy(classes=CLASSES, rules=[], default_class=_DEFAULT_CLASS)


def _read_classes(section: Section) -> tuple[str, ...]:
    if "classes" not in section:
        section.texts("classes")
        return CLASSES
    classes = section.texts("classes")
    for index, name in enumerate(classes):
        if any(letter.isspace() for letter in name):
            section.problem(f"'{shorten(name)}' must be one word.", "classes", index)
        elif name in classes[:index]:
            section.problem(f"'{shorten(name)}' is in the list twice.", "classes", index)
    if not classes and section.value("classes") == []:
        section.problem("must name at least one class, from the least to the most sensitive.", "classes")
    if not classes:
        return CLASSES
    return tuple(dict.fromkeys(classes))


def _read_rules(section: Section, classes: Sequence[str], places: Mapping[str, Place]) -> list[Rule]:
    rules: list[Rule] = []
    for rule in section.array_of_tables("rules"):
        rule.require("class", f"one of {_among(classes)}.")
        rule.require("places", "an array of places that the class may use.")
        data_class = read_class(rule, "class", classes)
        selectors = rule.texts("places")
        usable = tuple(s for index, s in enumerate(selectors) if _is_usable(rule, index, s, places))
        rule.finish()
        if data_class is not None:
            rules.append(Rule(data_class=data_class, places=usable))
    if not rules:
        section.warn("There is no rule, so no data may go anywhere. Add [[policy.rules]].")
    return rules


def _is_usable(rule: Section, index: int, selector: str, places: Mapping[str, Place]) -> bool:
    """Whether the selector means something; notes what is wrong with it."""
    if selector == "*" or selector in places:
        return True
    kind, separator, wanted = selector.partition(":")
    if separator and kind == "reach":
        if wanted in _REACHES:
            return True
        message = f"'{shorten(wanted)}' is no reach. There are {', '.join(_REACHES)}.{did_you_mean(wanted, _REACHES)}"
    elif separator and kind in ("geography", "owner"):
        if wanted:
            if not _selects_any(selector, places):
                rule.warn(f"No place that is known now has the {kind} '{shorten(wanted)}'.", "places", index)
            return True
        message = f"says no {kind}. Write '{kind}:NAME'."
    else:
        message = (
            f"There is no place '{shorten(selector)}'.{did_you_mean(selector, places)} A rule names a place, "
            "'reach:REACH', 'geography:CODE', 'owner:NAME' or '*'."
        )
    rule.problem(message, "places", index)
    return False


def _selects_any(selector: str, places: Mapping[str, Place]) -> bool:
    probe = policy(
        classes=CLASSES[:1], rules=[Rule(data_class=CLASSES[0], places=(selector,))], default_class=CLASSES[0]
    )
    return bool(probe.allowed(CLASSES[0], list(places.values())))


def read_class(section: Section, key: str, classes: Sequence[str]) -> str | None:
    """The name of a data class, or None."""
    value = section.text(key, None)
    if value is None or value in classes:
        return value
    section.problem(f"There is no data class '{shorten(value)}'.{did_you_mean(value, classes)} {_known(classes)}", key)
    return None


def _known(classes: Sequence[str]) -> str:
    return f"Classes: {_among(classes)}."


def _among(classes: Sequence[str]) -> str:
    return ", ".join(shorten(name) for name in classes)
