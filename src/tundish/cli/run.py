"""`tundish run`: one question, one answer, good in a pipe."""

from __future__ import annotations

import argparse
import asyncio
import sys

from tundish.cli.answer import Answer, Screen
from tundish.cli.command import EXIT_OK, Command
from tundish.cli.endpoint import connect
from tundish.cli.fetch import fetch_if_missing
from tundish.core.errors import InvalidRequest
from tundish.core.request import DeveloperMessage, ReasoningEffort, Request, Sampling, UserMessage
from tundish.settings import Settings

_DESCRIPTION = """\
Ask once. The answer goes to stdout and everything else to stderr, so that it works in a pipe:

  tundish run gpt-oss-nano "What is 2+2?"
  git diff | tundish run gpt-oss-20b "Write a commit message for this diff" > message

Text on stdin is put after the prompt; with "-" as prompt it is the prompt. A model that the catalog knows and this
machine does not have is fetched first. Uses the running endpoint, or starts one for this answer. MODEL may be a GGUF
file.
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a served model's name, or a GGUF file")
    parser.add_argument("prompt", metavar="PROMPT", help='the question; "-" reads it from stdin')
    parser.add_argument("--effort", choices=[effort.value for effort in ReasoningEffort], default="medium")
    parser.add_argument("--system", metavar="TEXT", help="instructions for the model")
    parser.add_argument("--temperature", type=float, metavar="T", help="0 is greedy; without it: the model's default")
    parser.add_argument("--max-tokens", type=int, metavar="N", help="tokens that may be generated, reasoning included")
    parser.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same answer")
    parser.add_argument("--show-reasoning", action="store_true", help="show the chain of thought on stderr")


def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    prompt = _prompt(arguments.prompt)
    return asyncio.run(_ask(arguments, settings, prompt))


def _prompt(argument: str) -> str:
    piped = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read()
    prompt = piped if argument == "-" else f"{argument}\n\n{piped}" if piped.strip() else argument
    if not prompt.strip():
        raise InvalidRequest("The prompt is empty. Say something, or pipe it in.")
    return prompt


async def _ask(arguments: argparse.Namespace, settings: Settings, prompt: str) -> int:
    instructions = (DeveloperMessage(text=arguments.system),) if arguments.system else ()
    await fetch_if_missing(settings, arguments.model)
    async with connect(settings, model=arguments.model) as client:
        request = Request(
            model=client.model_name(arguments.model),
            messages=(*instructions, UserMessage(text=prompt)),
            reasoning_effort=ReasoningEffort(arguments.effort),
            sampling=Sampling(temperature=arguments.temperature, max_tokens=arguments.max_tokens, seed=arguments.seed),
        )
        answer = Answer(_PipedScreen(show_reasoning=arguments.show_reasoning))
        await answer.show(client.generate(request))
    return EXIT_OK


class _PipedScreen(Screen):
    """The answer on stdout, the rest on stderr."""

    def __init__(self, *, show_reasoning: bool) -> None:
        super().__init__(sys.stdout)
        self._aside = Screen(sys.stderr, show_reasoning=show_reasoning, styled=sys.stderr.isatty())

    def reasoning(self, text: str) -> None:
        self._aside.reasoning(text)

    def note(self, text: str) -> None:
        self._aside.note(text)

    def end(self) -> None:
        self._aside.end()
        super().end()


COMMAND = Command(
    name="run",
    summary="ask once",
    description=_DESCRIPTION,
    configure=_configure,
    run=_run,
)
