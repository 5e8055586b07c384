"""An SQLite file: opened, brought to the newest schema, and read and written in transactions."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tundish.store.errors import StoreDamaged, StoreTooNew, StoreUnavailable, translated
from tundish.store.migrations import MIGRATIONS

_BUSY_S = 5.0


class Database:
    """One file. Connections are opened for each transaction, so that nothing is held while nothing is done, and a file
    that was replaced is noticed. All of it blocks: call it in a thread.
    """

    def __init__(self, path: Path, *, busy_s: float = _BUSY_S, migrations: Sequence[str] = MIGRATIONS) -> None:
        """
        Args:
            path: the file; made when it is not there.
            busy_s: how long to wait for other processes that write.
            migrations: the schema, from nothing to the newest; each is applied once.
        """
        self.path = path
        self._busy_s = busy_s
        self._migrations = migrations

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection, None, None]:
        """A transaction that sees one state of the store.

        Raises:
            StoreUnavailable: (and its kin) it cannot be read.
        """
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self, *, durable: bool = True) -> Generator[sqlite3.Connection, None, None]:
        """A transaction that writes: all of it is kept when the block ends well, else nothing.

        Args:
            durable: whether it also survives a power cut; a killed process never loses it.

        Raises:
            StoreUnavailable: (and its kin) nothing was written.
        """
        with self._transaction("BEGIN IMMEDIATE", durable=durable) as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: str, *, durable: bool = True) -> Generator[sqlite3.Connection, None, None]:
        try:
            with contextlib.closing(self._connect()) as connection:
                connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                self._migrate(connection)
                connection.execute(begin)
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    # A full disk has rolled back already, and then this is an error that hides the first.
                    with contextlib.suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                    raise
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    def _connect(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Made before SQLite does, so that nobody else may read it; the -wal and -shm files take its mode.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise StoreUnavailable(
                f"The store {self.path} cannot be opened ({error.strerror or error}). Check the folder and the disk.",
                retry_after_s=10.0,
            ) from error
        connection = sqlite3.connect(self.path, timeout=self._busy_s, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=WAL").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        if self._version(connection) == len(self._migrations):
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute("CREATE TABLE IF NOT EXISTS migration (version INTEGER PRIMARY KEY) STRICT")
            version = self._version(connection)  # another process may have been faster
            for number, statement in enumerate(self._migrations[version:], start=version + 1):
                connection.execute(statement)
                connection.execute("INSERT INTO migration (version) VALUES (?)", (number,))
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    def _version(self, connection: sqlite3.Connection) -> int:
        known = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'migration'").fetchone()[0]
        if not known:
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise StoreDamaged(f"{self.path} is another program's database. Move it away.")
            return 0
        version = connection.execute("SELECT coalesce(max(version), 0) FROM migration").fetchone()[0]
        if version > len(self._migrations):
            raise StoreTooNew(
                f"The store {self.path} was written by a newer Tundish (its schema is {version}, this one knows "
                f"{len(self._migrations)}). Use that one, or another data_dir."
            )
        return version
