"""`tundish chat`: a conversation in the terminal."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import types
from collections.abc import Awaitable, Callable
from typing import Self

from prompt_toolkit import PromptSession
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from tundish.cli.answer import Answer, Screen
from tundish.cli.command import EXIT_OK, Command
from tundish.cli.conversation import Conversation
from tundish.cli.endpoint import EndpointClient, connect
from tundish.core.errors import TundishError
from tundish.core.request import ReasoningEffort
from tundish.settings import Settings

ReadLine = Callable[[str], Awaitable[str]]
"""Asks for a line with a prompt; raises EOFError at the end and KeyboardInterrupt on Ctrl-C."""

_DESCRIPTION = """\
Talk to a model: answers stream, reasoning is dimmed, Ctrl-C stops the answer and not the program, the arrow keys bring
back what was typed before. /help lists the commands. Uses the running endpoint, or starts one for the conversation.
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="?", metavar="MODEL", help="which model; without it: the first one served")
    parser.add_argument("--effort", choices=[effort.value for effort in ReasoningEffort], default="medium")
    parser.add_argument("--system", metavar="TEXT", help="instructions for the model")
    parser.add_argument("--hide-reasoning", action="store_true", help="show answers only")


def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    return asyncio.run(_chat(arguments, settings))


async def _chat(arguments: argparse.Namespace, settings: Settings) -> int:
    async with connect(settings, model=arguments.model) as client:
        conversation = Conversation(
            model=arguments.model or await client.first_model(),
            effort=ReasoningEffort(arguments.effort),
            instructions=arguments.system,
        )
        screen = Screen(sys.stdout, show_reasoning=not arguments.hide_reasoning, styled=sys.stdout.isatty())
        screen.note(f"{conversation.model} at {client.url} – /help for help, Ctrl-D to leave")
        await converse(client, conversation, screen, _line_reader(settings))
    return EXIT_OK


async def converse(client: EndpointClient, conversation: Conversation, screen: Screen, read_line: ReadLine) -> None:
    """Ask and answer until the user leaves. An error ends the answer, never the conversation."""
    with _Interrupts() as interrupts:
        await _converse(client, conversation, screen, read_line, interrupts)


async def _converse(
    client: EndpointClient, conversation: Conversation, screen: Screen, read_line: ReadLine, interrupts: _Interrupts
) -> None:
    while True:
        try:
            line = await _read_prompt(read_line)
        except EOFError:
            return
        except KeyboardInterrupt:
            screen.note("Ctrl-D or /exit leaves.")
            continue
        if not line.strip():
            continue
        if line.startswith("/"):
            reply = conversation.execute(line)
            screen.note(reply.text)
            if reply.leave:
                return
            continue
        await _answer(client, conversation, screen, line, interrupts)


async def _answer(
    client: EndpointClient, conversation: Conversation, screen: Screen, prompt: str, interrupts: _Interrupts
) -> None:
    answer = Answer(screen)
    task = asyncio.ensure_future(answer.show(client.generate(conversation.request(prompt))))
    interrupts.cancels = task
    try:
        await task
    except asyncio.CancelledError:
        screen.end()
        screen.note("stopped")
    except TundishError as error:
        screen.end()
        screen.note(str(error))
    finally:
        interrupts.cancels = None
    if answer.text or answer.reasoning:
        conversation.remember(prompt, answer.text, answer.reasoning)


class _Interrupts:
    """While active, Ctrl-C cancels the answer that is being shown, if there is one, and never ends the program."""

    def __init__(self) -> None:
        self.cancels: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _interrupt(self, _: int, __: types.FrameType | None) -> None:
        self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self.cancels is not None:
            self.cancels.cancel()


async def _read_prompt(read_line: ReadLine) -> str:
    line = await read_line("> ")
    while line.endswith("\\"):
        line = line[:-1] + "\n" + await read_line("… ")
    return line


def _line_reader(settings: Settings) -> ReadLine:
    if not sys.stdin.isatty():
        return _read_piped_line
    session: PromptSession[str] = PromptSession(history=_history(settings))
    # The terminal gives it Ctrl-C as a key; the signal stays ours, before the prompt, during it and after it.
    return lambda prompt: session.prompt_async(prompt, handle_sigint=False)


async def _read_piped_line(_: str) -> str:
    line = await asyncio.to_thread(sys.stdin.readline)
    if not line:
        raise EOFError
    return line.rstrip("\r\n")


def _history(settings: Settings) -> History:
    try:
        settings.history_file.parent.mkdir(parents=True, exist_ok=True)
        with settings.history_file.open("a", encoding="utf-8"):
            pass
    except OSError:
        return InMemoryHistory()  # a read-only home is no reason not to talk
    return FileHistory(str(settings.history_file))


COMMAND = Command(
    name="chat",
    summary="talk to a model",
    description=_DESCRIPTION,
    configure=_configure,
    run=_run,
)
