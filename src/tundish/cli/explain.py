"""`tundish explain REQUEST_ID`: why a request was answered where it was."""

from __future__ import annotations

import argparse

from tundish.cli import receipts
from tundish.cli.command import Command
from tundish.settings import Settings

_DESCRIPTION = """\
Tell the decision for one request: its data class and where that came from, each candidate with its score or with why it
was refused, each attempt, who answered in which place, the tokens, what it cost, and whether its receipt is proven.
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("request_id", metavar="REQUEST_ID", help="as in the answer's x-request-id header")
    parser.add_argument("--json", action="store_true", help="for programs")


def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    return receipts.show(arguments, settings)


COMMAND = Command(
    name="explain",
    summary="why a request was answered where it was",
    description=_DESCRIPTION,
    configure=_configure,
    run=_run,
)
