"""`tundish deployment|route|place`: what a site has, from its file and added at run time."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tomllib
import typing
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec

from tundish.api.site import SiteObjects
from tundish.app.site_objects import ConfiguredObjects
from tundish.cli.command import EXIT_OK, Command
from tundish.cli.endpoint import discover
from tundish.cli.model_view import table
from tundish.config import toml_text
from tundish.core.errors import InvalidRequest
from tundish.core.json_value import JsonObject, JsonValue
from tundish.settings import Settings
from tundish.store.database import Database
from tundish.store.site_objects import SiteObjectStore
from tundish.wire.site_objects import SiteObject

_EXAMPLES = {
    "deployment": "backend=azure model=gpt-4.1 base_url=https://acme.openai.azure.com sku=GlobalStandard "
    "auth.api_key.env=AZURE_KEY",
    "route": 'mode=cost deployments=\'["laptop", "cloud"]\'',
    "place": "reach=site owner=acme geography=DE",
}

_DESCRIPTION = """\
List, show, add and remove a site's {kind}s. What is added here is kept beside the configuration file, checked together
with it, and in force at once when an endpoint runs. What the file has is changed in the file.

  tundish {kind} list
  tundish {kind} add NAME {example}
  tundish {kind} add NAME [KEY=VALUE …] --from FILE.toml   keys as below [{kind}s.NAME]; - is stdin
  tundish {kind} remove NAME

A VALUE is TOML (5, true, ["a", "b"]), else a text. Secrets are given as references: auth.api_key.env=VARIABLE.
"""


def command(kind: str) -> Command:
    """The command for one kind: `deployment`, `route` or `place`."""

    def configure(parser: argparse.ArgumentParser) -> None:
        _configure(parser, kind)

    def run(arguments: argparse.Namespace, settings: Settings) -> int:
        return asyncio.run(_run(arguments, settings, f"{kind}s"))

    return Command(
        name=kind,
        summary=f"list, show, add and remove {kind}s",
        description=_DESCRIPTION.format(kind=kind, example=_EXAMPLES[kind]),
        configure=configure,
        run=run,
    )


COMMANDS = tuple(command(kind) for kind in _EXAMPLES)


def _configure(parser: argparse.ArgumentParser, kind: str) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    listing = actions.add_parser("list", help=f"all {kind}s, and where each is from")
    show = actions.add_parser("show", help="one of them")
    add = actions.add_parser("add", help="add one")
    remove = actions.add_parser("remove", help="remove one that was added")
    for action in (show, add, remove):
        action.add_argument("name", metavar="NAME")
    add.add_argument("fields", nargs="*", metavar="KEY=VALUE", help="as in the configuration file; a.b=VALUE nests")
    add.add_argument("--from", dest="source", metavar="FILE", help="read the keys from a TOML file; - is stdin")
    for action in (listing, show, add, remove):
        action.add_argument("--json", action="store_true", help="for programs")


async def _run(arguments: argparse.Namespace, settings: Settings, kind: str) -> int:
    async with _objects(settings) as objects:
        if arguments.action == "list":
            found = await objects.list(kind)
            print(json.dumps(msgspec.to_builtins(found)) if arguments.json else _listed(found, kind))
        elif arguments.action == "show":
            _print(await objects.show(kind, arguments.name), as_json=arguments.json)
        elif arguments.action == "add":
            fields = _fields(arguments.fields, _read(arguments.source))
            _print(await objects.add(kind, arguments.name, fields), as_json=arguments.json)
        else:
            await objects.remove(kind, arguments.name)
            print("{}" if arguments.json else f"{arguments.name} is removed.")
    return EXIT_OK


@asynccontextmanager
async def _objects(settings: Settings) -> AsyncGenerator[SiteObjects, None]:
    """Those of the running endpoint, else of the site that the next one will serve."""
    async with discover(settings) as client:
        if client is not None:
            yield client.site_objects
            return
    yield ConfiguredObjects(settings.config, SiteObjectStore(Database(settings.store_file)))


def _read(source: str | None) -> Mapping[str, object]:
    if source is None:
        return {}
    try:
        if source == "-":
            return tomllib.loads(sys.stdin.read())
        with open(source, "rb") as file:  # noqa: PTH123 - `source` is what a person typed
            return tomllib.load(file)
    except OSError as error:
        raise InvalidRequest(f"{source} cannot be read: {error.strerror or error}.") from None
    except ValueError as error:
        raise InvalidRequest(f"{source} is not TOML: {error}.") from None


def _fields(given: Sequence[str], base: Mapping[str, object]) -> JsonObject:
    """`KEY=VALUE` arguments over what a file has.

    Raises:
        InvalidRequest: an argument without `=`, or one key twice.
    """
    fields = typing.cast("dict[str, JsonValue]", msgspec.to_builtins(base))
    for argument in given:
        path, separator, text = argument.partition("=")
        if not separator or not all(path.split(".")):
            raise InvalidRequest(f"'{argument}' must be KEY=VALUE.")
        *above, last = path.split(".")
        table = fields
        for name in above:
            below = table.setdefault(name, {})
            if not isinstance(below, dict):
                raise InvalidRequest(f"'{name}' in '{argument}' has a value already.")
            table = below
        if last in table:
            raise InvalidRequest(f"'{path}' is given twice.")
        table[last] = _value(text)
    return fields


def _value(text: str) -> JsonValue:
    try:
        return typing.cast(JsonValue, msgspec.to_builtins(tomllib.loads(f"value = {text}")["value"]))
    except (ValueError, KeyError, RecursionError):
        return text


def _print(item: SiteObject, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(msgspec.to_builtins(item)))
    else:
        print(f"# {item.origin}\n{toml_text.write({item.kind: {item.name: item.fields}})}", end="")


def _listed(found: Sequence[SiteObject], kind: str) -> str:
    if not found:
        return f"There are no {kind}. `tundish {kind[:-1]} add --help` shows how to add one."
    rows: list[tuple[str, ...]] = [("NAME", "FROM", "WHAT")]
    rows += [(item.name, item.origin, _brief(item.fields)) for item in found]
    return table(rows)


def _brief(fields: Mapping[str, object]) -> str:
    """Its keys in a line, the nested ones left out."""
    told: list[str] = []
    for key, value in fields.items():
        if isinstance(value, list):
            names = [_member_name(part) for part in typing.cast("list[object]", value)]
            told.append(f"{key}={','.join(names)}")
        elif not isinstance(value, Mapping):
            told.append(f"{key}={str(value).lower() if isinstance(value, bool) else value}")
    return " ".join(told)


def _member_name(part: object) -> str:
    return str(typing.cast("Mapping[str, object]", part).get("name", "")) if isinstance(part, Mapping) else str(part)
