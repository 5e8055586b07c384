"""No file whatsoever raises anything but ConfigInvalid."""

from __future__ import annotations

import contextlib
import math
import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tundish.config import toml_text
from tundish.config.document import AddedObject
from tundish.config.errors import ConfigInvalid
from tundish.config.loader import load, loads
from tundish.config.site import SiteConfig

EXAMPLE = (Path(__file__).parents[3] / "examples" / "tundish.toml").read_text(encoding="utf-8")
LINES = EXAMPLE.splitlines()
WORDS = st.sampled_from(
    sorted({*re.findall(r"\w+", EXAMPLE), "headers", "proxy", "capabilities", "shadows", "refuses"})
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=4),
)


def tried(text: str) -> None:
    with contextlib.suppress(ConfigInvalid):
        assert isinstance(loads(text), SiteConfig)


@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    tried(text)


@settings(deadline=None)
@given(st.lists(st.sampled_from(LINES), max_size=60))
def test_any_lines_of_a_good_file(lines: list[str]) -> None:
    tried("\n".join(lines))


@settings(deadline=None)
@given(st.integers(0, len(EXAMPLE)), st.integers(0, 30), st.text(max_size=10))
def test_a_good_file_with_a_hole(at: int, length: int, put: str) -> None:
    tried(EXAMPLE[:at] + put + EXAMPLE[at + length :])


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(WORDS, st.dictionaries(WORDS, JSON, max_size=4) | JSON, max_size=5))
def test_any_tables(tables: dict[str, object]) -> None:
    tried(toml_text.write(without_null(tables)))


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(["deployments", "routes", "places"]), st.text(max_size=10), st.dictionaries(WORDS, JSON))
def test_anything_that_is_added(kind: str, name: str, fields: dict[str, object]) -> None:
    with contextlib.suppress(ConfigInvalid):
        load(None, [AddedObject(kind=kind, name=name, fields=fields)])


def without_null(value: object) -> dict[str, object]:
    def cleaned(part: object) -> object:
        if isinstance(part, dict):
            return {key: cleaned(inner) for key, inner in part.items()}
        if isinstance(part, list):
            return [cleaned(inner) for inner in part]
        if isinstance(part, float) and not math.isfinite(part):
            return 0.5
        return "" if part is None else part

    result = cleaned(value)
    assert isinstance(result, dict)
    return result


def test_brackets_without_end() -> None:
    tried("a = " + "[" * 100_000)
    tried("a = " + "{x=" * 100_000)
    tried("a = " + "[" * 400 + "]" * 400)
