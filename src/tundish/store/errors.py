"""What can go wrong with the store. It stops nobody who already answers: it refuses what needs it, and says why."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tundish.core.errors import Unavailable

_NO_SPACE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_NO_WAY_IN = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH)


class StoreUnavailable(Unavailable):
    """The store cannot be read or written now; what it had acknowledged before is still in it, if it is whole."""

    code = "store_unavailable"


class StoreDamaged(StoreUnavailable):
    """The store's file is no database, or a broken one."""

    code = "store_damaged"
    retryable = False


class StoreTooNew(StoreUnavailable):
    """A newer Tundish has written it."""

    code = "store_too_new"
    retryable = False


def translated(error: sqlite3.Error, path: Path) -> StoreUnavailable:
    """What `error` means to whoever runs this endpoint, and what to do."""
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if code in _DAMAGED:
        return StoreDamaged(
            f"The store {path} is damaged ({error}). Stop the endpoint, move the file and its -wal and -shm away, and "
            "put a backup there; without one, what was added at run time has to be added again."
        )
    if code in _BUSY:
        return StoreUnavailable(f"Another process has been writing to the store {path} for seconds. Try again.")
    if code in _NO_SPACE:
        return StoreUnavailable(f"The store {path} cannot be written ({error}). Is the disk full?", retry_after_s=10.0)
    if code in _NO_WAY_IN:
        return StoreUnavailable(
            f"The store {path} cannot be opened or written ({error}). Check the folder and its permissions.",
            retry_after_s=10.0,
        )
    return StoreUnavailable(f"The store {path} failed: {error}.", retry_after_s=10.0)
