"""Whatever tokens come, in whatever pieces: an orderly stream of events."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tundish.core.events import (
    ChoiceFinished,
    GenerationEvent,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    ToolCallStarted,
)
from tundish.harmony.vocabulary import O200K_HARMONY

from .conftest import MARKERS, merged, new_parser

PIECES = [
    "assistant", "analysis", "commentary", "final", " to=", "to=", "functions.", "f", "json", " ", "\n", "user",
    "system", "{", "}", '"', "\\", '{"a":1}', "Hello", " world", "é", "👩‍👩‍👧", "日本", "<", "|", "<|", "END", "E",
]  # fmt: skip

markers = st.sampled_from(sorted(MARKERS.values())).map(lambda token: [token])
reserved = st.sampled_from([199_998, 200_000, 200_018, 201_087, 201_088, -1]).map(lambda token: [token])
words = st.sampled_from(PIECES).map(lambda text: O200K_HARMONY().encode(text))
single_bytes = st.integers(0, 255).map(lambda rank: [rank])
"""The first 256 ids are the single bytes: characters cut anywhere."""
turns = st.lists(st.one_of(markers, markers, words, words, words, single_bytes, reserved), max_size=40).map(
    lambda parts: [token for part in parts for token in part]
)
options = st.fixed_dictionaries(
    {
        "tools": st.sampled_from([[], ["f"], ["get_weather", "f"]]),
        "stop": st.sampled_from([[], ["END"], ["EE", " "], ["é"], ["\n\n"]]),
        "parallel_calls": st.booleans(),
        "json_answer": st.booleans(),
    }
)


def cut(tokens: Sequence[int], sizes: Sequence[int]) -> list[Sequence[int]]:
    pieces: list[Sequence[int]] = []
    for size in sizes:
        pieces.append(tokens[:size])
        tokens = tokens[size:]
    return [*pieces, tokens]


def run(pieces: Sequence[Sequence[int]], *, ended_early: bool, **given: Any) -> list[GenerationEvent]:
    parser = new_parser(**given)
    events: list[GenerationEvent] = []
    for piece in pieces:
        if parser.ended:  # the backend stops feeding
            break
        events += parser.feed(piece)
    return merged([*events, *parser.finish(cut=ended_early)])


@settings(max_examples=600, deadline=None)
@given(turns, options, st.lists(st.integers(0, 9), max_size=20), st.booleans())
@example([200005, 200005, 200005], {}, [], False)
@example([200006, 1428, 200008, 13225], {}, [1], False)
def test_pieces_make_no_difference(
    tokens: list[int], given: dict[str, Any], sizes: list[int], ended_early: bool
) -> None:
    whole = run([tokens], ended_early=ended_early, **given)
    assert run([[token] for token in tokens], ended_early=ended_early, **given) == whole
    assert run(cut(tokens, sizes), ended_early=ended_early, **given) == whole


@settings(max_examples=600, deadline=None)
@given(turns, options, st.booleans())
def test_events_are_in_order(tokens: list[int], given: dict[str, Any], ended_early: bool) -> None:
    events = run([tokens], ended_early=ended_early, choice=3, **given)
    assert [type(event) for event in events].count(ChoiceFinished) == 1
    assert isinstance(events[-1], ChoiceFinished)
    assert all(event.choice == 3 for event in events)  # type: ignore[union-attr]
    started = [event for event in events if isinstance(event, ToolCallStarted)]
    assert [call.index for call in started] == list(range(len(started)))
    assert len({call.call_id for call in started}) == len(started)
    assert len(started) <= 1 or given["parallel_calls"]
    open_call = -1
    for event in events:
        if isinstance(event, ToolCallStarted):
            open_call = event.index
            assert re.fullmatch(r"[A-Za-z0-9_-]+", event.name)
        elif isinstance(event, ToolCallDelta):
            assert event.index == open_call
            assert event.arguments
        elif isinstance(event, ReasoningDelta | TextDelta):
            assert event.text


@settings(max_examples=600, deadline=None)
@given(turns, options, st.booleans())
def test_no_marker_leaks(tokens: list[int], given: dict[str, Any], ended_early: bool) -> None:
    # Spelled in letters it is text, so take the letters away.
    tokens = [token for token in tokens if b"|" not in O200K_HARMONY().token_bytes(token) or token >= 199_998]
    for event in run([tokens], ended_early=ended_early, **given):
        said = getattr(event, "text", None) or getattr(event, "arguments", None) or getattr(event, "name", "")
        assert "<|" not in said


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\ufffd"), min_size=1), st.data())
def test_split_characters_never_become_replacement_characters(text: str, data: st.DataObject) -> None:
    rank_of = {O200K_HARMONY().token_bytes(rank): rank for rank in range(256)}
    tokens = [200005, 17196, 200008, *(rank_of[bytes([byte])] for byte in text.encode()), 200002]
    sizes = data.draw(st.lists(st.integers(1, 5), max_size=30))
    events = run(cut(tokens, sizes), ended_early=False)
    assert events[:-1] == [TextDelta(text)]


@settings(max_examples=300, deadline=None)
@given(turns, options, st.booleans())
def test_log_probabilities_change_nothing_and_stay_in_order(
    tokens: list[int], given: dict[str, Any], ended_early: bool
) -> None:
    entries = [TokenLogprob(token=str(at), token_bytes=b"", logprob=-1.0) for at, _ in enumerate(tokens)]
    parser = new_parser(**given)
    events = merged([*parser.feed(tokens, entries), *parser.finish(cut=ended_early)])
    seen = [int(entry.token) for event in events if isinstance(event, TextDelta) for entry in event.logprobs]
    assert seen == sorted(set(seen))
    bare = [
        TextDelta(event.text, event.choice, event.phase) if isinstance(event, TextDelta) else event for event in events
    ]
    assert bare == run([tokens], ended_early=ended_early, **given)
