"""`tundish doctor`: what this machine has, what fits, what is wrong, and what to do about it."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import platform
from collections.abc import Sequence

from tundish import __version__
from tundish.cli.command import EXIT_FAILED, EXIT_OK, Command
from tundish.cli.doctor import installation, machine, models, neighbours
from tundish.cli.doctor.finding import Finding, Level
from tundish.engines import hardware
from tundish.settings import Settings

_DESCRIPTION = """\
Look at this machine and this installation: memory, processor, GPUs and whether the installed llama.cpp uses them,
folders and disk space, the packaged files, the key, the port, models and whether each fits, and other model servers
that answer on their usual ports here. Nothing is changed, nothing is fetched, nothing but this machine is contacted.

Each finding is ok, a warning or a problem, with what to do about it. Exit code 1 when there is a problem.
"""
_MARKS = {Level.OK: "ok", Level.WARNING: "warning", Level.PROBLEM: "PROBLEM"}


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    findings = asyncio.run(examine(settings))
    print(as_json(findings) if arguments.json else as_text(findings))
    return EXIT_FAILED if any(finding.level is Level.PROBLEM for finding in findings) else EXIT_OK


async def examine(settings: Settings) -> Sequence[Finding]:
    """Everything that can be found."""
    found, build = await asyncio.to_thread(hardware.survey)
    of_models = await asyncio.to_thread(lambda: list(models.examine(settings, found)))
    return [
        *machine.examine(found, build),
        *installation.packaged_files(),
        *installation.folders(settings),
        installation.key(settings),
        await installation.port(settings),
        installation.network(settings),
        *of_models,
        *await neighbours.examine(own_port=settings.port),
    ]


def as_json(findings: Sequence[Finding]) -> str:
    """The report for programs."""
    shown = [{**dataclasses.asdict(finding), "level": finding.level.value} for finding in findings]
    document = {
        "version": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "problems": _count(findings, Level.PROBLEM),
        "warnings": _count(findings, Level.WARNING),
        "findings": shown,
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def as_text(findings: Sequence[Finding]) -> str:
    """The report for people."""
    lines = [f"Tundish {__version__}, Python {platform.python_version()}, {platform.platform()}", ""]
    marks = max(len(mark) for mark in _MARKS.values())
    topics = max(len(finding.topic) for finding in findings)
    for finding in findings:
        lines.append(f"{_MARKS[finding.level]:<{marks}}  {finding.topic:<{topics}}  {finding.text}")
        if finding.advice:
            lines.append(f"{'':<{marks + topics + 4}}→ {finding.advice}")
    problems, warnings = _count(findings, Level.PROBLEM), _count(findings, Level.WARNING)
    return "\n".join([*lines, "", f"{_number(problems, 'problem')}, {_number(warnings, 'warning')}.".capitalize()])


def _count(findings: Sequence[Finding], level: Level) -> int:
    return sum(finding.level is level for finding in findings)


def _number(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"


COMMAND = Command(
    name="doctor",
    summary="what this machine can run, what is wrong, and what to do about it",
    description=_DESCRIPTION,
    configure=_configure,
    run=_run,
)
