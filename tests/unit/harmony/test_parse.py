"""Well-formed turns to events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tundish.core.events import (
    ChoiceFinished,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    TextPhase,
    TokenLogprob,
    ToolCallDelta,
    ToolCallStarted,
)

from .conftest import Ids, Parse, new_parser

Reading = Callable[..., dict[str, Any]]

ANALYSIS = "<|channel|>analysis<|message|>2 + 2 = 4.<|end|><|start|>assistant"
FINAL = "<|channel|>final<|message|>4<|return|>"


def test_analysis_then_answer_by_their_ids() -> None:
    parser = new_parser()
    # fmt: off
    events = parser.feed([
        200005, 35644, 200008, 17, 659, 220, 17, 314, 220, 19, 13, 200007, 200006, 173781,  # analysis
        200005, 17196, 200008, 19, 200002,  # final
    ])
    # fmt: on
    assert events == [ReasoningDelta("2 + 2 = 4."), TextDelta("4")]
    assert parser.ended
    assert parser.reasoning_tokens == 8
    assert parser.finish(cut=False) == [ChoiceFinished(FinishReason.STOP)]


def test_each_token_is_a_delta_when_it_comes_alone(ids: Ids) -> None:
    parser = new_parser(choice=2)
    events = [event for token in ids("<|channel|>final<|message|>one two three") for event in parser.feed([token])]
    assert events == [TextDelta("one", 2), TextDelta(" two", 2), TextDelta(" three", 2)]


def test_the_end_token_need_not_be_reported(parse: Parse) -> None:
    assert parse("<|channel|>final<|message|>4") == [TextDelta("4"), ChoiceFinished(FinishReason.STOP)]


def test_end_of_text_ends_a_turn(parse: Parse) -> None:
    assert parse("<|channel|>final<|message|>4<|endoftext|>5") == [
        TextDelta("4"),
        ChoiceFinished(FinishReason.STOP),
    ]


def test_a_preamble_is_seen_and_is_not_the_answer(parse: Parse) -> None:
    turn = "<|channel|>commentary<|message|>Let me look.<|end|><|start|>assistant" + FINAL
    assert parse(turn) == [
        TextDelta("Let me look.", phase=TextPhase.PREAMBLE),
        TextDelta("\n\n4"),
        ChoiceFinished(FinishReason.STOP),
    ]


def test_a_preamble_is_no_part_of_a_json_answer(reading: Reading) -> None:
    turn = (
        "<|channel|>commentary<|message|>Let me look.<|end|><|start|>assistant<|channel|>final<|message|>{}<|return|>"
    )
    assert reading(turn, json_answer=True) == {"reasoning": "Let me look.", "text": "{}", "reason": "stop"}


def test_messages_of_one_kind_are_set_apart(reading: Reading) -> None:
    turn = (
        "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>analysis<|message|>b<|end|>"
        "<|start|>assistant<|channel|>final<|message|>c<|end|><|start|>assistant<|channel|>final<|message|>d<|return|>"
    )
    assert reading(turn) == {"reasoning": "a\n\nb", "text": "c\n\nd", "reason": "stop"}


@pytest.mark.parametrize("turn", ["", "<|return|>", "<|channel|>final<|message|><|return|>", "<|end|><|return|>"])
def test_a_turn_may_say_nothing(parse: Parse, turn: str) -> None:
    assert parse(turn) == [ChoiceFinished(FinishReason.STOP)]


# --- calls ---


@pytest.mark.parametrize(
    "header",
    [
        # The recipient in the role or after the channel; the data type spaced, adjacent, bare or absent.
        " to=functions.get_weather<|channel|>commentary <|constrain|>json",
        " to=functions.get_weather<|channel|>commentary<|constrain|>json",
        " to=functions.get_weather<|channel|>commentary json",
        " to=functions.get_weather<|channel|>commentary",
        "<|channel|>commentary to=functions.get_weather <|constrain|>json",
        "<|channel|>commentary to=functions.get_weather<|constrain|>json",
        "<|channel|>commentary to=functions.get_weather json",
        "<|channel|>commentary to=functions.get_weather",
        "<|channel|>commentary to=functions.get_weather code",
        "<|channel|>commentary to=get_weather <|constrain|>json",
        "<|channel|>analysis to=functions.get_weather <|constrain|>json",
    ],
)
def test_one_call_in_all_its_spellings(parse: Parse, header: str) -> None:
    assert parse(header + '<|message|>{"city":"Bonn"}<|call|>', tools=["get_weather"]) == [
        ToolCallStarted(0, "call_1", "get_weather"),
        ToolCallDelta(0, '{"city":"Bonn"}'),
        ChoiceFinished(FinishReason.TOOL_CALLS),
    ]


def test_a_call_by_its_ids() -> None:
    parser = new_parser(tools=["get_weather"])
    # fmt: off
    assert parser.feed([
        200005, 12606, 815, 316, 28, 44580, 775, 170154, 220, 200003, 4108, 200008,
        10848, 17500, 7534, 33, 9525, 18583, 200012,
    ]) == [ToolCallStarted(0, "call_1", "get_weather"), ToolCallDelta(0, '{"city":"Bonn"}')]
    # fmt: on


def test_arguments_stream(ids: Ids) -> None:
    parser = new_parser(tools=["f"])
    parser.feed(ids("<|channel|>commentary to=functions.f <|constrain|>json<|message|>"))
    deltas = [parser.feed([token]) for token in ids('{"a": "b c"}')]
    assert len(deltas) > 4
    assert all(len(events) == 1 and isinstance(events[0], ToolCallDelta) for events in deltas)


def test_several_calls_in_one_turn(parse: Parse) -> None:
    one = "<|channel|>commentary to=functions.f<|message|>{}<|call|>"
    turn = f"{one}<|start|>assistant{one}"
    assert parse(turn, tools=["f"]) == [
        ToolCallStarted(0, "call_1", "f"),
        ToolCallDelta(0, "{}"),
        ToolCallStarted(1, "call_2", "f"),
        ToolCallDelta(1, "{}"),
        ChoiceFinished(FinishReason.TOOL_CALLS),
    ]
    assert parse(turn, tools=["f"], parallel_calls=False) == [
        ToolCallStarted(0, "call_1", "f"),
        ToolCallDelta(0, "{}"),
        ChoiceFinished(FinishReason.TOOL_CALLS),
    ]


def test_the_first_of_several_calls_ends_a_turn_that_may_have_one(ids: Ids) -> None:
    parser = new_parser(tools=["f"], parallel_calls=False)
    parser.feed(ids("<|channel|>commentary to=functions.f<|message|>{}<|end|>"))
    assert parser.ended


# --- cut by length ---


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        ("<|channel|>analysis<|message|>Thinking", {"reasoning": "Thinking"}),
        ("<|channel|>final<|message|>The ans", {"text": "The ans"}),
        (ANALYSIS, {"reasoning": "2 + 2 = 4."}),
        (ANALYSIS + "<|channel|>", {"reasoning": "2 + 2 = 4."}),
        (ANALYSIS + "<|channel|>fin", {"reasoning": "2 + 2 = 4."}),
        ("<|channel|>commentary to=functions.f", {}),
        ("<|channel|>commentary to", {}),
        ("<|channel|>commentary to=functions.f <|constrain|>js", {}),
        ("<|channel|>analysis<|message|>a<|end|><|start|>assist", {"reasoning": "a"}),
        ("<|channel|>analysis<|message|>a<|end|><|start|>assistant to=functions", {"reasoning": "a"}),
        (" to", {}),
        ("<|channel|>", {}),
    ],
)
def test_a_cut_turn_keeps_what_was_said_and_leaks_no_marker(
    reading: Reading, turn: str, expected: dict[str, str]
) -> None:
    assert reading(turn, cut=True, tools=["f"]) == {**expected, "reason": "length"}


def test_a_cut_call_keeps_its_half_arguments(parse: Parse) -> None:
    assert parse('<|channel|>commentary to=functions.f<|message|>{"a', tools=["f"], cut=True) == [
        ToolCallStarted(0, "call_1", "f"),
        ToolCallDelta(0, '{"a'),
        ChoiceFinished(FinishReason.LENGTH),
    ]


# --- characters of several tokens ---


def test_a_character_is_shown_when_it_is_whole(ids: Ids) -> None:
    tokens = ids("👩‍👩‍👧")
    assert len(tokens) == 8
    parser = new_parser()
    parser.feed(ids("<|channel|>final<|message|>"))
    texts = [event.text for token in tokens for event in parser.feed([token]) if isinstance(event, TextDelta)]
    assert "".join(texts) == "👩‍👩‍👧"
    assert "\ufffd" not in "".join(texts)
    assert len(texts) < len(tokens)


def test_half_a_character_is_dropped_by_a_cut_and_replaced_by_an_end(ids: Ids, reading: Reading) -> None:
    halves = ids("<|channel|>final<|message|>a👩")[:-1]
    for cut, text in ((True, "a"), (False, "a\ufffd")):
        parser = new_parser()
        events = [*parser.feed(halves), *parser.finish(cut=cut)]
        assert "".join(event.text for event in events if isinstance(event, TextDelta)) == text


# --- stop strings ---


def test_a_stop_string_ends_what_is_seen(ids: Ids, parse: Parse) -> None:
    turn = "<|channel|>final<|message|>one two three<|return|>"
    assert parse(turn, stop=[" tw"]) == [TextDelta("one"), ChoiceFinished(FinishReason.STOP)]
    parser = new_parser(stop=[" two"])
    parser.feed(ids("<|channel|>final<|message|>one two"))
    assert parser.ended


def test_a_stop_string_is_not_looked_for_in_reasoning_or_arguments(reading: Reading) -> None:
    assert reading(ANALYSIS + FINAL, stop=["2"]) == {"reasoning": "2 + 2 = 4.", "text": "4", "reason": "stop"}
    call = '<|channel|>commentary to=functions.f<|message|>{"a":2}<|call|>'
    assert reading(call, stop=["2"], tools=["f"]) == {"calls": [("f", '{"a":2}')], "reason": "tool_calls"}


def test_held_back_text_is_shown_before_the_next_message(parse: Parse) -> None:
    turn = "<|channel|>commentary<|message|>Look #<|end|><|start|>assistant to=functions.f<|message|>{}"
    assert parse(turn, stop=["##"], tools=["f"]) == [
        TextDelta("Look #", phase=TextPhase.PREAMBLE),
        ToolCallStarted(0, "call_1", "f"),
        ToolCallDelta(0, "{}"),
        ChoiceFinished(FinishReason.TOOL_CALLS, recovered=("missing channel",)),
    ]


def test_the_gap_between_messages_is_no_stop_string(reading: Reading) -> None:
    turn = "<|channel|>commentary<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b<|return|>"
    assert reading(turn, stop=["\n\n"]) == {"text": "a\n\nb", "reason": "stop"}


# --- log probabilities ---


def test_log_probabilities_are_those_of_visible_tokens(ids: Ids) -> None:
    def entries(tokens: list[int]) -> list[TokenLogprob]:
        return [TokenLogprob(token=str(token), token_bytes=b"", logprob=-1.0) for token in tokens]

    parser = new_parser()
    tokens = ids(ANALYSIS + "<|channel|>final<|message|>one two<|return|>")
    events = parser.feed(tokens, entries(tokens))
    one, two = ids("one two")
    assert [event for event in events if isinstance(event, TextDelta)] == [
        TextDelta("one", logprobs=tuple(entries([one]))),
        TextDelta(" two", logprobs=tuple(entries([two]))),
    ]
