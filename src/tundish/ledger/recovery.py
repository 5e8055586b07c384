"""Taking a log up again after whatever ended the process before: a clean end, kill -9, a power failure."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from pathlib import Path

from tundish.ledger import layout, leaf
from tundish.ledger.digest import SALT_BYTES
from tundish.ledger.errors import LogDamaged
from tundish.ledger.head import Seal
from tundish.ledger.layout import ReceiptsFolder
from tundish.ledger.leaf import Leaf, Opened, Rotated
from tundish.ledger.merkle import Frontier, leaf_hash


@dataclasses.dataclass(slots=True, kw_only=True)
class LogEnd:
    """Where a log ends, and what the next leaf continues."""

    frontier: Frontier
    segment: str
    offset: int
    """Bytes of the segment."""
    sealed_size: int
    """Leaves that a signed head covers."""
    key: str
    """The public key that signs now; empty for a log that has no leaf yet."""
    cut_bytes: int = 0
    """What was torn off the end."""


def recover(folder: Path) -> LogEnd:
    """Find the end of the log in `folder`, whose lock the caller holds, and cut off what is torn.

    Reads only what was written after the last head. A torn end is kept beside the log as `torn-…`, for whoever asks.

    Raises:
        LogDamaged: what its last head covers is not there; nothing was changed.
        OSError: it cannot be read or written.
    """
    receipts = ReceiptsFolder(folder.parent)
    seal = layout.last_seal(receipts, folder.name)
    end = LogEnd(frontier=Frontier(), segment=layout.segment_name(0), offset=0, sealed_size=0, key="")
    if seal is not None:
        end = _sealed_end(folder, seal)
    names = layout.segments(receipts, folder.name)
    if seal is None and names and names[0] != end.segment:
        raise LogDamaged(f"The log {folder} has leaves, but not the first ones.")
    entries = _read_tail(folder, end, [name for name in names if name >= end.segment])
    _cut_torn_line(folder / layout.HEADS)
    _mend_index(folder, end, entries)
    _resize(folder / layout.SALTS, end.frontier.size * SALT_BYTES)
    return end


def _sealed_end(folder: Path, seal: Seal) -> LogEnd:
    head, resumption = seal.head, seal.resumption
    frontier = seal.frontier()
    if not head.is_genuine() or head.log != folder.name or frontier is None:
        raise LogDamaged(f"The last head of the log {folder} is not genuine.")
    path = folder / resumption.segment
    known = layout.is_segment(resumption.segment) and path.parent == folder and path.is_file()
    index = folder / layout.INDEX
    indexed = index.stat().st_size if index.is_file() else 0
    if not known or path.stat().st_size < resumption.offset or indexed < head.size * layout.ENTRY_BYTES:
        raise LogDamaged(f"The log {folder} is shorter than its last signed head, which covers {head.size} leaves.")
    return LogEnd(
        frontier=frontier,
        segment=resumption.segment,
        offset=resumption.offset,
        sealed_size=head.size,
        key=head.key,
    )


def _read_tail(folder: Path, end: LogEnd, names: list[str]) -> list[bytes]:
    """Move `end` over the leaves after the last head; their index records. Cuts from the first that is torn."""
    entries: list[bytes] = []
    for position, name in enumerate(names):
        path = folder / name
        start = end.offset if name == end.segment else 0
        if name not in (end.segment, layout.segment_name(end.frontier.size)):
            _set_aside(folder, end, names[position:], 0)
            return entries
        end.segment, end.offset = name, start
        with path.open("rb") as file:
            file.seek(start)
            for line in file:
                content = line[:-1]
                held = leaf.decode(content) if line.endswith(b"\n") else None
                if held is None or held.index != end.frontier.size:
                    _set_aside(folder, end, names[position:], end.offset)
                    return entries
                hashed = leaf_hash(content)
                end.frontier.append(hashed)
                end.offset += len(line)
                end.key = _key_after(held, end.key)
                entries.append(layout.index_entry(hashed, leaf.request_id_of(held.entry)))
    return entries


def _key_after(held: Leaf, key: str) -> str:
    match held.entry:
        case Opened(key=opened):
            return opened
        case Rotated(new=new):
            return new
        case _:
            return key


def _set_aside(folder: Path, end: LogEnd, names: list[str], offset: int) -> None:
    """Keep what is cut off, then cut it off: the first of `names` at `offset`, the others whole."""
    torn = b"".join((folder / name).read_bytes()[offset if name == names[0] else 0 :] for name in names)
    end.cut_bytes += len(torn)
    with contextlib.suppress(OSError):  # on a full disk, going on counts more
        (folder / f"torn-{end.frontier.size:012}").write_bytes(torn)
    for name in names[1:] if names[0] == end.segment else names:
        (folder / name).unlink()
    if names[0] == end.segment:
        _resize(folder / names[0], end.offset)


def _mend_index(folder: Path, end: LogEnd, entries: list[bytes]) -> None:
    path = folder / layout.INDEX
    path.touch()
    with path.open("r+b") as file:
        file.truncate(end.sealed_size * layout.ENTRY_BYTES)
        file.seek(0, os.SEEK_END)
        file.write(b"".join(entries))


def _cut_torn_line(path: Path) -> None:
    if not path.is_file():
        return
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        start = max(0, end - 65_536)
        file.seek(start)
        tail = file.read()
        if tail and not tail.endswith(b"\n"):
            file.truncate(start + tail.rfind(b"\n") + 1)


def _resize(path: Path, size_bytes: int) -> None:
    path.touch()
    with path.open("r+b") as file:
        file.truncate(size_bytes)
