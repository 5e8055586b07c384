"""Entry point: reads the command line, runs one command, turns errors into one sentence and an exit code."""

from __future__ import annotations

import argparse
import sys
import typing
from collections.abc import Sequence

from tundish import __version__, settings
from tundish.cli import (
    chat,
    config,
    demo,
    doctor,
    explain,
    load,
    model,
    ps,
    receipts,
    run,
    serve,
    site_objects,
    status,
    stop,
    unload,
    usage,
)
from tundish.cli.command import EXIT_FAILED, EXIT_INTERRUPTED, Command
from tundish.cli.machine import this_machine
from tundish.core.errors import TundishError

COMMANDS: tuple[Command, ...] = (
    serve.COMMAND,
    chat.COMMAND,
    run.COMMAND,
    status.COMMAND,
    stop.COMMAND,
    model.command(this_machine),
    ps.COMMAND,
    load.COMMAND,
    unload.COMMAND,
    doctor.COMMAND,
    config.COMMAND,
    *site_objects.COMMANDS,
    receipts.COMMAND,
    explain.COMMAND,
    usage.COMMAND,
    demo.COMMAND,
)

_DESCRIPTION = """\
One OpenAI-compatible endpoint in front of every place where a team's models run.

  tundish demo                            a site, a cloud and a handful of requests, shown in a minute
  tundish serve                           start the endpoint with the embedded gpt-oss-nano
  tundish serve --model gpt-oss-20b.gguf  start it with a model of yours
  tundish chat                            talk to it
  tundish run gpt-oss-nano "2+2?"         ask once; the answer alone goes to stdout
  tundish status                          what runs, where, and how busy it is
  tundish stop                            let running answers finish, then end it
  tundish model pull gpt-oss-20b          fetch a model; `tundish model search` lists what there is
  tundish doctor                          what this machine has, what fits, what is wrong
"""

_EPILOG = """\
exit codes: 0 done, 1 failed (stderr says why), 2 the command line was wrong, 130 interrupted
settings:   each flag of `serve` can also be set as TUNDISH_<FLAG>; `tundish serve --help` lists them
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` (default: the process's own) and return the exit code."""
    parsed = _parser().parse_args(arguments)
    command = typing.cast(Command, parsed.command)
    try:
        return command.run(parsed, settings.from_environment(command.overrides(parsed)))
    except TundishError as error:
        print(f"tundish: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output (`| head`) has seen enough; without this, Python complains again when it flushes.
        sys.stdout = sys.stderr
        return EXIT_FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tundish",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tundish {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        subparser = subparsers.add_parser(
            command.name,
            help=command.summary,
            description=command.description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.configure(subparser)
        subparser.set_defaults(command=command)
    return parser
