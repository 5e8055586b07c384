"""Reading keys, heads and proofs from files, and saying what a proof proves."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec

from tundish.cli.command import EXIT_FAILED, EXIT_OK
from tundish.cli.receipt_view import moment
from tundish.core.errors import InvalidRequest, TundishError
from tundish.core.json_value import JsonValue
from tundish.ledger import head as heads
from tundish.ledger import layout, proof
from tundish.ledger.head import Head
from tundish.ledger.layout import Receipts
from tundish.ledger.proof import InclusionProof, Proof
from tundish.ledger.search import Found

_PREFIX = "ed25519:"


def read_bytes(path: Path) -> bytes:
    """A file's content; `-` is stdin.

    Raises:
        InvalidRequest: it cannot be read.
    """
    try:
        return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror or error}") from None


def read_keys(given: Sequence[str], folder: Path) -> Sequence[str]:
    """The public keys to trust: those given, as text or in files; without any, the one in a folder of receipts.

    Raises:
        InvalidRequest: there is none.
    """
    keys = [
        word
        for one in given
        for word in ([one] if one.startswith(_PREFIX) else read_bytes(Path(one)).decode("utf-8", "replace").split())
    ]
    if not given and (folder / layout.PUBLIC_KEY).is_file():
        keys = (folder / layout.PUBLIC_KEY).read_text(encoding="utf-8").split()
    wrong = next((key for key in keys if not key.startswith(_PREFIX)), None)
    if wrong is not None or not keys:
        raise InvalidRequest(
            f"Say whose signature is trusted: --key {_PREFIX}…, or a file with it. It is in the file "
            f"{layout.PUBLIC_KEY} of the folder of receipts of whoever signed."
        )
    return keys


def read_head(path: Path) -> Sequence[Head]:
    """Heads that were kept, one a line.

    Raises:
        InvalidRequest: the file cannot be read, or holds none.
    """
    try:
        kept = [heads.decode_head(line) for line in read_bytes(path).splitlines() if line.strip()]
    except ValueError as error:
        raise InvalidRequest(f"{path} holds no heads as `tundish receipts head` prints them: {error}") from None
    if not kept:
        raise InvalidRequest(f"{path} holds no heads.")
    return kept


def standing(receipts: Receipts, found: Found, folder: Path) -> str:
    """What is known of a receipt's proof, as a sentence; it is made and checked right now."""
    try:
        made = proof.prove_inclusion(receipts, found)
        problems = proof.check(made, read_keys([], folder))
    except TundishError as error:
        return error.message
    if problems:
        return " ".join(problems)
    salt = "" if made.salt else " Its salt was erased: its digests mean nothing any more."
    return f"Proven to be in the log of {made.head.size} leaves signed at {moment(made.head.time_us)} UTC.{salt}"


def verify_proof(path: Path, keys: Collection[str], answer: Path | None, request: Path | None, *, as_json: bool) -> int:
    """Check the proofs in a file and print what they prove; returns the exit code.

    Raises:
        InvalidRequest: a file cannot be read, or holds no proof.
    """
    bodies = {
        "answer": None if answer is None else read_bytes(answer),
        "request": None if request is None else read_bytes(request),
    }
    proofs = [proof.decode(line) for line in read_bytes(path).splitlines() if line.strip()]
    if not proofs:
        raise InvalidRequest(f"{path} holds no proof.")
    problems = [problem for one in proofs for problem in proof.check(one, keys, **bodies)]
    if as_json:
        document: JsonValue = {"ok": not problems, "problems": problems, "proofs": msgspec.to_builtins(proofs)}
        print(json.dumps(document))
    elif problems:
        print("\n".join([*problems, "NOT OK."]))
    else:
        compared = [f"the {what} is the one that was receipted" for what, body in bodies.items() if body is not None]
        print("\n".join([*(_proven(one) for one in proofs), *(f"OK: {text}." for text in compared)]))
    return EXIT_FAILED if problems else EXIT_OK


def _proven(one: Proof) -> str:
    if isinstance(one, InclusionProof):
        receipt = proof.receipt_of(one)
        what = f"leaf {one.index}" if receipt is None else f"the receipt of {receipt.request_id}"
        when = moment(one.head.time_us)
        return f"OK: {what} is in the log {one.head.log} of {one.head.size} leaves, signed at {when} UTC."
    earlier, later = one.earlier, one.later
    return f"OK: the log {later.log} only grew from {earlier.size} to {later.size} leaves."
