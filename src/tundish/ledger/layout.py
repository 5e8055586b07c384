"""Where a log's bytes are, and how they are read back: from the folder of receipts, or from an export of it.

RECEIPTS/keys/signing-key                 the private key; readable by its owner only
RECEIPTS/public-key                       its public half, to be given away
RECEIPTS/LOG/leaves-000000000000.jsonl    receipts, one line each; a new segment begins at its first leaf's index
RECEIPTS/LOG/index                        80 bytes for each leaf: its hash, and the request's id cut at 48 bytes
RECEIPTS/LOG/heads.jsonl                  signed heads
RECEIPTS/LOG/salts                        16 bytes for each leaf; zeros where there is none, or none any more
RECEIPTS/LOG/usage.json                   what was counted so far; can be counted again from the leaves
"""

from __future__ import annotations

import bisect
import contextlib
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Protocol

from tundish.ledger import head as heads
from tundish.ledger.digest import SALT_BYTES
from tundish.ledger.errors import LedgerUnavailable
from tundish.ledger.head import Seal
from tundish.ledger.merkle import HASH_BYTES

INDEX = "index"
HEADS = "heads.jsonl"
SALTS = "salts"
USAGE = "usage.json"
LOCK = "lock"
PUBLIC_KEY = "public-key"
ID_BYTES = 48
ENTRY_BYTES = HASH_BYTES + ID_BYTES
NO_SALT = bytes(SALT_BYTES)

_PREFIX, _SUFFIX = "leaves-", ".jsonl"


def segment_name(first: int) -> str:
    """Of the segment that begins with that leaf."""
    return f"{_PREFIX}{first:012}{_SUFFIX}"


def is_segment(name: str) -> bool:
    """Whether a file of that name holds leaves."""
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX)


def index_entry(leaf_hash: bytes, request_id: str) -> bytes:
    """A leaf's record in the index."""
    return leaf_hash + indexed_id(request_id)


def indexed_id(request_id: str) -> bytes:
    """As it stands in the index."""
    return request_id.encode("utf-8", "replace")[:ID_BYTES].ljust(ID_BYTES, b"\0")


class Receipts(Protocol):
    """Logs, read-only."""

    @property
    def ends_sealed(self) -> bool:
        """Whether each log ends with its last head, because it is a copy that was made so."""
        ...

    def logs(self) -> Sequence[str]:
        """Their names."""
        ...

    def files(self, log: str) -> Sequence[str]:
        """What is there of one, sorted."""
        ...

    def open(self, log: str, file: str) -> IO[bytes]:
        """One file.

        Raises:
            OSError: it cannot be read.
        """
        ...


class ReceiptsFolder:
    """As a running endpoint writes them."""

    ends_sealed = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def logs(self) -> Sequence[str]:
        with contextlib.suppress(FileNotFoundError):
            return sorted(path.name for path in self.folder.iterdir() if path.is_dir() and _is_log(path))
        return []

    def files(self, log: str) -> Sequence[str]:
        return sorted(path.name for path in (self.folder / log).iterdir())

    def open(self, log: str, file: str) -> IO[bytes]:
        return (self.folder / log / file).open("rb")


class ExportedReceipts:
    """As `tundish receipts export` wrote them: a zip file with a folder for each log."""

    ends_sealed = True

    def __init__(self, file: Path) -> None:
        self._zip = zipfile.ZipFile(file)
        self._files: dict[str, list[str]] = {}
        for name in sorted(self._zip.namelist()):
            log, slash, rest = name.partition("/")
            if slash and "/" not in rest:
                self._files.setdefault(log, []).append(rest)

    def logs(self) -> Sequence[str]:
        return sorted(self._files)

    def files(self, log: str) -> Sequence[str]:
        return self._files[log]

    def open(self, log: str, file: str) -> IO[bytes]:
        try:
            return self._zip.open(f"{log}/{file}")
        except KeyError:
            raise FileNotFoundError(f"{log}/{file}") from None


def open_receipts(path: Path) -> Receipts:
    """Receipts in a folder or an export.

    Raises:
        LedgerUnavailable: there are none.
    """
    try:
        receipts = ReceiptsFolder(path) if path.is_dir() else ExportedReceipts(path)
        if receipts.logs():
            return receipts
    except FileNotFoundError:
        pass
    except (OSError, zipfile.BadZipFile) as error:
        raise LedgerUnavailable(f"{path} is neither a folder of receipts nor an export of one: {error}") from None
    raise LedgerUnavailable(f"There are no receipts in {path}. `tundish serve` writes one for each request.")


def segments(receipts: Receipts, log: str) -> list[str]:
    """Of a log, the oldest first."""
    return [name for name in receipts.files(log) if is_segment(name)]


def lines(receipts: Receipts, log: str) -> Iterator[bytes]:
    """All leaves as they are, without their line feeds. What is being written at this moment may come torn."""
    for name in segments(receipts, log):
        with receipts.open(log, name) as file:
            for line in file:
                yield line[:-1] if line.endswith(b"\n") else line


def seals(receipts: Receipts, log: str) -> list[Seal | None]:
    """All heads of a log in the order in which they were written; None stands for a line that is none."""
    try:
        with receipts.open(log, HEADS) as file:
            return [heads.decode_seal(line) for line in file if line.endswith(b"\n")]
    except FileNotFoundError:
        return []


def last_seal(receipts: Receipts, log: str) -> Seal | None:
    """The latest head of a log, without reading the others; None where there is none."""
    try:
        with receipts.open(log, HEADS) as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - 65_536))
            for line in reversed(file.read().splitlines(keepends=True)):
                if line.endswith(b"\n") and (seal := heads.decode_seal(line)) is not None:
                    return seal
    except FileNotFoundError:
        pass
    return None


def leaf_hashes(receipts: Receipts, log: str) -> tuple[list[bytes], list[str]]:
    """From the index: each leaf's hash, and its request's id (empty where it has none)."""
    try:
        with receipts.open(log, INDEX) as file:
            content = file.read()
    except FileNotFoundError:
        return [], []
    starts = range(0, len(content) - ENTRY_BYTES + 1, ENTRY_BYTES)
    hashes = [content[start : start + HASH_BYTES] for start in starts]
    ids = [
        content[start + HASH_BYTES : start + ENTRY_BYTES].rstrip(b"\0").decode("utf-8", "replace") for start in starts
    ]
    return hashes, ids


def segments_about(receipts: Receipts, log: str, request_id: str) -> list[str]:
    """Segments with leaves about a request, by the index; empty if it knows of none."""
    try:
        with receipts.open(log, INDEX) as file:
            content = file.read()
    except FileNotFoundError:
        return []
    names, wanted, about = segments(receipts, log), indexed_id(request_id), set[str]()
    at = content.find(wanted)
    while at >= 0:
        index, offset = divmod(at, ENTRY_BYTES)
        known = bisect.bisect_right(names, segment_name(index))
        if offset == HASH_BYTES and known:
            about.add(names[known - 1])
        at = content.find(wanted, at + 1)
    return sorted(about)


def salt_of(receipts: Receipts, log: str, index: int) -> bytes | None:
    """A receipt's salt; None if it was erased, or was never there."""
    try:
        with receipts.open(log, SALTS) as file:
            file.seek(index * SALT_BYTES)
            salt = file.read(SALT_BYTES)
    except FileNotFoundError:
        return None
    return salt if len(salt) == SALT_BYTES and salt != NO_SALT else None


def _is_log(folder: Path) -> bool:
    return (folder / HEADS).exists() or any(is_segment(path.name) for path in folder.iterdir())
