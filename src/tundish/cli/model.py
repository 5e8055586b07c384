"""`tundish model`: the models that are known, those that are here, and how they come and go."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

from tundish.app.library import open_library
from tundish.catalog import bundle
from tundish.catalog.card import EmbeddedSource
from tundish.cli import model_view as view
from tundish.cli.command import EXIT_FAILED, EXIT_OK, Command
from tundish.cli.model_view import Machine
from tundish.cli.pull_screen import ByteCounter, PullScreen
from tundish.core.errors import TundishError
from tundish.core.json_value import JsonValue
from tundish.settings import Settings
from tundish.sources.library import Library

_DESCRIPTION = """\
Find, fetch, check, carry and remove models. A model is named [PUBLISHER/]NAME[:VARIANT]; without VARIANT, the one that
its card prefers is meant.

  tundish model search embeddings               what there is
  tundish model info gpt-oss-20b                one of them, with its variants and licence
  tundish model pull gpt-oss-20b                fetch it; the same command goes on where an earlier one stopped
  tundish model add ./mine.gguf                 make files of yours known; they stay where they are
  tundish model add bartowski/phi-4-GGUF        make a Hugging Face repository known; `pull` fetches it
  tundish model list                            what is on this machine
  tundish model verify                          read every file again and compare hashes
  tundish model export gpt-oss-20b              one signed file, for a machine without a network
  tundish model import gpt-oss-20b.tundish      there: check everything, then place it
  tundish model remove gpt-oss-20b              delete its files
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Action:
    """One of the subcommands of `tundish model`."""

    name: str
    summary: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, _Scene], int]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """What an action works on."""

    library: Library
    machine: Callable[[], Machine]
    """Asked for where it is shown: it takes a look at the hardware and the running endpoint."""


def _show(arguments: argparse.Namespace, document: JsonValue, text: str) -> None:
    print(json.dumps(document) if arguments.json else text)


def _list(arguments: argparse.Namespace, scene: _Scene) -> int:
    library, machine = scene.library, scene.machine()
    contents, cards = library.cache.contents(), library.catalog.cards
    text = view.contents_text(contents, cards, library.folders.models, machine)
    _show(arguments, view.contents_json(contents, cards, machine), text)
    return EXIT_FAILED if contents.unreadable else EXIT_OK


def _search_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="*", metavar="WORD", help="all must occur; without any: everything")


def _search(arguments: argparse.Namespace, scene: _Scene) -> int:
    cards = scene.library.catalog.search(" ".join(arguments.words))
    here, machine = scene.library.cache.contents(), scene.machine()
    _show(arguments, [view.card_json(card, here, machine) for card in cards], view.cards_text(cards, here, machine))
    return EXIT_OK if cards else EXIT_FAILED


def _one_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="[PUBLISHER/]NAME[:VARIANT]")


def _info(arguments: argparse.Namespace, scene: _Scene) -> int:
    card = scene.library.catalog.find(arguments.name).card
    here, machine = scene.library.cache.contents(), scene.machine()
    _show(arguments, view.card_json(card, here, machine), view.card_text(card, here, machine))
    return EXIT_OK


def _pull_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", metavar="NAME", help="[PUBLISHER/]NAME[:VARIANT]")
    parser.add_argument(
        "--update",
        action="store_true",
        help="take what the source has now, even if it is not what was pinned here",
    )


def _pull(arguments: argparse.Namespace, scene: _Scene) -> int:
    library = scene.library
    for name in arguments.names:
        card, variant = library.preferred(name)
        if variant.source == EmbeddedSource():
            _show(arguments, {"event": "embedded", "model": card.name}, f"{card.name} is part of Tundish.")
            continue
        screen = PullScreen(as_json=arguments.json)
        try:
            asyncio.run(library.pull(name, screen.show, update=arguments.update))
        finally:
            screen.end()
    return EXIT_OK


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", metavar="WHAT", help="a file, a folder, OWNER/REPO[:QUANTISATION], or a URL")
    parser.add_argument("--name", help="what to call it; without it: after the file or the repository")
    parser.add_argument("--copy", action="store_true", help="copy local files into the models folder")
    parser.add_argument("--revision", default="main", help="of the repository: a branch, tag or commit")
    parser.add_argument("--sha256", metavar="HASH", help="what the file at the URL must be")


def _add(arguments: argparse.Namespace, scene: _Scene) -> int:
    with ByteCounter("Reading", silent=arguments.json) as counter:
        added = asyncio.run(
            scene.library.add(
                arguments.what,
                name=arguments.name,
                copy=arguments.copy,
                revision=arguments.revision,
                sha256=arguments.sha256,
                on_bytes=counter.add,
            )
        )
    here = scene.library.cache.contents()
    then = "It is ready." if added.model else f"Fetch it with: tundish model pull {added.card.name}"
    _show(arguments, view.card_json(added.card, here, Machine()), f"Added {added.card.full_name}. {then}")
    return EXIT_OK


def _verify_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="without any: everything that is here")


def _verify(arguments: argparse.Namespace, scene: _Scene) -> int:
    library = scene.library
    if arguments.names:
        models = [model for name in arguments.names for model in library.cached(name) or [library.find(name)]]
    else:
        models = list(library.cache.contents().models)
    results: list[JsonValue] = []
    lines: list[str] = []
    failed = False
    for model in models:
        with ByteCounter(f"Reading {model.key}", silent=arguments.json) as counter:
            problems = library.cache.verify(model, counter.add)
        failed = failed or bool(problems)
        results.append({"model": str(model.key), "ok": not problems, "problems": list(problems)})
        lines += [f"{model.key}: {'damaged' if problems else 'ok'}", *(f"  {problem}" for problem in problems)]
        if problems:
            lines.append(f"  To mend it: tundish model remove {model.key}, then tundish model pull {model.key}")
    _show(arguments, results, "\n".join(lines) or "There is nothing to verify.")
    return EXIT_FAILED if failed else EXIT_OK


def _remove_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", metavar="NAME", help="without :VARIANT: all variants")
    parser.add_argument("--forget", action="store_true", help="forget the card too, if `add` made it")


def _remove(arguments: argparse.Namespace, scene: _Scene) -> int:
    removed = [str(key) for name in arguments.names for key in scene.library.remove(name, forget=arguments.forget)]
    _show(arguments, {"removed": removed}, "\n".join(f"Removed {name}." for name in removed) or "Forgotten.")
    return EXIT_OK


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    _one_name(parser)
    parser.add_argument("--output", type=Path, metavar="FILE", help="without it: NAME-VARIANT.tundish, here")


def _export(arguments: argparse.Namespace, scene: _Scene) -> int:
    library = scene.library
    key = library.find(arguments.name).key
    target = arguments.output or Path(f"{key.name}-{key.variant}.tundish")
    with ByteCounter(f"Writing {target}", silent=arguments.json) as counter:
        model, public_key = library.export(arguments.name, target, counter.add)
    size_bytes = target.stat().st_size
    document = {
        "model": str(model.key),
        "file": str(target),
        "size_bytes": size_bytes,
        "public_key": public_key,
    }
    text = (
        f"Wrote {target} ({view.size(size_bytes)}), signed with this machine's key:\n  {public_key}\n"
        f"There: tundish model import {target.name} --trust {public_key}"
    )
    _show(arguments, document, text)
    return EXIT_OK


def _import_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="a bundle that `export` wrote")
    parser.add_argument(
        "--trust", metavar="KEY", help="the signer's public key, got by another way; trusted from then on"
    )
    parser.add_argument("--inspect", action="store_true", help="only say what is in it and who signed it")


def _import(arguments: argparse.Namespace, scene: _Scene) -> int:
    if arguments.inspect:
        manifest, signer = bundle.inspect(arguments.file)
        document = {"model": str(manifest.key), "size_bytes": manifest.size_bytes, "public_key": signer}
        _show(arguments, document, f"{manifest.key}, {view.size(manifest.size_bytes)}, signed by {signer}")
        return EXIT_OK
    with ByteCounter(f"Checking {arguments.file}", silent=arguments.json) as counter:
        model = scene.library.import_bundle(arguments.file, trust=arguments.trust, on_bytes=counter.add)
    _show(arguments, view.model_json(model), f"Imported {model.key} ({view.size(model.manifest.size_bytes)}).")
    return EXIT_OK


def _nothing(_: argparse.ArgumentParser) -> None:
    """No arguments of its own."""


_ACTIONS = (
    _Action(name="list", summary="what is on this machine", configure=_nothing, run=_list),
    _Action(name="search", summary="what the catalog knows", configure=_search_arguments, run=_search),
    _Action(name="info", summary="one model, with its variants", configure=_one_name, run=_info),
    _Action(name="pull", summary="fetch a model", configure=_pull_arguments, run=_pull),
    _Action(name="add", summary="make a file, folder, repository or URL known", configure=_add_arguments, run=_add),
    _Action(name="verify", summary="compare every file with its hash", configure=_verify_arguments, run=_verify),
    _Action(name="remove", summary="delete a model's files", configure=_remove_arguments, run=_remove),
    _Action(name="export", summary="write a signed bundle", configure=_export_arguments, run=_export),
    _Action(name="import", summary="check a bundle and place its model", configure=_import_arguments, run=_import),
)


def _configure(parser: argparse.ArgumentParser) -> None:
    subparsers = parser.add_subparsers(metavar="ACTION", required=True)
    for action in _ACTIONS:
        subparser = subparsers.add_parser(
            action.name, help=action.summary, description=f"{action.summary}.".capitalize()
        )
        action.configure(subparser)
        output = "events, one JSON object a line" if action.name == "pull" else "for programs"
        subparser.add_argument("--json", action="store_true", help=output)
        subparser.set_defaults(action=action)


def _nothing_known(_: Settings) -> Machine:
    return Machine()


def command(machine: Callable[[Settings], Machine] = _nothing_known) -> Command:
    """`tundish model`; `machine` tells what is loaded and what would fit."""

    def run(arguments: argparse.Namespace, settings: Settings) -> int:
        action: _Action = arguments.action
        try:
            return action.run(arguments, _Scene(library=open_library(settings), machine=lambda: machine(settings)))
        except TundishError as error:
            if arguments.json:
                event = {"event": "failed"} if action.name == "pull" else {}
                print(json.dumps({**event, "error": {"code": error.code, "message": error.message}}), flush=True)
            raise

    return Command(
        name="model",
        summary="find, fetch, check, carry and remove models",
        description=_DESCRIPTION,
        configure=_configure,
        run=run,
    )


COMMAND = command()
