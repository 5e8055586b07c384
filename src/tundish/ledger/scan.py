"""Reading a whole log for an examination."""

from __future__ import annotations

import dataclasses

from tundish.ledger import keys, layout, leaf
from tundish.ledger.finding import Finding, Kind
from tundish.ledger.head import Head, Seal
from tundish.ledger.layout import Receipts
from tundish.ledger.leaf import Amendment, Gap, Opened, Resumed, Rotated
from tundish.ledger.merkle import leaf_hash


@dataclasses.dataclass(slots=True, kw_only=True)
class Scan:
    """What stands in one log's leaves."""

    log: str
    seals: list[Seal | None]
    hashes: list[bytes] = dataclasses.field(default_factory=list[bytes])
    indexes: list[int | None] = dataclasses.field(default_factory=list["int | None"])
    """What each line says of its place; None for one that is no leaf."""
    keys: list[tuple[int, str]] = dataclasses.field(default_factory=list[tuple[int, str]])
    """From which leaf on each key signs."""
    witnessed: list[Head] = dataclasses.field(default_factory=list[Head])
    findings: list[Finding] = dataclasses.field(default_factory=list[Finding])
    receipts: int = 0
    amendments: int = 0
    lost: int = 0


def scan_log(receipts: Receipts, log: str) -> Scan:
    """Read a log once, from its first leaf to its last.

    Raises:
        OSError: it cannot be read.
    """
    # The heads first: a running process writes on meanwhile, and its next head covers more than was read.
    scan = Scan(log=log, seals=layout.seals(receipts, log))
    for position, line in enumerate(layout.lines(receipts, log)):
        held = leaf.decode(line)
        scan.hashes.append(leaf_hash(line))
        scan.indexes.append(None if held is None else held.index)
        if held is None:
            continue
        if held.receipt is not None:
            scan.receipts += 1
            continue
        match held.entry:
            case Opened(key=key, others=others):
                scan.keys = scan.keys or [(0, key)]
                scan.witnessed += others
            case Resumed(others=others):
                scan.witnessed += others
            case Rotated() as rotated:
                if scan.keys and rotated.old == scan.keys[-1][1] and keys.is_genuine(log, rotated):
                    scan.keys.append((position, rotated.new))
                else:
                    detail = "the key was handed over without the old key's signature"
                    scan.findings.append(Finding(kind=Kind.SIGNATURE, log=log, index=position, detail=detail))
            case Amendment():
                scan.amendments += 1
            case Gap(lost=lost):
                scan.lost += lost
            case _:
                pass
    return scan
