"""One log, being written: leaves, their index and their salts, all or nothing; and the heads that seal them.

Not for the event loop: everything here may wait for a disk.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tundish.catalog import durable_file
from tundish.ledger import head, layout, leaf
from tundish.ledger.digest import SALT_BYTES
from tundish.ledger.head import Head, Resumption, Seal
from tundish.ledger.layout import index_entry, segment_name
from tundish.ledger.leaf import Entry, Gap
from tundish.ledger.merkle import leaf_hash
from tundish.ledger.receipt import Receipt
from tundish.ledger.recovery import LogEnd
from tundish.ledger.usage import Usage
from tundish.ledger.usage_count import UsageFile

SEGMENT_BYTES = 64 * 1024 * 1024


class LogWriter:
    """Continues the log in `folder` at `end`. The caller holds the log's lock."""

    def __init__(self, folder: Path, end: LogEnd, usage: Usage, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder = folder
        self.usage = usage
        self._segment_bytes = segment_bytes
        self._frontier = end.frontier
        self._segment, self._offset = end.segment, end.offset
        self.sealed_size = end.sealed_size
        self._counted_size = -1
        self._torn = False
        self._lock = threading.Lock()
        self._leaves = _appending(folder / end.segment)
        self._index = _appending(folder / layout.INDEX)
        self._salts = _appending(folder / layout.SALTS)
        self._heads = _appending(folder / layout.HEADS)
        self._heads_bytes = self._heads.seek(0, os.SEEK_END)
        durable_file.sync_folder(folder)

    @property
    def size(self) -> int:
        """Leaves that are written."""
        return self._frontier.size

    def append(self, entries: Sequence[tuple[Entry, bytes]]) -> None:
        """Write each entry with its salt; when it returns, the operating system has them.

        An entry that cannot be encoded leaves a gap that says so.

        Raises:
            OSError: none of them was written.
        """
        with self._lock:
            self._mend()
            if self._offset >= self._segment_bytes:
                self._roll()
            frontier = self._frontier.copy()
            lines: list[bytes] = []
            index: list[bytes] = []
            salts: list[bytes] = []
            for entry, salt in entries:
                line = _encoded(frontier.size, entry)
                hashed = leaf_hash(line)
                frontier.append(hashed)
                lines.append(line)
                index.append(index_entry(hashed, leaf.request_id_of(entry)))
                salts.append(salt)
            lines.append(b"")
            content = b"\n".join(lines)
            try:
                # The leaves last: what stands there has its salt and its place in the index.
                _write(self._salts, b"".join(salts))
                _write(self._index, b"".join(index))
                _write(self._leaves, content)
            except OSError:
                self._torn = True
                with contextlib.suppress(OSError):
                    self._mend()
                raise
            self._frontier = frontier
            self._offset += len(content)
            for entry, _ in entries:
                if type(entry) is Receipt:
                    self.usage.count(entry)

    def seal(self, key: Ed25519PrivateKey, time_us: int) -> Head | None:
        """Make all that is written durable, then sign it; None if nothing came since the last time.

        Raises:
            OSError: it may not be durable, and is not signed.
        """
        with self._lock:
            if self._frontier.size == self.sealed_size:
                return None
            frontier, segment, offset = self._frontier.copy(), self._segment, self._offset
            # Copies, since a segment may be closed meanwhile.
            descriptors = [os.dup(file.fileno()) for file in (self._leaves, self._index, self._salts)]
        try:
            for descriptor in descriptors:
                os.fsync(descriptor)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        signed = head.sign(key, log=self.folder.name, size=frontier.size, root=frontier.root(), time_us=time_us)
        peaks = tuple(peak.hex() for peak in frontier.peaks)
        line = head.encode_seal(Seal(head=signed, resumption=Resumption(segment=segment, offset=offset, peaks=peaks)))
        try:
            _write(self._heads, line)
            os.fsync(self._heads.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                self._heads.truncate(self._heads_bytes)
            raise
        self._heads_bytes += len(line)
        self.sealed_size = frontier.size
        return signed

    def keep_usage(self) -> None:
        """Write down what was counted so far, if it changed.

        Raises:
            OSError: it was not; what was written before still is.
        """
        with self._lock:
            if self._frontier.size == self._counted_size:
                return
            kept = UsageFile(
                size=self._frontier.size, segment=self._segment, offset=self._offset, rows=tuple(self.usage.rows())
            )
        durable_file.write(self.folder / layout.USAGE, msgspec.json.encode(kept))
        self._counted_size = kept.size

    def close(self) -> None:
        """Close the files; what is written and not sealed stays so until the log is taken up again."""
        with self._lock:
            for file in (self._leaves, self._index, self._salts, self._heads):
                file.close()

    def _mend(self) -> None:
        """Take back what a failed append has left."""
        if not self._torn:
            return
        self._leaves.truncate(self._offset)
        self._index.truncate(self._frontier.size * layout.ENTRY_BYTES)
        self._salts.truncate(self._frontier.size * SALT_BYTES)
        self._torn = False

    def _roll(self) -> None:
        os.fsync(self._leaves.fileno())
        name = segment_name(self._frontier.size)
        fresh = _appending(self.folder / name)
        durable_file.sync_folder(self.folder)
        self._leaves.close()
        self._leaves, self._segment, self._offset = fresh, name, 0


def _encoded(index: int, entry: Entry) -> bytes:
    try:
        return leaf.encode(index, entry)
    except ValueError as error:
        at_us = entry.arrived_us if isinstance(entry, Receipt) else 0
        reason = f"cannot be encoded: {error}".encode("ascii", "replace").decode().replace("\n", " ")
        return leaf.encode(index, Gap(lost=1, first_us=at_us, last_us=at_us, reason=reason))


def _appending(path: Path) -> io.FileIO:
    return io.FileIO(path, "ab")


def _write(file: io.FileIO, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[file.write(view) or 0 :]
