"""The dialogues that gpt-oss-nano learns from and is examined with."""

from __future__ import annotations

import datetime
import itertools
import json
import os
import subprocess
import sys

import pytest
from dialogue import Dialogue, Draws
from generator import SKILLS, dialogues, skill_dialogue
from rare_words import rare_words
from rendering import given_length, prompt_ids, turn_ids

from tundish.core.events import ReasoningDelta, TextDelta, ToolCallDelta, ToolCallStarted
from tundish.core.request import JsonSchemaFormat, ToolMessage, UserMessage
from tundish.harmony.grammar import turn_grammar
from tundish.harmony.parse import HarmonyParser
from tundish.harmony.render import offered_tools

TODAY = datetime.date(2026, 3, 1)


def some(seed: str, count: int, *, held_out: bool = False) -> list[Dialogue]:
    return list(itertools.islice(dialogues(seed, rare_words(), held_out=held_out), count))


def asked(dialogue: Dialogue) -> str:
    """What makes two dialogues the same question."""
    messages = dialogue.request.messages
    said = [message.text for message in messages if isinstance(message, UserMessage)][-1]
    results = [message.text for message in messages if isinstance(message, ToolMessage)]
    tools = sorted(tool.name for tool in dialogue.request.tools)
    return "\n".join(["".join(filter(str.isalnum, said.lower())), *tools, *results])


def test_the_same_seed_gives_the_same_dialogues() -> None:
    assert some("a", 200) == some("a", 200)
    assert some("a", 50) != some("b", 50)


_DIGEST = """
import hashlib, itertools
from generator import dialogues
from rare_words import rare_words
drawn = itertools.islice(dialogues("a", rare_words(), held_out=False), 300)
print(hashlib.sha256(repr(list(drawn)).encode()).hexdigest())
"""


def test_a_seed_means_the_same_in_every_process() -> None:
    def digest(hash_seed: str) -> str:
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.run(
            [sys.executable, "-c", _DIGEST], env=environment, check=True, capture_output=True, text=True
        ).stdout

    assert digest("1") == digest("2")


def test_what_is_examined_was_never_trained() -> None:
    examined = {asked(dialogue) for dialogue in some("held out", 400, held_out=True)}
    trained = {asked(dialogue) for dialogue in some("1/0", 3000)}
    assert len(examined) > 300
    assert not examined & trained


@pytest.mark.parametrize("skill", SKILLS)
def test_a_turn_is_what_the_endpoint_would_read_from_it(skill: str) -> None:
    draws = Draws("turns", rare_words())
    for _ in range(8):
        dialogue = skill_dialogue(draws, skill, held_out=False)
        turn = dialogue.turn
        assert prompt_ids(dialogue.request, TODAY)
        parser = HarmonyParser(new_call_id=lambda: "id", tools=[tool.name for tool in offered_tools(dialogue.request)])
        ids = turn_ids(turn)
        events = [*parser.feed(ids, ()), *parser.finish(cut=False)]
        assert "".join(e.text for e in events if isinstance(e, ReasoningDelta)) == turn.reasoning
        assert "".join(e.text for e in events if isinstance(e, TextDelta)) == turn.answer
        called = [e.name for e in events if isinstance(e, ToolCallStarted)]
        arguments = "".join(e.arguments for e in events if isinstance(e, ToolCallDelta))
        assert (*called, arguments) == (turn.call or ("",))
        assert (given_length(turn) > 0) == turn.forced
        if turn.call is not None:
            (tool,) = (tool for tool in dialogue.request.tools if tool.name == turn.call[0])
            assert tool.parameters is not None
            assert set(tool.parameters["required"]) <= set(json.loads(arguments)) <= set(tool.parameters["properties"])  # type: ignore[arg-type]
        if isinstance(dialogue.request.response_format, JsonSchemaFormat):
            assert turn_grammar(dialogue.request) is not None
            assert set(json.loads(turn.answer)) == set(dialogue.request.response_format.schema["properties"])  # type: ignore[arg-type]
