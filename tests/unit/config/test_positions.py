"""The lines that messages name are the lines where things are."""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Iterator, Mapping

from hypothesis import given
from hypothesis import strategies as st

from tundish.config import toml_text
from tundish.config.positions import Location, positions

TEXT = r'''# a comment with [brackets] and a = 1
top = """
several "lines" \
[not.a.table]
"""

[a.b."c.d"] # [x]
k = [1,
  [2, "]"], # ]
  { x = 'y # }',  z = """
3 """, y = 1 },
]
dotted.key."with spaces" = 1979-05-27 07:32:00
"quote\"d" = """it""s"""

[[rows]]
v = 1
[rows.below]
w = "\\"
[[rows]]
[[rows.deep]]
u = """\\\""""""
after = 1
'''


def test_each_kind() -> None:
    tomllib.loads(TEXT)
    lines = positions(TEXT)
    wanted = {
        ("top",): 2,
        ("a",): 7,
        ("a", "b", "c.d"): 7,
        ("a", "b", "c.d", "k"): 8,
        ("a", "b", "c.d", "k", 0): 8,
        ("a", "b", "c.d", "k", 1): 9,
        ("a", "b", "c.d", "k", 1, 1): 9,
        ("a", "b", "c.d", "k", 2, "x"): 10,
        ("a", "b", "c.d", "k", 2, "y"): 11,
        ("a", "b", "c.d", "dotted", "key", "with spaces"): 13,
        ("a", "b", "c.d", 'quote"d'): 14,
        ("rows",): 16,
        ("rows", 0, "v"): 17,
        ("rows", 0, "below"): 18,
        ("rows", 0, "below", "w"): 19,
        ("rows", 1): 20,
        ("rows", 1, "deep", 0): 21,
        ("rows", 1, "deep", 0, "u"): 22,
        ("rows", 1, "deep", 0, "after"): 23,
    }
    assert {location: lines.get(location) for location in wanted} == wanted


def test_windows_line_ends() -> None:
    assert positions("a = 1\r\n\r\n[b]\r\nc = 2\r\n") == {("a",): 1, ("b",): 3, ("b", "c"): 4}


def locations(value: object, here: Location = ()) -> Iterator[Location]:
    if here:
        yield here
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from locations(part, (*here, key))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from locations(part, (*here, index))


KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=8)
SCALARS = (
    st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"), max_size=12)
    | st.dates(min_value=datetime.date(1000, 1, 1))
    | st.times().map(lambda time: time.replace(tzinfo=None))
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))
TABLES = st.dictionaries(KEYS, VALUES, max_size=5)


@given(TABLES)
def test_whatever_is_written_is_read_again_and_has_a_line(table: dict[str, object]) -> None:
    text = toml_text.write(table)
    assert tomllib.loads(text) == table
    lines = positions(text)
    last = text.count("\n") + 1
    assert set(locations(table)) <= set(lines)
    assert all(1 <= line <= last for line in lines.values())


@given(st.text(max_size=60))
def test_anything_ends(text: str) -> None:
    assert all(line >= 1 for line in positions(text).values())
