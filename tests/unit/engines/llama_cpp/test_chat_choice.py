from __future__ import annotations

import msgspec

from tundish.core.events import (
    ChoiceFinished,
    FinishReason,
    GenerationEvent,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
)
from tundish.core.request import Sampling
from tundish.engines.llama_cpp import chat_wire
from tundish.engines.llama_cpp.chat_choice import ChatChoice


def piece(finish: str | None = None, logprobs: list[str] | None = None, **delta: object) -> chat_wire.Choice:
    told = None if logprobs is None else {"content": [{"token": text, "logprob": -1.0} for text in logprobs]}
    return msgspec.convert({"index": 0, "delta": delta, "finish_reason": finish, "logprobs": told}, chat_wire.Choice)


def fed(choice: ChatChoice, *pieces: chat_wire.Choice) -> list[GenerationEvent]:
    return [event for each in pieces for event in choice.feed(each)]


def test_reasoning_text_and_end() -> None:
    choice = ChatChoice(Sampling(), choice=3)
    events = fed(choice, piece(content=None), piece(reasoning_content="why"), piece(content="so"), piece("length"))
    assert events == [ReasoningDelta("why", 3), TextDelta("so", 3), ChoiceFinished(FinishReason.LENGTH, 3)]
    assert choice.ended
    assert not choice.settled
    choice.settle(9)
    assert (choice.settled, choice.completion_tokens, choice.reasoning_tokens) == (True, 9, 1)


def test_calls_are_told_once_and_stream_their_arguments() -> None:
    choice = ChatChoice(Sampling(), choice=0)
    events = fed(
        choice,
        piece(tool_calls=[{"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}]),
        piece(tool_calls=[{"index": 0, "function": {"arguments": "{"}}]),
        piece(tool_calls=[{"index": 1, "id": "b", "function": {"name": "g", "arguments": "{}"}}]),
        piece("tool_calls"),
    )
    assert events == [
        ToolCallStarted(0, "call_a", "f"),
        ToolCallDelta(0, "{"),
        ToolCallStarted(1, "call_b", "g"),
        ToolCallDelta(1, "{}"),
        ChoiceFinished(FinishReason.TOOL_CALLS),
    ]


def test_a_stop_string_across_pieces_ends_it_at_once() -> None:
    choice = ChatChoice(Sampling(stop=("END",)), choice=0)
    events = fed(choice, piece(reasoning_content="END"), piece(content="oneE"), piece(content="NDtwo"), piece("length"))
    assert events == [ReasoningDelta("END"), TextDelta("one"), ChoiceFinished(FinishReason.STOP)]
    assert choice.settled


def test_what_a_stop_string_held_back_is_not_lost() -> None:
    choice = ChatChoice(Sampling(stop=("END",)), choice=0)
    assert fed(choice, piece(content="EN"), piece("stop")) == [TextDelta("EN"), ChoiceFinished(FinishReason.STOP)]


def test_probabilities_go_with_the_text_that_shows() -> None:
    choice = ChatChoice(Sampling(top_logprobs=0), choice=0)
    events = fed(
        choice,
        piece(logprobs=["<think>"], content=None),
        piece(logprobs=["hm"], reasoning_content="hm"),
        piece(logprobs=["held"], content=None),
        piece(logprobs=["back"], content="heldback"),
        piece("stop"),
    )
    (text,) = [event for event in events if isinstance(event, TextDelta)]
    assert [entry.token for entry in text.logprobs] == ["held", "back"]
