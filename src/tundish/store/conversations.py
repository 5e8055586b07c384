"""Which data classes each conversation has had, beyond this process's life. Nothing here makes a request wait."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping

from tundish.store.database import Database
from tundish.store.errors import StoreUnavailable

_log = logging.getLogger("tundish.store")

_INTERVAL_S = 0.5
_MOST_PENDING = 100_000
_PRUNE_S = 60.0
_STAMP_AGAIN_S = 3600.0
"""How exact the time of a conversation's last request is kept; its age limit is days."""

_UPSERT = """
INSERT INTO conversation (key, data_class, seen_s, revision) VALUES (?, ?, ?, ?)
ON CONFLICT (key, data_class) DO UPDATE SET seen_s = max(seen_s, excluded.seen_s), revision = excluded.revision
WHERE excluded.seen_s > seen_s + ?
"""


class ConversationStore:
    """Remembers each class that a conversation has had; the policy in force says which of them is the highest.

    `remember` only notes; a thread writes what was noted, twice a second. A killed process loses what was noted since
    (≤ the interval, longer while the disk is full: then at most `most_pending` conversations wait, and `problem` says
    why). Beyond `most` conversations the longest unused are forgotten, as are those unused for `keep_s`.
    """

    def __init__(
        self,
        database: Database,
        *,
        most: int = 1_000_000,
        keep_s: float = 30 * 86_400.0,
        interval_s: float = _INTERVAL_S,
        most_pending: int = _MOST_PENDING,
        unix_s: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._most = most
        self._keep_s = keep_s
        self._interval_s = interval_s
        self._most_pending = most_pending
        self._unix_s = unix_s
        self._pending: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._seen_revision = 0
        self._prune_at_s = 0.0
        self.problem: str | None = None
        """Why what was noted is not written; None while it is."""
        self.lost = 0
        """Notes that were given up since so many waited."""

    def start(self) -> None:
        """Begin to write."""
        if self._thread is None:
            self._closing = False
            self._wake.clear()
            self._thread = threading.Thread(target=self._write_for_ever, name="conversations", daemon=True)
            self._thread.start()

    def bound(self, *, most: int, keep_s: float) -> None:
        """Keep so many from now on, for so long."""
        self._most, self._keep_s = most, keep_s

    def remember(self, key: str, data_class: str) -> None:
        """Note that a request of this conversation had this class. A microsecond; never blocks on the disk."""
        note = (key, data_class)
        with self._lock:
            self._pending[note] = self._unix_s()
            self._pending.move_to_end(note)
            self._bound_pending()

    def load(self) -> Mapping[str, tuple[str, ...]]:
        """All conversations with the classes they have had, the longest unused first. Blocks.

        Raises:
            StoreUnavailable: (and its kin) they cannot be read.
        """
        with self._database.reading() as connection:
            rows = connection.execute("SELECT key, data_class FROM conversation ORDER BY seen_s").fetchall()
            self._seen_revision = self._revision(connection)
        return _by_key(rows)

    def updates(self) -> Mapping[str, tuple[str, ...]]:
        """What changed since `load` or the last call of this, by whatever process. Blocks; raises likewise."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT key, data_class FROM conversation WHERE revision > ?", (self._seen_revision,)
            ).fetchall()
            self._seen_revision = self._revision(connection)
        return _by_key(rows)

    def flush(self) -> None:
        """Write what was noted, and forget what is too old or too much. Blocks.

        Raises:
            StoreUnavailable: (and its kin) it was not written, and is still noted.
        """
        with self._lock:
            batch, self._pending = self._pending, OrderedDict()
        now_s = self._unix_s()
        prune = now_s >= self._prune_at_s or now_s < self._prune_at_s - _PRUNE_S  # or: the clock was set back
        if not batch and not prune:
            return
        try:
            with self._database.writing(durable=False) as connection:
                connection.execute("UPDATE revision SET revision = revision + 1 WHERE subject = 'conversation'")
                revision = self._revision(connection)
                connection.executemany(
                    _UPSERT,
                    [(key, name, seen_s, revision, _STAMP_AGAIN_S) for (key, name), seen_s in batch.items()],
                )
                if prune:
                    self._prune(connection)
        except BaseException:
            with self._lock:
                batch.update(self._pending)
                self._pending = batch
                self._bound_pending()
            raise
        if prune:
            self._prune_at_s = now_s + _PRUNE_S

    def close(self) -> None:
        """Write what is left and stop writing. Blocks; raises nothing: what could not be written is in the log."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._closing = True
            self._wake.set()
            thread.join()
        self._try_to_flush()

    def _bound_pending(self) -> None:
        while len(self._pending) > self._most_pending:
            self._pending.popitem(last=False)
            self.lost += 1

    def _prune(self, connection: sqlite3.Connection) -> None:
        """Forget a conversation as a whole: its highest class must not go before it does."""
        connection.execute(
            "DELETE FROM conversation WHERE key IN (SELECT key FROM conversation GROUP BY key HAVING max(seen_s) < ?)",
            (self._oldest_s(),),
        )
        connection.execute(
            "DELETE FROM conversation WHERE key IN "
            "(SELECT key FROM conversation GROUP BY key ORDER BY max(seen_s) DESC LIMIT -1 OFFSET ?)",
            (self._most,),
        )

    def _oldest_s(self) -> float:
        return self._unix_s() - self._keep_s

    @staticmethod
    def _revision(connection: sqlite3.Connection) -> int:
        return connection.execute("SELECT revision FROM revision WHERE subject = 'conversation'").fetchone()[0]

    def _write_for_ever(self) -> None:
        while not self._closing:
            self._wake.wait(self._interval_s)
            self._try_to_flush()

    def _try_to_flush(self) -> None:
        try:
            self.flush()
        except StoreUnavailable as error:
            if self.problem is None:
                _log.error("The classes of conversations are not written: %s", error)
            self.problem = str(error)
        except Exception as error:  # noqa: BLE001 - logged; the thread must not end
            if self.problem is None:
                _log.exception("The classes of conversations are not written")
            self.problem = f"{type(error).__name__}: {error}"
        else:
            if self.problem is not None:
                _log.warning("The classes of conversations are written again.")
            self.problem = None


def _by_key(rows: Iterable[tuple[str, str]]) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for key, data_class in rows:
        found[key] = (*found.pop(key, ()), data_class)
    return found
