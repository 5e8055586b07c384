"""The policy: closed when in doubt, indifferent to the order of its rules, and a class never falls."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tundish.core.errors import InvalidRequest
from tundish.core.place import THIS_DEVICE, Place, Reach
from tundish.policy.policy import Policy, Rule, policy

CLASSES = ("public", "internal", "confidential", "restricted")
SITE = Place(name="office", reach=Reach.SITE, owner="acme", geography="DE")
SWEDEN = Place(name="sweden", reach=Reach.REGION, owner="microsoft", geography="SE")
ZONE = Place(name="eu", reach=Reach.ZONE, owner="microsoft", geography="EU")
AMERICA = Place(name="us", reach=Reach.ZONE, owner="microsoft", geography="US")
ANYWHERE = Place(name="global", reach=Reach.GLOBAL, owner="microsoft")
PLACES = (THIS_DEVICE, SITE, SWEDEN, ZONE, AMERICA, ANYWHERE)

SELECTORS = ["*", "office", "sweden", "nowhere", "reach:site", "reach:global", "geography:EU", "geography:SE"]
SELECTORS += ["owner:acme", "owner:microsoft", "owner:nobody"]
places = st.builds(
    Place,
    name=st.sampled_from(["a", "b", "office", "sweden", "reach:site", "*", "owner:acme"]),
    reach=st.sampled_from(Reach),
    owner=st.sampled_from(["", "acme", "microsoft"]),
    geography=st.sampled_from(["", "DE", "SE", "EU", "US"]),
)
rules = st.builds(
    Rule,
    data_class=st.sampled_from(CLASSES),
    places=st.lists(st.sampled_from(SELECTORS), max_size=4).map(tuple),
)


def of(*stated: tuple[str, tuple[str, ...]]) -> Policy:
    made = [Rule(data_class=data_class, places=selectors) for data_class, selectors in stated]
    return policy(classes=CLASSES, rules=made, default_class="internal")


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ("*", {"device", "office", "sweden", "eu", "us", "global"}),
        ("office", {"office"}),
        ("reach:device", {"device"}),
        ("reach:site", {"office"}),
        ("reach:zone", {"eu", "us"}),
        ("reach:global", {"global"}),
        ("geography:SE", {"sweden"}),
        ("geography:EU", {"office", "sweden", "eu"}),
        ("geography:EEA", {"office", "sweden", "eu"}),
        ("geography:US", {"us"}),
        ("owner:acme", {"office"}),
        ("owner:microsoft", {"sweden", "eu", "us", "global"}),
        ("nowhere", set()),
    ],
)
def test_a_selector_selects(selector: str, selected: set[str]) -> None:
    assert of(("internal", (selector,))).allowed("internal", PLACES) == selected


def test_several_rules_of_a_class_add_up_and_say_nothing_of_others() -> None:
    stated = of(("internal", ("office",)), ("internal", ("geography:US",)), ("restricted", ("device",)))
    assert stated.allowed("internal", PLACES) == {"office", "us"}
    assert stated.allowed("restricted", PLACES) == {"device"}
    assert stated.allowed("public", PLACES) == set()


def test_an_unknown_class_may_go_nowhere() -> None:
    stated = of(*((name, ("*",)) for name in CLASSES))
    for unknown in ("secret", "", "Internal", "*"):
        assert stated.allowed(unknown, PLACES) == set()


def test_a_global_place_is_in_no_geography_whatever_it_claims() -> None:
    claiming = Place(name="x", reach=Reach.GLOBAL, owner="microsoft", geography="EU")
    assert of(("internal", ("geography:EU",))).allowed("internal", [claiming]) == set()


def test_what_is_not_known_of_a_place_selects_nothing() -> None:
    assert of(("internal", ("owner:acme", "geography:EU"))).allowed("internal", [THIS_DEVICE]) == set()


def test_a_place_cannot_be_named_like_a_selector() -> None:
    hostile = [Place(name=name, reach=Reach.GLOBAL) for name in ("reach:site", "owner:acme", "geography:EU")]
    stated = of(("internal", ("reach:site", "owner:acme", "geography:EU")))
    assert stated.allowed("internal", hostile) == set()


def test_a_name_that_two_places_have_needs_both() -> None:
    twins = [dataclasses.replace(SITE, name="x"), dataclasses.replace(ANYWHERE, name="x")]
    assert of(("internal", ("reach:site",))).allowed("internal", twins) == set()
    assert of(("internal", ("reach:site", "reach:global"))).allowed("internal", twins) == {"x"}


@given(st.lists(rules, max_size=8), st.lists(places, max_size=6), st.text(max_size=12))
@settings(deadline=None)
def test_it_fails_closed(stated: list[Rule], where: list[Place], other: str) -> None:
    made = policy(classes=CLASSES, rules=stated, default_class="public")
    names = {place.name for place in where}
    for data_class in {*CLASSES, other}:
        allowed = made.allowed(data_class, where)
        assert allowed <= names
        if not any(rule.data_class == data_class and rule.places for rule in stated):
            assert allowed == set()


@given(st.lists(rules, max_size=8), st.lists(places, max_size=6), st.data())
@settings(deadline=None)
def test_taking_a_rule_away_never_allows_more(stated: list[Rule], where: list[Place], data: st.DataObject) -> None:
    fewer = [rule for rule in stated if data.draw(st.booleans())]
    for data_class in CLASSES:
        with_all = policy(classes=CLASSES, rules=stated, default_class="public").allowed(data_class, where)
        assert policy(classes=CLASSES, rules=fewer, default_class="public").allowed(data_class, where) <= with_all


@given(st.lists(rules, max_size=8), st.lists(places, max_size=6), st.randoms())
@settings(deadline=None)
def test_the_order_of_rules_is_irrelevant(stated: list[Rule], where: list[Place], random: object) -> None:
    shuffled = [dataclasses.replace(rule, places=rule.places[::-1]) for rule in stated]
    random.shuffle(shuffled)
    one = policy(classes=CLASSES, rules=stated, default_class="public")
    other = policy(classes=CLASSES, rules=shuffled, default_class="public")
    assert one == other
    assert one.version == other.version
    for data_class in CLASSES:
        assert one.allowed(data_class, where) == other.allowed(data_class, where)


@given(st.lists(rules, max_size=6), st.lists(rules, max_size=6))
@settings(deadline=None)
def test_versions_are_equal_exactly_when_policies_are(first: list[Rule], second: list[Rule]) -> None:
    one = policy(classes=CLASSES, rules=first, default_class="public")
    other = policy(classes=CLASSES, rules=second, default_class="public")
    assert (one.version == other.version) == (one == other)


def test_a_version_is_the_hash_of_all_that_counts() -> None:
    base = of(("internal", ("office",)))
    assert len(base.version) == 64
    assert int(base.version, 16)
    rule = Rule(data_class="internal", places=("office",))
    for classes, default in ((CLASSES, "public"), (CLASSES[::-1], "internal"), ((*CLASSES, "more"), "internal")):
        assert policy(classes=classes, rules=[rule], default_class=default).version != base.version
    assert of(("internal", ("office", "us"))).version != base.version


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.sampled_from(CLASSES), min_size=1))
def test_the_highest_is_at_least_each_claim_and_is_one_of_them(claims: dict[str, str]) -> None:
    highest = of().highest(claims)
    assert highest in claims.values()
    assert all(CLASSES.index(highest) >= CLASSES.index(claimed) for claimed in claims.values())


@given(st.dictionaries(st.text(max_size=3), st.sampled_from(CLASSES)), st.sampled_from(CLASSES))
def test_one_more_claim_never_lowers_it(claims: dict[str, str], more: str) -> None:
    stated = of()
    if claims:
        assert CLASSES.index(stated.highest({**claims, "one more": more})) >= CLASSES.index(stated.highest(claims))
    assert stated.highest({}) == "internal"


def test_a_claim_of_no_class_is_the_callers_mistake() -> None:
    with pytest.raises(InvalidRequest, match=r"'secret' \(from the header\).*public, internal") as caught:
        of().highest({"project": "internal", "header": "secret"})
    assert caught.value.code == "unknown_data_class"


@pytest.mark.parametrize(
    ("classes", "stated", "default", "message"),
    [
        ((), [], "public", "no data classes"),
        (("a", "a"), [], "a", "'a' is in the list twice"),
        (("a b",), [], "a b", "one word"),
        (("a", ""), [], "a", "one word"),
        (("a",), [], "b", "default class 'b' is none of a"),
        (("a",), [("b", ("*",))], "a", "class 'b', which is none of a"),
        (("a",), [("a", ("reach:moon",))], "a", "a reach is one of device, site"),
        (("a",), [("a", ("region:EU",))], "a", "before the colon"),
        (("a",), [("a", ("owner:",))], "a", "selects nothing"),
        (("a",), [("a", ("",))], "a", "selects nothing"),
    ],
)
def test_a_policy_that_contradicts_itself_is_refused(
    classes: tuple[str, ...], stated: list[tuple[str, tuple[str, ...]]], default: str, message: str
) -> None:
    made = [Rule(data_class=data_class, places=selectors) for data_class, selectors in stated]
    with pytest.raises(ValueError, match=message):
        policy(classes=classes, rules=made, default_class=default)


def test_selectors_that_select_nothing_are_told() -> None:
    stated = of(("internal", ("office", "offfice")), ("public", ("owner:gogle", "*")))
    assert set(stated.idle_selectors(PLACES)) == {("internal", "offfice"), ("public", "owner:gogle")}
