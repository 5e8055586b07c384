"""`tundish status`: what runs, where, and how busy it is."""

from __future__ import annotations

import argparse
import asyncio
import json

from tundish.cli.command import EXIT_FAILED, EXIT_OK, Command
from tundish.cli.endpoint import EndpointStatus, discover
from tundish.settings import Settings

_DESCRIPTION = """\
Show the running endpoint: its address, where its key is kept, and each model with its slots and queue.
Exit code 1 when none is running.
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    return asyncio.run(_status(settings, as_json=arguments.json))


async def _status(settings: Settings, *, as_json: bool) -> int:
    async with discover(settings) as client:
        status = None if client is None else await client.status()
    if as_json:
        print(json.dumps({"running": False} if status is None else {"running": True, **status.as_json()}))
    elif status is None:
        print("No endpoint is running. `tundish serve` starts one.")
    else:
        print(_describe(status))
    return EXIT_FAILED if status is None else EXIT_OK


def _describe(status: EndpointStatus) -> str:
    record = status.record
    lines = [f"Tundish {status.told.version} at {record.url}/v1 (process {record.pid})"]
    if not record.key_required:
        lines.append("Key: none needed")
    else:
        lines.append(f"Key: {record.key_file or 'the one in TUNDISH_API_KEY of the endpoint'}")
    for model in status.told.models:
        lines.append(
            f"{model.name}: {model.health}, {model.slots_busy} of {model.slots} slots busy, {model.queued} waiting, "
            f"context {model.context_length or 'not known yet'}, {model.restarts} restarts"
            + (f" – {model.detail}" if model.detail else "")
        )
    return "\n".join(lines)


COMMAND = Command(
    name="status",
    summary="what runs, where, and how busy it is",
    description=_DESCRIPTION,
    configure=_configure,
    run=_run,
)
