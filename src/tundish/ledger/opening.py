"""Choosing a log to write: each process has one to itself."""

from __future__ import annotations

import dataclasses
import logging
import secrets
import time
from pathlib import Path

import filelock
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tundish.catalog import durable_file, signing
from tundish.ledger import keys, layout
from tundish.ledger.errors import LogDamaged
from tundish.ledger.head import Head
from tundish.ledger.keys import LedgerKeys
from tundish.ledger.layout import ReceiptsFolder
from tundish.ledger.leaf import Entry, Opened, Resumed
from tundish.ledger.recovery import LogEnd, recover
from tundish.ledger.usage_count import counted
from tundish.ledger.writer import SEGMENT_BYTES, LogWriter

_log = logging.getLogger("tundish.ledger")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OpenLog:
    """A log that this process holds."""

    writer: LogWriter
    lock: filelock.BaseFileLock
    key: Ed25519PrivateKey
    first: tuple[Entry, ...]
    """What has to be written before anything else."""

    def close(self) -> None:
        """Let it go."""
        self.writer.close()
        self.lock.release()


def now_us() -> int:
    """Unix time in microseconds."""
    return time.time_ns() // 1000


def open_log(folder: Path, ledger_keys: LedgerKeys, *, segment_bytes: int = SEGMENT_BYTES) -> OpenLog:
    """Take the first log of the folder that no other process holds, or begin one. Waits for the disk.

    A damaged log is said, and left as it is: it is evidence.

    Raises:
        OSError, SigningKeyInvalid: the folder or the key cannot be used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    own = ledger_keys.own()
    public = signing.public_key_of(own)
    publish_key(folder, public)
    for name in ReceiptsFolder(folder).logs():
        try:
            opened = take_log(folder, name, ledger_keys, segment_bytes=segment_bytes)
        except LogDamaged as error:
            _log.error("%s It is left as it is, and new receipts go to another log.", error)
        else:
            if opened is not None:
                return opened
    name = secrets.token_hex(8)
    (folder / name).mkdir()
    lock = _lock(folder / name)
    lock.acquire(blocking=False)
    writer = LogWriter(folder / name, recover(folder / name), counted(ReceiptsFolder(folder), name))
    first = Opened(log=name, key=public, time_us=now_us(), others=_other_heads(folder, name))
    return OpenLog(writer=writer, lock=lock, key=own, first=(first,))


def publish_key(folder: Path, public_key: str) -> None:
    """Write down the public key that signs now, to be given away.

    Raises:
        OSError: it was not.
    """
    path = folder / layout.PUBLIC_KEY
    if not path.is_file() or path.read_text(encoding="utf-8").strip() != public_key:
        durable_file.write(path, public_key.encode() + b"\n")


def take_log(folder: Path, name: str, ledger_keys: LedgerKeys, *, segment_bytes: int = SEGMENT_BYTES) -> OpenLog | None:
    """Go on with that log; None if another process holds it.

    Raises:
        LogDamaged: nobody can go on with it: it is not what its heads say, or its key is no more.
        OSError: it cannot be read or written.
    """
    lock = _lock(folder / name)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        return None
    try:
        end = recover(folder / name)
        old = ledger_keys.of(end.key) if end.key else ledger_keys.own()
        if old is None:
            raise LogDamaged(f"The key {end.key} that signs the log {folder / name} is not here any more.")
        writer = LogWriter(folder / name, end, counted(ReceiptsFolder(folder), name), segment_bytes=segment_bytes)
    except BaseException:
        lock.release()
        raise
    own = ledger_keys.own()
    return OpenLog(writer=writer, lock=lock, key=own, first=_first_entries(folder, name, end, old, own))


def _first_entries(
    folder: Path, name: str, end: LogEnd, old: Ed25519PrivateKey, own: Ed25519PrivateKey
) -> tuple[Entry, ...]:
    public = signing.public_key_of(own)
    others = _other_heads(folder, name)
    if end.frontier.size == 0:
        return (Opened(log=name, key=public, time_us=now_us(), others=others),)
    if end.cut_bytes:
        _log.warning(
            "The end of the log %s was torn by whatever stopped the process before; %d bytes were cut off and kept "
            "beside it. At most one receipt of each write that was under way is missing.",
            folder / name,
            end.cut_bytes,
        )
    unsealed = end.sealed_size if end.frontier.size > end.sealed_size else None
    resumed = Resumed(time_us=now_us(), unsealed_from=unsealed, cut_bytes=end.cut_bytes, others=others)
    if end.key == public:
        return (resumed,)
    return (keys.rotated(name, old, public, now_us()), resumed)


def _other_heads(folder: Path, name: str) -> tuple[Head, ...]:
    receipts = ReceiptsFolder(folder)
    seals = (layout.last_seal(receipts, other) for other in receipts.logs() if other != name)
    return tuple(seal.head for seal in seals if seal is not None)


def _lock(folder: Path) -> filelock.BaseFileLock:
    # Not of a thread: the ledger is closed by whichever thread ends the process.
    return filelock.FileLock(folder / layout.LOCK, thread_local=False)
