"""The state of a chat: what is sent with the next question, and the commands that change it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tundish.cli.conversation import Conversation
from tundish.core.request import AssistantMessage, DeveloperMessage, ReasoningEffort, UserMessage


def test_a_question_carries_all_that_was_said() -> None:
    conversation = Conversation(model="m", instructions="Be brief.")
    conversation.remember("My name is Ada.", "Hello Ada.", "greet")
    assert conversation.request("And now?").messages == (
        DeveloperMessage(text="Be brief."),
        UserMessage(text="My name is Ada."),
        AssistantMessage(text="Hello Ada.", reasoning="greet"),
        UserMessage(text="And now?"),
    )


def test_commands_change_the_next_question() -> None:
    conversation = Conversation(model="m")
    conversation.remember("a", "b", None)
    for line in ("/effort HIGH", "/system Speak French.", "/model other", "/clear"):
        assert not conversation.execute(line).leave
    request = conversation.request("q")
    assert request.reasoning_effort is ReasoningEffort.HIGH
    assert request.model == "other"
    assert request.messages == (DeveloperMessage(text="Speak French."), UserMessage(text="q"))


@pytest.mark.parametrize("line", ["/exit", "/quit", "/bye", "/exit  "])
def test_leaving(line: str) -> None:
    assert Conversation(model="m").execute(line).leave


@pytest.mark.parametrize(
    "line", ["/nonsense", "/", "/effort extreme", "/effort", "/save", "/save /no/such/folder/x.md"]
)
def test_a_mistake_is_explained_and_changes_nothing(line: str) -> None:
    conversation = Conversation(model="m")
    reply = conversation.execute(line)
    assert reply.text
    assert not reply.leave
    assert conversation == Conversation(model="m")


def test_save_writes_markdown(tmp_path: Path) -> None:
    conversation = Conversation(model="m", instructions="Be brief.")
    conversation.remember("Zürich?", "Yes – 北京.", "think")
    path = tmp_path / "talk.md"
    assert str(path) in conversation.execute(f"/save {path}").text
    assert path.read_text(encoding="utf-8") == conversation.markdown()
    for part in ("Be brief.", "Zürich?", "Yes – 北京.", "think"):
        assert part in conversation.markdown()
