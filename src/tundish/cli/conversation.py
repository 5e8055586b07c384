"""What has been said in one `tundish chat`, and the commands that change it. No terminal in here."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path

from tundish.core.request import (
    AssistantMessage,
    DeveloperMessage,
    Message,
    ReasoningEffort,
    Request,
    UserMessage,
)

HELP = """\
/effort low|medium|high   how long the model thinks before it answers
/system TEXT              instructions for the model; without TEXT: none
/model NAME               go on with another model
/save FILE                write the conversation as Markdown
/clear                    forget what was said
/exit                     leave (so does Ctrl-D)
Ctrl-C stops the answer. A line that ends with \\ goes on in the next one.
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the user is told after a command."""

    text: str
    leave: bool = False


@dataclasses.dataclass(slots=True, kw_only=True)
class Conversation:
    """The turns so far and how the next one is asked for."""

    model: str
    effort: ReasoningEffort = ReasoningEffort.MEDIUM
    instructions: str | None = None
    turns: list[Message] = dataclasses.field(default_factory=list[Message])

    def request(self, prompt: str) -> Request:
        """The request that asks `prompt` after everything that was said."""
        instructions = (DeveloperMessage(text=self.instructions),) if self.instructions else ()
        return Request(
            model=self.model,
            messages=(*instructions, *self.turns, UserMessage(text=prompt)),
            reasoning_effort=self.effort,
        )

    def remember(self, prompt: str, answer: str, reasoning: str | None) -> None:
        """Keep a turn, also one that was cut short: the model should know what the user has read."""
        self.turns.append(UserMessage(text=prompt))
        self.turns.append(AssistantMessage(text=answer, reasoning=reasoning or None))

    def execute(self, line: str) -> Reply:
        """Carry out a line that starts with `/`."""
        name, _, argument = line[1:].strip().partition(" ")
        command = _COMMANDS.get(name)
        if command is None:
            return Reply(text=f"There is no command /{name}. /help lists them.")
        return command(self, argument.strip())

    def markdown(self) -> str:
        """The conversation as a document."""
        parts = [f"# Conversation with {self.model}"]
        if self.instructions:
            parts.append(f"## Instructions\n\n{self.instructions}")
        for turn in self.turns:
            if isinstance(turn, UserMessage):
                parts.append(f"## User\n\n{turn.text}")
            elif isinstance(turn, AssistantMessage):
                thought = f"<details><summary>Reasoning</summary>\n\n{turn.reasoning}\n\n</details>\n\n"
                parts.append(f"## Assistant\n\n{thought if turn.reasoning else ''}{turn.text}")
        return "\n\n".join(parts) + "\n"


def _effort(conversation: Conversation, argument: str) -> Reply:
    try:
        conversation.effort = ReasoningEffort(argument.lower())
    except ValueError:
        return Reply(text=f"The effort is {conversation.effort.value}. Say /effort low, medium or high.")
    return Reply(text=f"Effort: {argument.lower()}.")


def _system(conversation: Conversation, argument: str) -> Reply:
    conversation.instructions = argument or None
    return Reply(text="Instructions set." if argument else "No instructions.")


def _model(conversation: Conversation, argument: str) -> Reply:
    if not argument:
        return Reply(text=f"The model is {conversation.model}.")
    conversation.model = argument
    return Reply(text=f"Going on with {argument}.")


def _save(conversation: Conversation, argument: str) -> Reply:
    if not argument:
        return Reply(text="Say where: /save FILE.md")
    path = Path(argument).expanduser()
    try:
        path.write_text(conversation.markdown(), encoding="utf-8")
    except OSError as error:
        return Reply(text=f"Not saved: {error.strerror or error} ({path}).")
    return Reply(text=f"Saved to {path}.")


def _clear(conversation: Conversation, _: str) -> Reply:
    conversation.turns.clear()
    return Reply(text="Forgotten.")


def _exit(_: Conversation, __: str) -> Reply:
    return Reply(text="", leave=True)


def _help(_: Conversation, __: str) -> Reply:
    return Reply(text=HELP.rstrip())


_COMMANDS: dict[str, typing.Callable[[Conversation, str], Reply]] = {
    "effort": _effort,
    "system": _system,
    "model": _model,
    "save": _save,
    "clear": _clear,
    "exit": _exit,
    "quit": _exit,
    "bye": _exit,
    "help": _help,
    "?": _help,
}
