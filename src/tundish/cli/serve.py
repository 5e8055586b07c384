"""`tundish serve`: run an endpoint in the foreground."""

from __future__ import annotations

import argparse
import dataclasses
import typing
from collections.abc import Mapping
from pathlib import Path

from tundish import app
from tundish.cli.command import EXIT_OK, Command
from tundish.settings import EMBEDDED_MODEL, InvalidSetting, Settings

_DESCRIPTION = f"""\
Start the endpoint and keep it running until Ctrl-C, SIGTERM or `tundish stop`. Running answers then get --drain-s
seconds to finish.

  tundish serve                                        the embedded {EMBEDDED_MODEL}
  tundish serve --model gpt-oss-20b.gguf               a GGUF of yours, named after the file
  tundish serve --model big=/models/gpt-oss-120b.gguf  under a name of your choice
  tundish serve --model {EMBEDDED_MODEL} --model a.gguf    several
"""

# A secret on the command line is a secret in the process list; folders of state are set once, in the environment.
_NO_FLAG = frozenset({"api_key", "data_dir", "models_dir", "cache_dir", "state_dir"})
_REPEATED = {"models": "model", "servers": "server", "allowed_hosts": "allow-host", "allowed_origins": "allow-origin"}


def _configure(parser: argparse.ArgumentParser) -> None:
    hints = typing.get_type_hints(Settings)
    for field in dataclasses.fields(Settings):
        if field.name in _NO_FLAG:
            continue
        flag = "--" + _REPEATED.get(field.name, field.name).replace("_", "-")
        text = str(field.metadata["description"]).replace("%", "%%")
        if hints[field.name] is bool:
            parser.add_argument(flag, dest=field.name, action=argparse.BooleanOptionalAction, default=None, help=text)
        elif field.name in _REPEATED:
            metavar = _REPEATED[field.name].rpartition("-")[2].upper()
            parser.add_argument(flag, dest=field.name, action="append", metavar=metavar, help=text)
        else:
            shown = "" if field.default is None else f" Default: {field.default}."
            kind = _flag_type(hints[field.name])
            parser.add_argument(flag, dest=field.name, type=kind, metavar=_METAVARS[kind], help=text + shown)


_METAVARS: Mapping[type, str] = {int: "N", float: "SECONDS", str: "TEXT", Path: "FILE"}


def _flag_type(hint: typing.Any) -> type[int | float | str | Path]:
    kinds = typing.get_args(hint) or (hint,)
    return next(kind for kind in (int, float, str, Path) if kind in kinds)


def _overrides(arguments: argparse.Namespace) -> Mapping[str, object]:
    given = vars(arguments)
    if any("@" in server for server in given["servers"] or ()):
        raise InvalidSetting("A key on the command line shows in the process list. Set TUNDISH_SERVERS instead.")
    names = [field.name for field in dataclasses.fields(Settings) if field.name not in _NO_FLAG]
    return {name: _value(given[name]) for name in names}


def _value(given: object) -> object:
    return tuple(typing.cast("list[str]", given)) if isinstance(given, list) else given


def _run(_: argparse.Namespace, settings: Settings) -> int:
    serve = app.run if settings.workers == 1 else app.supervise
    serve(settings)
    return EXIT_OK


COMMAND = Command(
    name="serve",
    summary="start the endpoint",
    description=_DESCRIPTION,
    configure=_configure,
    run=_run,
    overrides=_overrides,
)
