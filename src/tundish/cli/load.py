"""`tundish load`: have a model in memory before anybody asks it something."""

from __future__ import annotations

import argparse
import asyncio
import json

import msgspec

from tundish.cli.command import EXIT_FAILED, EXIT_OK, Command
from tundish.cli.endpoint import EndpointClient, discover
from tundish.cli.model_view import size
from tundish.cli.pull_screen import StatusLine
from tundish.settings import Settings
from tundish.wire.deployments import DeploymentEntry

_LOOK_S = 0.5

_DESCRIPTION = """\
Load a model into the running endpoint and return when it can answer. What is idle makes room for it; what is pinned
does not. A model that was pulled after the endpoint started is found too.

  tundish load gpt-oss-20b                    it stays as long as its keep-alive says
  tundish load gpt-oss-20b --keep-alive 2h    two hours from its last request
  tundish load gpt-oss-20b --pin              until `tundish unload`

Exit code 1 when no endpoint is running.
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="as `tundish ps --all` or `tundish model list` name it")
    parser.add_argument(
        "--keep-alive", metavar="TIME", help="how long it stays after its last request: 90, 5m, 1h30m; -1 for ever"
    )
    parser.add_argument(
        "--pin",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="whether it stays although it is idle and others need its memory",
    )
    parser.add_argument("--json", action="store_true", help="for programs")


def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    return asyncio.run(_load(arguments, settings))


async def _load(arguments: argparse.Namespace, settings: Settings) -> int:
    async with discover(settings) as client:
        if client is None:
            print("No endpoint is running. `tundish serve` starts one.")
            return EXIT_FAILED
        model = client.model_name(arguments.model)
        await _offer(client, model)
        if arguments.pin is not None:
            await client.change("pin" if arguments.pin else "unpin", model)
        loaded = await _watched(client, model, arguments.keep_alive, silent=arguments.json)
    print(json.dumps(msgspec.to_builtins(loaded)) if arguments.json else describe(loaded))
    return EXIT_OK


async def _offer(client: EndpointClient, model: str) -> None:
    """Have the endpoint look for a model that it does not know yet."""
    known = {entry.name for entry in (await client.deployments()).deployments}
    if model not in known:
        await client.deploy(model)


async def _watched(client: EndpointClient, model: str, keep_alive: str | None, *, silent: bool) -> DeploymentEntry:
    """Load it, and say on stderr how far that is."""
    line = StatusLine()
    loading = asyncio.ensure_future(client.change("load", model, keep_alive=keep_alive))
    try:
        while not (await asyncio.wait([loading], timeout=_LOOK_S))[0]:
            for entry in (await client.deployments()).deployments:
                if entry.name == model and entry.detail and not silent:
                    line.show(f"{model}: {entry.detail}")
        return await loading
    finally:
        line.end()
        loading.cancel()


def describe(loaded: DeploymentEntry) -> str:
    """One sentence."""
    stays = ", pinned" if loaded.pinned else ""
    context = "" if loaded.context_length is None else f", context {loaded.context_length} tokens"
    return f"{loaded.name} is loaded ({size(loaded.memory_bytes)}{context}{stays})."


COMMAND = Command(
    name="load",
    summary="have a model in memory",
    description=_DESCRIPTION,
    configure=_configure,
    run=_run,
)
