"""Malformed turns: what their user still gets, and what is reported as repaired."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tundish.core.events import ToolCallStarted

from .conftest import Ids, new_parser

Reading = Callable[..., dict[str, Any]]

THINK = "<|channel|>analysis<|message|>Hm.<|end|>"
ANSWER = "<|start|>assistant<|channel|>final<|message|>4"
TO = "<|channel|>commentary to=functions.get_weather"
ANSWERED = {"reasoning": "Hm.", "text": "4", "reason": "stop"}
CALLED = {"calls": [("get_weather", "{}")], "reason": "tool_calls"}


@pytest.mark.parametrize(
    ("turn", "repaired"),
    [
        (THINK + "junk<|start|>assistant<|channel|>final<|message|>4<|return|>", "junk between messages"),
        (THINK + "\n<|start|>assistant<|channel|>final<|message|>4<|return|>", None),
        (THINK + "assistant<|channel|>final<|message|>4<|return|>", "missing start of message"),
        (THINK + "<|channel|>final<|message|>4<|return|>", "missing start of message"),
        (THINK + "<|message|>4<|return|>", "missing channel"),
        (THINK + "<|start|>assistant<|message|>4<|return|>", "missing channel"),
        (THINK + "<|start|>assistant<|channel|>final4<|return|>", "missing start of content"),
        (THINK + "<|start|>assistant<|channel|>nowhere<|message|>4<|return|>", "unknown channel"),
        (THINK + "<|start|>assistant<|channel|>FINAL<|message|>4<|return|>", None),
        (THINK + "<|start|>assistant<|channel|>fin<|message|>4<|return|>", "unknown channel"),
        (THINK + "<|start|>assistant<|channel|>final<|channel|>final<|message|>4<|return|>", "repeated channel"),
        (THINK + "<|start|><|start|>assistant<|channel|>final<|message|>4<|return|>", None),
        (THINK + "<|start|>assistant<|start|>assistant<|channel|>final<|message|>4<|return|>", "junk between messages"),
        (THINK + "<|start|>assistant4<|return|>", "missing start of content"),
        (THINK + "<|start|>assistant 4<|return|>", "missing start of content"),
        (THINK + "4<|return|>", "missing start of content"),  # junk, but the only answer there is
        (THINK.removesuffix("<|end|>") + ANSWER + "<|return|>", "missing end of message"),
        (THINK.removesuffix("<|end|>") + "<|channel|>final<|message|>4<|return|>", "missing end of message"),
        (THINK + "<|start|>assistant<|channel|>final<|message|><|message|>4<|return|>", "marker inside a message"),
        (THINK + "<|start|>assistant<|channel|>final<|message|><|constrain|>4<|return|>", "marker inside a message"),
        (THINK + ANSWER + "<|end|>junk<|return|>", "junk between messages"),
        (THINK + ANSWER + "<|end|><|start|>user<|message|>And 5?<|return|>", "spoke for another role"),
        (THINK + ANSWER + "<|end|>user<|message|>And 5?<|return|>", "spoke for another role"),
        (THINK + ANSWER + "<|end|><|start|>functions.f to=assistant<|message|>5", "spoke for another role"),
        (THINK + ANSWER + "<|call|>", None),
        ("<|channel|>analysis Hm.<|end|>" + ANSWER + "<|return|>", "missing start of content"),
        ("<|channel|>analysis Hm." + ANSWER + "<|return|>", "missing start of content"),
    ],
)  # fmt: skip
def test_the_answer_arrives(reading: Reading, turn: str, repaired: str | None) -> None:
    found = reading(turn)
    recovered = found.pop("recovered", [])
    assert found == ANSWERED
    if repaired is None:
        assert recovered == []
    else:
        assert repaired in recovered


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("4", "4"),
        ("Users often ask.", "Users often ask."),
        ("system design is hard", "system design is hard"),
        ("Well, <b>", "Well, <b>"),
    ],
)
def test_an_answer_without_any_header(reading: Reading, text: str, seen: str) -> None:
    assert reading(f"{text}<|return|>") == {
        "text": seen,
        "reason": "stop",
        "recovered": ["missing start of content", "missing channel"],
    }
    assert reading(text, cut=True)["text"] == seen


def test_a_long_answer_without_any_header_streams(ids: Ids) -> None:
    parser = new_parser()
    words = "word " * 200
    events = parser.feed(ids(words))
    assert events
    text = "".join(event.text for event in [*events, *parser.finish(cut=False)] if hasattr(event, "text"))
    assert text == words


@pytest.mark.parametrize(
    ("turn", "repaired"),
    [
        (" to=to=functions.get_weather<|channel|>commentary<|message|>{}<|call|>", "repeated recipient"),
        (" to=functions.get_weather" + TO + "<|message|>{}<|call|>", "repeated recipient"),
        (" to=functions.functions.get_weather<|channel|>commentary<|message|>{}<|call|>", None),
        (" to= functions.get_weather<|channel|>commentary<|message|>{}<|call|>", None),
        ("<|channel|>commentaryto=functions.get_weather<|message|>{}<|call|>", None),
        ("<|channel|>commentary functions.get_weather<|message|>{}<|call|>", "unmarked recipient"),
        ("<|channel|>commentaryfunctions.get_weather json<|message|>{}<|call|>", "unmarked recipient"),
        (TO + "<|channel|>commentary<|message|>{}<|call|>", "repeated channel"),
        (TO + "<|constrain|><|constrain|>json<|message|>{}<|call|>", None),
        ("<|constrain|>json to=functions.get_weather<|channel|>commentary<|message|>{}<|call|>", None),
        ("<|channel|>commentary to=functions.get-weather<|message|>{}<|call|>", "misspelt tool name"),
        ("<|channel|>commentary to=Get_Weather<|message|>{}<|call|>", "misspelt tool name"),
        ("<|channel|>commentary to=tools.get_weather<|message|>{}<|call|>", "misspelt tool name"),
        (TO + ".<|message|>{}<|call|>", None),
        (TO + " {}<|call|>", "missing start of content"),
        (TO + "{}<|call|>", "missing start of content"),
        (TO + " <|constrain|>json{}<|call|>", "missing start of content"),
        (TO + "<|message|><|call|>", "no arguments"),
        ("<|channel|>comment to=functions.get_weather<|message|>{}<|call|>", "unknown channel"),
        (" to=functions.get_weather<|message|>{}<|call|>", "missing channel"),
        (TO + "<|message|>{}<|start|>assistant<|end|>", "missing end of message"),
    ],
)  # fmt: skip
def test_the_call_arrives(reading: Reading, turn: str, repaired: str | None) -> None:
    found = reading(turn, tools=["get_weather"])
    recovered = found.pop("recovered", [])
    assert found == CALLED
    if repaired is None:
        assert recovered == []
    else:
        assert repaired in recovered


def test_a_recipient_polluted_in_ordinary_letters_is_cleaned(ids: Ids) -> None:
    parser = new_parser(tools=["f"])
    header = [
        *ids("<|channel|>commentary to=functions.f"),
        *ids("<"),
        *ids("|channel|>commentary"),
        *ids("<|message|>"),
    ]
    assert parser.feed(header) == [ToolCallStarted(0, "call_1", "f")]


def test_a_tool_that_was_made_up_is_called_by_its_name(reading: Reading) -> None:
    turn = "<|channel|>commentary to=functions.fly.away<|message|>{}<|call|>"
    assert reading(turn, tools=["walk"]) == {
        "calls": [("fly_away", "{}")],
        "reason": "tool_calls",
        "recovered": ["call of an unknown tool"],
    }


@pytest.mark.parametrize("recipient", ["functions.f", "python", "browser.search", "container.exec"])
def test_a_call_that_nobody_can_answer_is_reasoning(reading: Reading, recipient: str) -> None:
    turn = f"<|channel|>commentary to={recipient}<|message|>x<|end|>{ANSWER}<|return|>"
    assert reading(turn) == {
        "reasoning": "x",
        "text": "4",
        "reason": "stop",
        "recovered": ["call of an unknown tool"],
    }


@pytest.mark.parametrize("recipient", ["python", "browser.search"])
def test_built_in_tools_on_the_analysis_channel_are_reasoning(reading: Reading, recipient: str) -> None:
    turn = f"<|channel|>analysis to={recipient} code<|message|>print(1)<|call|>"
    assert reading(turn, tools=["f"]) == {
        "reasoning": "print(1)",
        "reason": "stop",
        "recovered": ["call of an unknown tool"],
    }


def test_a_header_without_end_is_not_waited_for(ids: Ids) -> None:
    parser = new_parser()
    for token in ids("<|channel|>") * 100_000:
        parser.feed([token])
    assert len(parser._header._parts) <= 65
    assert parser.finish(cut=True)[-1].reason.value == "length"  # type: ignore[union-attr]


def test_endless_junk_is_dropped_once_there_was_an_answer(reading: Reading) -> None:
    turn = "<|channel|>final<|message|>4<|end|>" + "junk " * 300 + "<|return|>"
    assert reading(turn) == {"text": "4", "reason": "stop", "recovered": ["junk between messages"]}


@pytest.mark.parametrize("token", [199_998, 200_000, 200_018, 201_087])
def test_special_tokens_without_a_meaning_are_dropped(ids: Ids, token: int) -> None:
    parser = new_parser()
    tokens = ids("<|channel|>final<|message|>4<|return|>")
    events = parser.feed([*tokens[:1], token, *tokens[1:3], token, *tokens[3:]])
    assert [event.text for event in events if hasattr(event, "text")] == ["4"]
    assert parser.finish(cut=False)[-1].recovered == (  # type: ignore[union-attr]
        "marker inside a header",
        "marker inside a message",
    )
