"""A file that is arriving: hashed while it is written, and continued after a crash from what is surely on disk.

Beside the data lies a note of progress: which remote file this is a part of, how many bytes are durable, and the hash
of those. It is written after the bytes that it speaks of were forced to disk, so after `kill -9` or a power failure the
part up to there can be trusted; it is read again once (which also restores the hash) and compared.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import io
import os
import time
from pathlib import Path

import msgspec

from tundish.catalog import durable_file

_FIRST_CHECKPOINT_S, _MAX_BETWEEN_CHECKPOINTS_S = 2.0, 10.0
"""Forcing bytes to disk slows down whoever writes there, so it is done after as long again as it went well so far."""
_READ_BYTES = 1024 * 1024


class RemoteFile(msgspec.Struct, frozen=True, kw_only=True):
    """What tells one version of a file at its source from the next."""

    identity: str
    """What it is supposed to be: its hash where that is known, else its address."""
    etag: str | None = None
    last_modified: str | None = None
    total_bytes: int | None = None

    @property
    def validator(self) -> str | None:
        """What If-Range may carry: a strong ETag, else a date."""
        if self.etag is not None and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified


class _Progress(msgspec.Struct, frozen=True, kw_only=True):
    remote: RemoteFile
    durable_bytes: int
    sha256: str


class PartialFile:
    """One writer's view of the file at `path`, with its progress at `note`. Methods block: call them in a thread."""

    def __init__(self, path: Path, note: Path) -> None:
        """Nothing is read yet: see `resume`."""
        self._path, self._note = path, note
        self._digest = hashlib.sha256()
        self._file: io.FileIO | None = None
        self._checkpoint: concurrent.futures.Future[None] | None = None
        self._noted_bytes: int | None = None
        self._began_s = time.monotonic()
        self._checkpoint_due_s = self._began_s + _FIRST_CHECKPOINT_S
        self._syncer = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="tundish-checkpoint")
        self.size_bytes = 0
        self.remote: RemoteFile | None = None
        """The version that the bytes so far belong to; None before the first."""

    def resume(self, identity: str) -> None:
        """Open the file and keep what is proven of an earlier attempt at the same thing."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._note.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("a+b", buffering=0)
        progress = self._read_note()
        if progress is not None and progress.remote.identity == identity and self._rehash(progress):
            self.remote = progress.remote
            self.size_bytes = progress.durable_bytes
            self._file.truncate(self.size_bytes)
        else:
            self.restart()

    def restart(self) -> None:
        """Forget everything that has arrived."""
        self._settle_checkpoint()
        self._note.unlink(missing_ok=True)
        self._noted_bytes = None
        self._opened.truncate(0)
        self._digest = hashlib.sha256()
        self.size_bytes = 0
        self.remote = None

    def write(self, block: bytes | memoryview) -> None:
        """Append `block`. Raises OSError (disk full); then what was written before still counts."""
        file, rest = self._opened, memoryview(block)
        while rest:
            count = file.write(rest)
            self._digest.update(rest[:count])
            self.size_bytes += count
            rest = rest[count:]
        due = time.monotonic() >= self._checkpoint_due_s
        if due and (self._checkpoint is None or self._checkpoint.done()):
            self._begin_checkpoint()

    @property
    def sha256(self) -> str:
        """Of what has arrived so far."""
        return self._digest.hexdigest()

    def finish(self) -> None:
        """Make everything durable."""
        self._begin_checkpoint()
        self._settle_checkpoint()

    def close(self) -> None:
        """Note the progress and let go of the file; the next process goes on from here."""
        if self._file is None:
            return
        with contextlib.suppress(OSError):  # a full disk: the note before this one stands
            if self.size_bytes and self.remote is not None:
                self.finish()
        self._syncer.shutdown()
        self._file.close()
        self._file = None

    @property
    def _opened(self) -> io.FileIO:
        if self._file is None:
            raise ValueError("the file is not open")
        return self._file

    def _begin_checkpoint(self) -> None:
        # Forcing bytes to disk takes longer than receiving them; it runs beside the writing, at most one at a time.
        self._settle_checkpoint()
        now_s = time.monotonic()
        self._checkpoint_due_s = now_s + min(now_s - self._began_s, _MAX_BETWEEN_CHECKPOINTS_S)
        if self.remote is not None and self.size_bytes != self._noted_bytes:
            self._noted_bytes = self.size_bytes
            progress = _Progress(remote=self.remote, durable_bytes=self.size_bytes, sha256=self.sha256)
            self._checkpoint = self._syncer.submit(self._write_note, progress)

    def _settle_checkpoint(self) -> None:
        checkpoint, self._checkpoint = self._checkpoint, None
        if checkpoint is not None:
            checkpoint.result()

    def _write_note(self, progress: _Progress) -> None:
        os.fsync(self._opened.fileno())
        durable_file.write(self._note, msgspec.json.encode(progress))

    def _read_note(self) -> _Progress | None:
        try:
            return msgspec.json.decode(self._note.read_bytes(), type=_Progress)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def _rehash(self, progress: _Progress) -> bool:
        digest, left = hashlib.sha256(), progress.durable_bytes
        self._opened.seek(0)
        while left:
            block = self._opened.read(min(left, _READ_BYTES))
            if not block:
                return False
            digest.update(block)
            left -= len(block)
        self._digest = digest
        return digest.hexdigest() == progress.sha256
