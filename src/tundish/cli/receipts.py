"""`tundish receipts`: what happened to each request, and the proof of it."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from tundish.cli import receipt_upkeep as upkeep
from tundish.cli import receipt_view as view
from tundish.cli.command import EXIT_FAILED, EXIT_OK, Command
from tundish.cli.receipt_proof import read_head, read_keys, standing, verify_proof
from tundish.core.errors import InvalidRequest, TundishError
from tundish.core.json_value import JsonValue
from tundish.ledger import export, layout, proof
from tundish.ledger.errors import from_os_error
from tundish.ledger.finding import Finding, LogReport
from tundish.ledger.layout import open_receipts
from tundish.ledger.search import find, latest
from tundish.ledger.verify import verify
from tundish.settings import Settings

_DESCRIPTION = """\
Each request leaves a receipt in an append-only log whose heads are signed. It holds no prompt and no answer.

  tundish receipts list                        the latest
  tundish receipts show REQUEST_ID             one of them; `tundish explain` tells the decision, too
  tundish receipts verify                      was anything changed, removed, inserted, reordered, cut off?
  tundish receipts head > heads.json           what the logs are now, signed: keep it where nobody here can reach it
  tundish receipts verify --head heads.json    … and later: did they only grow since?
  tundish receipts prove REQUEST_ID            a small file that proves one receipt
  tundish receipts verify --proof FILE --key KEY --answer BODY     by whoever has it: is this answer the receipted one?
  tundish receipts export --output FILE        all logs in one file, for an examiner
  tundish receipts amend REQUEST_ID            say something about a receipt; the original stays
  tundish receipts erase-salt REQUEST_ID       nobody can test any more which text its digests are of
  tundish receipts rotate-key                  sign with a new key; the old one signs it over

The endpoint may be running or not.
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Action:
    """One of the subcommands of `tundish receipts`."""

    name: str
    summary: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Path], int]
    """With the folder of receipts."""


def _show(arguments: argparse.Namespace, document: JsonValue, text: str) -> None:
    print(json.dumps(document) if arguments.json else text)


_FILTERS = ("route", "deployment", "place", "project", "outcome", "data_class", "key_id")


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="at most so many (20); 0: all")
    for name in _FILTERS:
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="NAME", help="only those with this one")


def _list(arguments: argparse.Namespace, folder: Path) -> int:
    wanted = {name: getattr(arguments, name) for name in _FILTERS if getattr(arguments, name) is not None}
    receipts = (held.receipt for _, held in latest(open_receipts(folder)))
    matching = (
        one
        for one in receipts
        if one is not None and all(getattr(one, name) == value for name, value in wanted.items())
    )
    shown = list(itertools.islice(matching, arguments.limit or None))
    _show(
        arguments,
        [json.loads(msgspec.json.encode(one)) for one in shown],
        view.list_text(shown) if shown else "There are none.",
    )
    return EXIT_OK


def _id_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("request_id", metavar="REQUEST_ID", help="as in the answer's x-request-id header")


def _show_one(arguments: argparse.Namespace, folder: Path) -> int:
    receipts = open_receipts(folder)
    found = find(receipts, arguments.request_id)
    document: JsonValue = {
        "log": found.log,
        "index": found.index,
        "sealed": found.sealed,
        "receipt": json.loads(found.line)["receipt"],
        "amendments": msgspec.to_builtins(found.amendments),
    }
    _show(arguments, document, view.explanation(found, standing(receipts, found, folder)))
    return EXIT_OK


def _prove_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("request_id", nargs="?", metavar="REQUEST_ID", help="prove that its receipt is in the log")
    what.add_argument("--since", type=Path, metavar="HEADS", help="prove that the logs of these heads only grew")
    parser.add_argument("--output", type=Path, metavar="FILE", help="without it: to stdout")


def _prove(arguments: argparse.Namespace, folder: Path) -> int:
    receipts = open_receipts(folder)
    proofs: Sequence[proof.Proof]
    if arguments.since is None:
        proofs = [proof.prove_inclusion(receipts, find(receipts, arguments.request_id))]
    else:
        proofs = [proof.prove_consistency(receipts, head) for head in read_head(arguments.since)]
    content = b"".join(msgspec.json.encode(one) + b"\n" for one in proofs)
    if arguments.output is None:
        print(content.decode(), end="")
        return EXIT_OK
    arguments.output.write_bytes(content)
    checked = f"tundish receipts verify --proof {arguments.output} --key {(folder / layout.PUBLIC_KEY)}"
    _show(arguments, {"file": str(arguments.output)}, f"Wrote {arguments.output}. Check it with: {checked}")
    return EXIT_OK


def _verify_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", nargs="?", type=Path, metavar="PATH", help="an export, or a folder of receipts")
    parser.add_argument(
        "--key", action="append", default=[], metavar="KEY", help="the public key that is trusted, or a file with it"
    )
    parser.add_argument(
        "--head", action="append", default=[], type=Path, metavar="FILE", help="heads kept from earlier"
    )
    parser.add_argument("--proof", type=Path, metavar="FILE", help="check this proof, and nothing else")
    parser.add_argument(
        "--answer", type=Path, metavar="FILE", help="with --proof: the answer's body as it was received"
    )
    parser.add_argument("--request", type=Path, metavar="FILE", help="with --proof: the request's body as it was sent")


def _verify(arguments: argparse.Namespace, folder: Path) -> int:
    keys = read_keys(arguments.key, folder if arguments.path is None else arguments.path)
    if arguments.proof is not None:
        return verify_proof(arguments.proof, keys, arguments.answer, arguments.request, as_json=arguments.json)
    if arguments.answer is not None or arguments.request is not None:
        raise InvalidRequest("--answer and --request need the proof that they are compared with: --proof FILE.")
    heads = [head for path in arguments.head for head in read_head(path)]
    report = verify(arguments.path or folder, keys, heads)
    document: JsonValue = {
        "ok": report.ok,
        "keys": list(keys),
        "logs": [_log_document(log) for log in report.logs],
        "findings": [_finding_document(found) for found in report.findings],
    }
    by = "" if arguments.key else "\nChecked with the key in the folder itself; an examiner brings it along: --key."
    _show(arguments, document, view.report_text(report) + by)
    return EXIT_OK if report.ok else EXIT_FAILED


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="a zip file")
    parser.add_argument("--with-salts", action="store_true", help="so that digests can be compared with texts")


def _export(arguments: argparse.Namespace, folder: Path) -> int:
    sizes = export.export(open_receipts(folder), arguments.output, with_salts=arguments.with_salts)
    document: JsonValue = {"file": str(arguments.output), "leaves": dict(sizes)}
    count = sum(sizes.values())
    _show(
        arguments, document, f"Wrote {arguments.output}: {count} leaves of {len(sizes)} logs, up to their last heads."
    )
    return EXIT_OK


def _head(arguments: argparse.Namespace, folder: Path) -> int:
    receipts = open_receipts(folder)
    seals = [layout.last_seal(receipts, log) for log in receipts.logs()]
    for seal in seals:
        if seal is not None:
            print(msgspec.json.encode(seal.head).decode())
    return EXIT_OK if any(seals) else EXIT_FAILED


def _log_document(log: LogReport) -> JsonValue:
    return {**dataclasses.asdict(log), "unsealed": log.unsealed}


def _finding_document(found: Finding) -> JsonValue:
    return {**dataclasses.asdict(found), "kind": found.kind.value, "last": found.last, "text": str(found)}


def _nothing(_: argparse.ArgumentParser) -> None:
    """No arguments of its own."""


_ACTIONS = (
    _Action(name="list", summary="the latest receipts", configure=_list_arguments, run=_list),
    _Action(name="show", summary="one receipt", configure=_id_argument, run=_show_one),
    _Action(name="prove", summary="a proof to carry away", configure=_prove_arguments, run=_prove),
    _Action(name="verify", summary="check logs, an export or a proof", configure=_verify_arguments, run=_verify),
    _Action(name="export", summary="all logs in one file", configure=_export_arguments, run=_export),
    _Action(name="head", summary="the signed heads of the logs, one a line", configure=_nothing, run=_head),
    _Action(name="amend", summary="say something about a receipt", configure=upkeep.amend_arguments, run=upkeep.amend),
    _Action(name="erase-salt", summary="take the meaning from digests", configure=_id_argument, run=upkeep.erase_salt),
    _Action(name="rotate-key", summary="sign with a new key", configure=_nothing, run=upkeep.rotate_key),
)


def _configure(parser: argparse.ArgumentParser) -> None:
    subparsers = parser.add_subparsers(metavar="ACTION", required=True)
    for action in _ACTIONS:
        subparser = subparsers.add_parser(
            action.name, help=action.summary, description=f"{action.summary}.".capitalize()
        )
        action.configure(subparser)
        subparser.add_argument("--json", action="store_true", help="for programs")
        subparser.set_defaults(action=action)


def show(arguments: argparse.Namespace, settings: Settings) -> int:
    """Show one receipt, `request_id`, as text or `json`; returns the exit code.

    Raises:
        TundishError: there is none, or it cannot be read.
    """
    return _perform(_show_one, arguments, settings)


def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    action: _Action = arguments.action
    return _perform(action.run, arguments, settings)


def _perform(run: Callable[[argparse.Namespace, Path], int], arguments: argparse.Namespace, settings: Settings) -> int:
    try:
        try:
            return run(arguments, settings.receipts_folder)
        except OSError as error:
            raise from_os_error(error, settings.receipts_folder) from error
    except TundishError as error:
        if arguments.json:
            print(json.dumps({"error": {"code": error.code, "message": error.message}}), flush=True)
        raise


COMMAND = Command(
    name="receipts",
    summary="list, show, prove, verify and export receipts",
    description=_DESCRIPTION,
    configure=_configure,
    run=_run,
)
