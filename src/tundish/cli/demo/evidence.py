"""What the site put on record about a request: the decision in a line, and whether the receipt holds."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tundish.catalog import signing
from tundish.ledger import proof
from tundish.ledger.errors import NotSealedYet, ReceiptNotFound
from tundish.ledger.keys import LedgerKeys
from tundish.ledger.layout import ReceiptsFolder
from tundish.ledger.receipt import Receipt
from tundish.ledger.search import find
from tundish.ledger.verify import verify

_WAIT_S = 15.0
_POLL_S = 0.1


class _Refusal(msgspec.Struct, frozen=True):
    constraint: str
    reason: str


class Judged(msgspec.Struct, frozen=True):
    """One deployment, as the decision saw it."""

    deployment: str
    place: str = ""
    refusal: _Refusal | None = None
    estimate_usd: float | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A receipt whose proof was checked as its holder would, with the public key alone."""

    receipt: Receipt
    judged: Sequence[Judged]
    index: int
    """Of its leaf."""
    problems: Sequence[str]
    """What is wrong with the proof; empty if it holds."""


class Evidences:
    """The receipts in a folder, and the public key that whoever checks them was given beforehand."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.public_key = signing.public_key_of(LedgerKeys(folder / "keys").own())

    async def of(self, request_id: str, answer: bytes) -> Evidence:
        """The evidence of one request; waits for the signed head that covers it.

        `answer`: the body bytes that the client was given.

        Raises:
            ReceiptNotFound, NotSealedYet: not even after a while.
        """
        deadline_s = asyncio.get_running_loop().time() + _WAIT_S
        while True:
            try:
                return await asyncio.to_thread(self._look, request_id, answer)
            except (ReceiptNotFound, NotSealedYet):
                if asyncio.get_running_loop().time() > deadline_s:
                    raise
                await asyncio.sleep(_POLL_S)

    def _look(self, request_id: str, answer: bytes) -> Evidence:
        receipts = ReceiptsFolder(self._folder)
        found = find(receipts, request_id)
        proven = proof.prove_inclusion(receipts, found)
        return Evidence(
            receipt=found.receipt,
            judged=msgspec.json.decode(found.receipt.judged, type=list[Judged]),
            index=found.index,
            problems=proof.check(proven, [self.public_key], answer=answer),
        )

    def examine(self) -> tuple[int, Sequence[str]]:
        """How many receipts there are, and what is wrong with them."""
        report = verify(self._folder, [self.public_key])
        return sum(log.receipts for log in report.logs), [str(finding) for finding in report.findings]

    def examine_forged(self, written: bytes, forged: bytes, scratch: Path) -> Sequence[str]:
        """What an examination finds in a copy in which somebody has written `forged` over the first `written`."""
        copy = scratch / "forged-receipts"
        shutil.copytree(self._folder, copy)
        for file in sorted(copy.rglob("*")):
            content = file.read_bytes() if file.is_file() else b""
            if written in content:
                file.write_bytes(content.replace(written, forged, 1))
                break
        return [str(finding) for finding in verify(copy, [self.public_key]).findings]
