"""`tundish config`: check and show what a site is configured to be."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tundish.cli.command import EXIT_FAILED, EXIT_OK, Command
from tundish.config import toml_text
from tundish.config.document import AddedObject
from tundish.config.errors import ConfigInvalid, SecretUnavailable
from tundish.config.loader import load
from tundish.config.references import references
from tundish.config.secrets import resolve
from tundish.config.site import SiteConfig
from tundish.settings import Settings
from tundish.store.database import Database
from tundish.store.site_objects import SiteObjectStore

_DESCRIPTION = """\
Check a site's configuration, or show what it comes to together with what was added at run time.

  tundish config check               the file that TUNDISH_CONFIG names: what `tundish serve` serves without --config
  tundish config check FILE          another one, by itself
  tundish config check --secrets     also fetch each secret, and say which cannot be had
  tundish config show                as TOML, with what was added; references instead of secrets

Exit code 1 when something is wrong: every error is named with its file and line.
"""
_LIKELY_FILE = Path("tundish.toml")


def _configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    check = actions.add_parser("check", help="say everything that is wrong")
    check.add_argument("file", nargs="?", type=Path, metavar="FILE", help="default: TUNDISH_CONFIG")
    check.add_argument("--secrets", action="store_true", help="also fetch each secret")
    check.add_argument("--json", action="store_true", help="for programs")
    show = actions.add_parser("show", help="what it comes to")
    show.add_argument("file", nargs="?", type=Path, metavar="FILE", help="default: TUNDISH_CONFIG")
    show.add_argument("--json", action="store_true", help="for programs")


def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    path, added = _sources(arguments.file, settings)
    try:
        site = load(path, added)
    except ConfigInvalid as error:
        return _report(error, as_json=arguments.json)
    if arguments.action == "show":
        print(_shown(site, as_json=arguments.json), end="")
        return EXIT_OK
    missing = _missing_secrets(site) if arguments.secrets else []
    if arguments.json:
        warnings = [str(warning) for warning in site.warnings]
        told = {"valid": not missing, "version": site.version, "warnings": warnings, "missing_secrets": missing}
        print(json.dumps(told))
    else:
        for warning in site.warnings:
            print(f"warning: {warning}")
        for line in missing:
            print(f"error: {line}", file=sys.stderr)
        if not missing:
            print(_summary(site))
    return EXIT_FAILED if missing else EXIT_OK


def _sources(given: Path | None, settings: Settings) -> tuple[Path | None, Sequence[AddedObject]]:
    """The file to read, and what belongs to it; a file named on the command line is looked at by itself."""
    if given is not None:
        return given, ()
    path = settings.config
    if path is None and _LIKELY_FILE.is_file():
        print(f"note: ./{_LIKELY_FILE} is not read: name it here, or set TUNDISH_CONFIG.", file=sys.stderr)
    if not settings.store_file.exists():
        return path, ()
    stored = SiteObjectStore(Database(settings.store_file)).all()
    return path, [AddedObject(kind=item.kind, name=item.name, fields=item.fields) for item in stored]


def _report(error: ConfigInvalid, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"valid": False, "errors": [msgspec.to_builtins(problem) for problem in error.errors]}))
    else:
        for problem in error.errors:
            print(f"error: {problem}", file=sys.stderr)
        count = len(error.errors)
        print(f"{count} error{'s' if count > 1 else ''}.", file=sys.stderr)
    return EXIT_FAILED


def _missing_secrets(site: SiteConfig) -> list[str]:
    missing: list[str] = []
    for reference in references(site):
        try:
            resolve(reference, os.environ)
        except SecretUnavailable as error:
            missing.append(str(error))
    return missing


def _shown(site: SiteConfig, *, as_json: bool) -> str:
    if as_json:
        return msgspec.json.encode({"version": site.version, "content": site.content}).decode() + "\n"
    origin = "no file" if site.path is None else str(site.path)
    return f"# {origin}, version {site.version[:12]}\n{toml_text.write(site.content)}"


def _summary(site: SiteConfig) -> str:
    table = site.table
    counts = (
        f"{len(site.places)} places, {len(table.deployments)} deployments, {len(table.routes)} routes, "
        f"{len(site.policy.rules)} rules, {len(site.keys)} keys"
    )
    return f"{site.path or 'No file'}: valid. {counts}. Version {site.version[:12]}."


COMMAND = Command(
    name="config",
    summary="check and show the site's configuration",
    description=_DESCRIPTION,
    configure=_configure,
    run=_run,
)
