"""The actions of `tundish receipts` that add something: amendments, erased salts, new keys."""

from __future__ import annotations

import argparse
import dataclasses
import getpass
import json
from pathlib import Path

import msgspec

from tundish.cli.command import EXIT_FAILED, EXIT_OK
from tundish.core.json_value import JsonValue
from tundish.ledger import upkeep


def amend_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `amend`."""
    parser.add_argument("request_id", metavar="REQUEST_ID", help="as in the answer's x-request-id header")
    parser.add_argument("--reason", required=True, help="in one sentence")
    parser.add_argument("--by", metavar="WHO", help="without it: the user who runs this")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="what a field should have said"
    )


def amend(arguments: argparse.Namespace, folder: Path) -> int:
    """Add an amendment."""
    changes = {name: _value(text) for name, _, text in (one.partition("=") for one in arguments.set)}
    by = arguments.by or getpass.getuser()
    amendment = upkeep.amend(folder, arguments.request_id, by=by, reason=arguments.reason, changes=changes)
    text = f"Amended. The receipt stays as it is; `tundish explain {arguments.request_id}` shows both."
    _show(arguments, msgspec.to_builtins(amendment), text)
    return EXIT_OK


def erase_salt(arguments: argparse.Namespace, folder: Path) -> int:
    """Overwrite a salt."""
    count = upkeep.erase_salt(folder, arguments.request_id)
    text = (
        "Erased the salt. The log still verifies; copies of it (backups, proofs, exports with salts) are yours to find."
    )
    _show(arguments, {"request_id": arguments.request_id, "erased": count}, text)
    return EXIT_OK


def rotate_key(arguments: argparse.Namespace, folder: Path) -> int:
    """Make a new key and hand every log over to it."""
    rotation = upkeep.rotate_key(folder)
    lines = [f"{rotation.new} signs now; the old key {rotation.old} has signed it over in each log."]
    if rotation.waiting:
        lines.append(
            f"Not yet in {', '.join(rotation.waiting)}: a process holds it and has not answered. The "
            "old key is kept until then; run this again later."
        )
    else:
        lines.append("Its private half was destroyed. Give the new public key to whoever verifies.")
    _show(arguments, dataclasses.asdict(rotation), "\n".join(lines))
    return EXIT_FAILED if rotation.waiting else EXIT_OK


def _value(text: str) -> str | int | None:
    if text in ("", "null"):
        return None
    return int(text) if text.lstrip("-").isdecimal() else text


def _show(arguments: argparse.Namespace, document: JsonValue, text: str) -> None:
    print(json.dumps(document) if arguments.json else text)
