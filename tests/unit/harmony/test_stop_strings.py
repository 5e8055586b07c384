from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tundish.harmony.stop_strings import StopStrings


def shown(stops: list[str], pieces: list[str]) -> tuple[str, bool]:
    stop = StopStrings(stops)
    text = "".join(stop.feed(piece) for piece in pieces)
    return text + stop.flush(), stop.reached


@pytest.mark.parametrize(
    ("stops", "pieces", "text", "reached"),
    [
        ([], ["a", "b"], "ab", False),
        ([""], ["a", "b"], "ab", False),
        (["END"], ["say EN", "D more"], "say ", True),
        (["END"], ["say EN", "T more"], "say ENT more", False),
        (["END"], ["say EN"], "say EN", False),
        (["aab"], ["a", "a", "a", "b", "c"], "a", True),
        (["b", "abc"], ["ab", "c"], "a", True),  # complete first
        (["cd", "bcdX"], ["abcdX"], "ab", True),  # complete first, though it begins later
        (["cd", "bcd"], ["abcd"], "a", True),  # complete together: the longer
        (["\n\n"], ["a\n", "b\n", "\nc"], "a\nb", True),
        (["é"], ["caf", "é!"], "caf", True),
    ],
)
def test_text_ends_before_the_first_stop_string(stops: list[str], pieces: list[str], text: str, reached: bool) -> None:
    assert shown(stops, pieces) == (text, reached)


def test_nothing_is_shown_after_the_end() -> None:
    stop = StopStrings(["."])
    assert stop.feed("a.b") == "a"
    assert stop.feed("c") == ""
    assert stop.flush() == ""


def test_only_what_could_become_a_stop_string_is_held_back() -> None:
    stop = StopStrings(["###"])
    assert stop.feed("one #") == "one "
    assert stop.feed("#") == ""
    assert stop.feed(" two") == "## two"


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.text("ab\n", max_size=4), max_size=4),
    st.lists(st.text("ab\n", max_size=6), max_size=12),
)
def test_any_cutting_shows_the_same(stops: list[str], pieces: list[str]) -> None:
    whole = "".join(pieces)
    ends = [(at + len(stop), at) for stop in stops if stop and (at := whole.find(stop)) >= 0]
    expected = (whole[: min(ends)[1]], True) if ends else (whole, False)
    assert shown(stops, pieces) == shown(stops, [whole]) == shown(stops, list(whole)) == expected


def test_a_hostile_stop_string_costs_little() -> None:
    stop = StopStrings(["a" * 100_000 + "b"])
    for _ in range(20_000):
        assert stop.feed("aaaa") in ("", "aaaa")
    assert len(stop.flush()) <= 100_000
