"""Finding receipts in the logs."""

from __future__ import annotations

import dataclasses
import heapq
import os
from collections.abc import Iterable, Iterator
from typing import IO

import msgspec

from tundish.ledger import layout, leaf
from tundish.ledger.errors import ReceiptNotFound
from tundish.ledger.layout import Receipts
from tundish.ledger.leaf import Amendment, Leaf
from tundish.ledger.receipt import Receipt

_BLOCK_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A receipt and where it stands."""

    log: str
    index: int
    line: bytes
    """The leaf, exactly."""
    receipt: Receipt
    sealed: bool
    """Whether a signed head covers it."""
    amendments: tuple[Amendment, ...] = ()
    """What was said about it later, in the order of each log."""


def find(receipts: Receipts, request_id: str) -> Found:
    """The receipt of a request; the latest, where clients have used an id again. Blocks while it reads.

    Raises:
        ReceiptNotFound: there is none.
        OSError: the logs cannot be read.
    """
    found = find_all(receipts, request_id)
    if not found:
        raise ReceiptNotFound(request_id)
    return max(found, key=lambda one: one.receipt.arrived_us)


def find_all(receipts: Receipts, request_id: str) -> list[Found]:
    """Every receipt with that id."""
    about = {log: layout.segments_about(receipts, log, request_id) for log in receipts.logs()}
    if not any(about.values()):  # the index does not know it; the leaves may
        about = {log: layout.segments(receipts, log) for log in about}
    text = msgspec.json.encode(request_id)
    hits = [
        (log, line, held, held.receipt)
        for log, names in about.items()
        for line, held in matching(receipts, log, b'"request_id":' + text, names)
        if held.receipt is not None and held.receipt.request_id == request_id
    ]
    amended = [
        held.amendment
        for log, names in about.items()
        for _, held in matching(receipts, log, b'"amends":' + text, names)
        if held.amendment is not None
    ]
    found: list[Found] = []
    for log, line, held, receipt in hits:
        seal = layout.last_seal(receipts, log)
        about = tuple(one for one in amended if (one.log, one.index) == (log, held.index))
        sealed = seal is not None and held.index < seal.head.size
        found.append(Found(log=log, index=held.index, line=line, receipt=receipt, sealed=sealed, amendments=about))
    return found


def latest(receipts: Receipts) -> Iterator[tuple[str, Leaf]]:
    """All receipts with their logs, the latest first by the time of arrival. Reads only as far as it is asked."""
    streams = [_newest_first(receipts, log) for log in receipts.logs()]
    for _, log, held in heapq.merge(*streams, key=lambda one: one[0], reverse=True):
        yield log, held


def _newest_first(receipts: Receipts, log: str) -> Iterator[tuple[int, str, Leaf]]:
    for name in reversed(layout.segments(receipts, log)):
        with receipts.open(log, name) as file:
            for line in _backwards(file):
                held = leaf.decode(line)
                if held is not None and held.receipt is not None:
                    yield held.receipt.arrived_us, log, held


def _backwards(file: IO[bytes]) -> Iterator[bytes]:
    """The complete lines of a file, the last first."""
    end, rest = file.seek(0, os.SEEK_END), b""
    complete = False
    while end > 0:
        start = max(0, end - _BLOCK_BYTES)
        file.seek(start)
        block = file.read(end - start) + rest
        if not complete:
            # What follows the last line feed is being written at this moment.
            block, complete = block[: block.rfind(b"\n") + 1], b"\n" in block
            block = block[:-1] if complete else block
        if complete:
            rest, *lines = block.split(b"\n")
            yield from reversed(lines)
        end = start
    if complete and rest:
        yield rest


def matching(receipts: Receipts, log: str, wanted: bytes, names: Iterable[str]) -> Iterator[tuple[bytes, Leaf]]:
    """Complete lines of some segments in which `wanted` occurs, and what they hold."""
    for name in names:
        with receipts.open(log, name) as file:
            rest = b""
            while block := file.read(_BLOCK_BYTES):
                block = rest + block
                end = block.rfind(b"\n") + 1
                whole, rest = block[:end], block[end:]
                at = whole.find(wanted)
                while at >= 0:
                    start, stop = whole.rfind(b"\n", 0, at) + 1, whole.find(b"\n", at)
                    line = whole[start:stop]
                    held = leaf.decode(line)
                    if held is not None:
                        yield line, held
                    at = whole.find(wanted, stop)
