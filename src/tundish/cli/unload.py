"""`tundish unload`: take a model out of memory."""

from __future__ import annotations

import argparse
import asyncio
import json

import msgspec

from tundish.cli.command import EXIT_FAILED, EXIT_OK, Command
from tundish.cli.endpoint import discover
from tundish.settings import Settings

_DESCRIPTION = """\
Take models out of the running endpoint's memory, pinned ones too, and return when they are gone. What they are
answering is finished first; --force ends it. A load in progress is given up. The next request loads a model again.
Exit code 1 when no endpoint is running.
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", nargs="+", metavar="MODEL", help="as `tundish ps` names it")
    parser.add_argument("--force", action="store_true", help="do not wait for running answers")
    parser.add_argument("--json", action="store_true", help="for programs")


def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    return asyncio.run(_unload(arguments, settings))


async def _unload(arguments: argparse.Namespace, settings: Settings) -> int:
    async with discover(settings) as client:
        if client is None:
            print("No endpoint is running.")
            return EXIT_FAILED
        for model in arguments.models:
            entry = await client.change("unload", client.model_name(model), force=arguments.force)
            print(json.dumps(msgspec.to_builtins(entry)) if arguments.json else f"{entry.name} is unloaded.")
    return EXIT_OK


COMMAND = Command(
    name="unload",
    summary="take a model out of memory",
    description=_DESCRIPTION,
    configure=_configure,
    run=_run,
)
