"""`tundish stop`: end the running endpoint."""

from __future__ import annotations

import argparse
import asyncio

from tundish.cli.command import EXIT_FAILED, EXIT_OK, Command
from tundish.cli.endpoint import discover
from tundish.settings import Settings

_DESCRIPTION = """\
Ask the running endpoint to stop and wait until it has. New requests are refused at once; running answers get the
endpoint's drain time to finish, then they are told why they end. Exit code 1 when none is running.
"""


def _configure(_: argparse.ArgumentParser) -> None:
    """No arguments."""


def _run(_: argparse.Namespace, settings: Settings) -> int:
    return asyncio.run(_stop(settings))


async def _stop(settings: Settings) -> int:
    async with discover(settings) as client:
        if client is None:
            print("No endpoint is running.")
            return EXIT_FAILED
        await client.stop()
        print(f"Stopped {client.url}.")
        return EXIT_OK


COMMAND = Command(
    name="stop",
    summary="let running answers finish, then end the endpoint",
    description=_DESCRIPTION,
    configure=_configure,
    run=_run,
)
