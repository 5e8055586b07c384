"""What stands in a log: receipts, and what else has to be said in order. Each leaf is one line of canonical JSON.

The line, without its line feed, is what is hashed. Its first member is its index, so that a line says by itself where
it belongs.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from tundish.ledger.head import Head
from tundish.ledger.receipt import Receipt


class Opened(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The first leaf of each log."""

    log: str
    """Its name, bound into each head."""
    key: str
    """The public key that signs its heads, until a `Rotated`."""
    time_us: int
    others: tuple[Head, ...] = ()
    """The last heads of the other logs of the folder: one of them cut short or taken away shows by this."""


class Resumed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A process took the log up again."""

    time_us: int
    unsealed_from: int | None = None
    """The first leaf before this one that no signed head covered while no process ran; None: all were covered."""
    cut_bytes: int = 0
    """Torn off the end of the log: a receipt that was being written when the process or the power went."""
    others: tuple[Head, ...] = ()


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Receipts that could not be kept."""

    lost: int
    first_us: int
    last_us: int
    """Arrival of the first and the last of them; Unix time in microseconds."""
    reason: str


class Rotated(msgspec.Struct, frozen=True, kw_only=True):
    """From here on another key signs. `signature`: the old key's, over the new one."""

    old: str
    new: str
    time_us: int
    signature: str


class Amendment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Says something later about a receipt, which stays as it is."""

    amends: str
    """The request's id."""
    log: str
    index: int
    """Where the original stands."""
    leaf_hash: str
    """Of the original, hexadecimal."""
    time_us: int
    by: str
    reason: str
    changes: dict[str, str | int | None] = {}
    """Field of the receipt → what it should have said."""


Entry: TypeAlias = Receipt | Opened | Resumed | Gap | Rotated | Amendment


class Leaf(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line: exactly one of the members is there."""

    index: int
    receipt: Receipt | None = None
    opened: Opened | None = None
    resumed: Resumed | None = None
    gap: Gap | None = None
    rotated: Rotated | None = None
    amendment: Amendment | None = None

    @property
    def entry(self) -> Entry | None:
        """What it holds; None for a kind that this version does not know."""
        return self.receipt or self.opened or self.resumed or self.gap or self.rotated or self.amendment


_KINDS: dict[type, bytes] = {
    Receipt: b"receipt",
    Opened: b"opened",
    Resumed: b"resumed",
    Gap: b"gap",
    Rotated: b"rotated",
    Amendment: b"amendment",
}
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Leaf).decode


def request_id_of(entry: Entry | None) -> str:
    """The request that an entry is about; empty where it is about none."""
    match entry:
        case Receipt():
            return entry.request_id
        case Amendment():
            return entry.amends
        case _:
            return ""


def encode(index: int, entry: Entry) -> bytes:
    """The line, without its line feed.

    Raises:
        ValueError: it cannot be written as one line of JSON.
    """
    try:
        line = b'{"index":%d,"%b":%b}' % (index, _KINDS[type(entry)], _encode(entry))
    except (UnicodeError, msgspec.MsgspecError, TypeError) as error:
        raise ValueError(str(error)) from error
    if b"\n" in line:
        raise ValueError("it holds a line feed")
    return line


def decode(line: bytes) -> Leaf | None:
    """What a line holds; None if it is no leaf."""
    try:
        return _decode(line)
    except (msgspec.MsgspecError, ValueError):
        return None
