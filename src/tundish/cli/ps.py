"""`tundish ps`: which models are in memory, and for how long."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence

import msgspec

from tundish.cli.command import EXIT_FAILED, EXIT_OK, Command
from tundish.cli.endpoint import discover
from tundish.cli.model_view import size, table
from tundish.cli.pull_screen import duration
from tundish.settings import Settings
from tundish.wire.deployments import DeploymentEntry, DeploymentList

_DESCRIPTION = """\
Show the models that the running endpoint has in memory, or on the way in or out: what each takes, what it is doing, and
when it is unloaded. With --all also those that are not loaded. Exit code 1 when no endpoint is running.
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="also what is not in memory")
    parser.add_argument("--json", action="store_true", help="for programs; everything")


def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    return asyncio.run(_ps(settings, everything=arguments.all, as_json=arguments.json))


async def _ps(settings: Settings, *, everything: bool, as_json: bool) -> int:
    async with discover(settings) as client:
        told = None if client is None else await client.deployments()
    if as_json:
        print(json.dumps({"running": False} if told is None else {"running": True, **msgspec.to_builtins(told)}))
    elif told is None:
        print("No endpoint is running. `tundish serve` starts one.")
    else:
        print(describe(told, everything=everything))
    return EXIT_FAILED if told is None else EXIT_OK


def describe(told: DeploymentList, *, everything: bool) -> str:
    """The table, and what is left of the memory."""
    shown = [entry for entry in told.deployments if everything or entry.state != "unloaded"]
    held, budget = size(told.memory_held_bytes), size(told.memory_budget_bytes)
    memory = f"Memory: {held} taken of the {budget} that models may use here."
    if not shown:
        offered = len(told.deployments)
        return f"No model is in memory; {offered} can be loaded (`tundish ps --all` lists them).\n{memory}"
    return f"{table(_rows(shown))}\n\n{memory}"


def _rows(entries: Sequence[DeploymentEntry]) -> Sequence[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("MODEL", "STATE", "MEMORY", "CONTEXT", "RUNNING", "WAITING", "UNLOADED IN", "RESTARTS", "DETAIL")
    ]
    for entry in entries:
        context = "" if entry.context_length is None else str(entry.context_length)
        counts = [str(count) if count else "" for count in (entry.running, entry.waiting)]
        restarts = str(entry.restarts) if entry.restarts else ""
        rows.append(
            (entry.name, entry.state, size(entry.memory_bytes), context, *counts, _stays(entry), restarts, entry.detail)
        )
    return rows


def _stays(entry: DeploymentEntry) -> str:
    if entry.state != "ready":
        return ""
    if entry.pinned:
        return "never: pinned"
    if entry.keep_alive_s is None:
        return "never"
    if entry.expires_in_s is not None:
        return duration(entry.expires_in_s)
    return f"{duration(entry.keep_alive_s)} after its last request"


COMMAND = Command(
    name="ps",
    summary="which models are in memory, and for how long",
    description=_DESCRIPTION,
    configure=_configure,
    run=_run,
)
