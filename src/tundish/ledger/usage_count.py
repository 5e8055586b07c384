"""Counting usage from the logs: what was counted before is kept beside them, so that only the rest is read."""

from __future__ import annotations

import io

import msgspec

from tundish.ledger import layout, leaf
from tundish.ledger.layout import Receipts
from tundish.ledger.usage import Usage, UsageRow


class UsageFile(msgspec.Struct, frozen=True, kw_only=True):
    """What a log's leaves up to `size` came to. A cache: without it everything is counted again."""

    size: int
    segment: str
    offset: int
    """The bytes of the segment up to there."""
    rows: tuple[UsageRow, ...]


_decoder = msgspec.json.Decoder(UsageFile)


def counted(receipts: Receipts, log: str, *, afresh: bool = False) -> Usage:
    """The usage of a log's complete receipts; `afresh` counts each of them again.

    Raises:
        OSError: it cannot be read.
    """
    start = None if afresh else _kept(receipts, log)
    usage = Usage() if start is None else Usage(start.rows)
    for name in layout.segments(receipts, log):
        if start is not None and name < start.segment:
            continue
        with receipts.open(log, name) as file:
            if start is not None and name == start.segment:
                file.seek(start.offset)
            for line in file:
                held = leaf.decode(line) if line.endswith(b"\n") else None
                if held is not None and held.receipt is not None:
                    usage.count(held.receipt)
    return usage


def _kept(receipts: Receipts, log: str) -> UsageFile | None:
    try:
        with receipts.open(log, layout.USAGE) as file:
            kept = _decoder.decode(file.read())
        with receipts.open(log, kept.segment) as segment:
            return kept if segment.seek(0, io.SEEK_END) >= kept.offset else None
    except (OSError, msgspec.MsgspecError, ValueError):
        return None
