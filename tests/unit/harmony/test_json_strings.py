from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from tundish.harmony.json_strings import JsonStrings


def test_follows_quotes_and_escapes() -> None:
    strings = JsonStrings()
    seen = []
    for piece in ('{"a', "\\", '"b', '"', ":", '"\\\\', '"', "}"):
        strings.feed(piece)
        seen.append(strings.inside)
    assert seen == [True, True, True, False, False, True, False, False]


@settings(deadline=None)
@given(st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_whole_json_ends_outside(value: object) -> None:
    strings = JsonStrings()
    for character in json.dumps(value):
        strings.feed(character)
    assert not strings.inside
