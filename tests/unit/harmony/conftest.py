"""A spelling for tokens: `<|end|>` is the special token, everything else is ordinary text."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence

import pytest

from tundish.core.events import (
    ChoiceFinished,
    GenerationEvent,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
)
from tundish.harmony.parse import HarmonyParser
from tundish.harmony.vocabulary import O200K_HARMONY

MARKERS = {
    "<|endoftext|>": 199_999,
    "<|return|>": 200_002,
    "<|constrain|>": 200_003,
    "<|channel|>": 200_005,
    "<|start|>": 200_006,
    "<|end|>": 200_007,
    "<|message|>": 200_008,
    "<|call|>": 200_012,
}

Ids = Callable[[str], list[int]]
Parse = Callable[..., list[GenerationEvent]]


@pytest.fixture(scope="session")
def ids() -> Ids:
    """The token ids of a spelling."""

    def encode(spelling: str) -> list[int]:
        tokens: list[int] = []
        for piece in re.split(r"(<\|[a-z]+\|>)", spelling):
            tokens += [MARKERS[piece]] if piece in MARKERS else O200K_HARMONY().encode(piece)
        return tokens

    return encode


def new_parser(**options: object) -> HarmonyParser:
    count = itertools.count(1)
    return HarmonyParser(new_call_id=lambda: f"call_{next(count)}", **options)  # type: ignore[arg-type]


def merged(events: Sequence[GenerationEvent]) -> list[GenerationEvent]:
    """The events with neighbouring deltas joined: what a client that collects them has in the end."""
    out: list[GenerationEvent] = []
    for event in events:
        match (out[-1] if out else None), event:
            case ReasoningDelta() as last, ReasoningDelta():
                out[-1] = ReasoningDelta(last.text + event.text, event.choice)
            case TextDelta() as last, TextDelta() if last.phase is event.phase:
                out[-1] = TextDelta(last.text + event.text, event.choice, event.phase, last.logprobs + event.logprobs)
            case ToolCallDelta() as last, ToolCallDelta() if last.index == event.index:
                out[-1] = ToolCallDelta(event.index, last.arguments + event.arguments, event.choice)
            case _:
                out.append(event)
    return out


@pytest.fixture(scope="session")
def parse(ids: Ids) -> Parse:
    """The merged events of a turn; token by token, as engines deliver it."""

    def run(spelling: str, *, cut: bool = False, **options: object) -> list[GenerationEvent]:
        parser = new_parser(**options)
        events: list[GenerationEvent] = []
        for token in ids(spelling):
            events += parser.feed([token])
        return merged([*events, *parser.finish(cut=cut)])

    return run


@pytest.fixture(scope="session")
def reading(parse: Parse) -> Callable[..., dict[str, object]]:
    """What a turn comes to: reasoning, text, calls, why it ended, what was repaired."""

    def read(spelling: str, **options: object) -> dict[str, object]:
        events = parse(spelling, **options)
        names = [event.name for event in events if isinstance(event, ToolCallStarted)]
        arguments = [event.arguments for event in events if isinstance(event, ToolCallDelta)]
        finished = events[-1]
        assert isinstance(finished, ChoiceFinished)
        found = {
            "reasoning": "".join(event.text for event in events if isinstance(event, ReasoningDelta)),
            "text": "".join(event.text for event in events if isinstance(event, TextDelta)),
            "calls": list(zip(names, arguments, strict=True)),
            "recovered": list(finished.recovered),
        }
        return {**{key: value for key, value in found.items() if value}, "reason": finished.reason.value}

    return read
