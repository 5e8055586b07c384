"""The ledger: takes receipts from the event loop, and writes, seals and counts them in threads of its own.

What can be lost, exactly:

- `kill -9`: what was recorded within the last `Timing.flush_s` (25 ms) and the time that one write takes. What has
  been written is the operating system's.
- power failure: what was recorded within the last `Timing.seal_s` (1 s) and the time that one fsync takes.
- a graceful close: nothing.
- a full disk: nothing while what waits has room in memory (`MAX_WAITING` receipts); then, with `OnProblem.CONTINUE`,
  what arrives until there is space again, and a leaf says how many. With `OnProblem.REFUSE` the ledger asks for no new
  requests as soon as a write failed.
"""

from __future__ import annotations

import dataclasses
import enum
import logging
import threading
import time
from pathlib import Path

from tundish.catalog import signing
from tundish.ledger.backlog import Backlog
from tundish.ledger.digest import SALT_BYTES
from tundish.ledger.errors import from_os_error
from tundish.ledger.keys import LedgerKeys
from tundish.ledger.layout import NO_SALT, ReceiptsFolder
from tundish.ledger.leaf import Amendment
from tundish.ledger.opening import OpenLog, open_log
from tundish.ledger.problems import Problems
from tundish.ledger.receipt import Receipt
from tundish.ledger.sealer import Sealer
from tundish.ledger.search import Found, find
from tundish.ledger.usage import Usage
from tundish.ledger.writer import SEGMENT_BYTES

_log = logging.getLogger("tundish.ledger")

MAX_WAITING = 20_000
"""Receipts that wait in memory for a disk at most, about 2 kB each."""
_BATCH = 64
"""Entries encoded before the event loop gets its turn: about half a millisecond."""
_CLOSE_S = 10.0


class OnProblem(enum.Enum):
    """What happens to requests while receipts cannot be written."""

    REFUSE = "refuse"
    CONTINUE = "continue"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """In seconds."""

    flush_s: float = 0.025
    """Receipts are gathered for so long before they are written together."""
    seal_s: float = 1.0
    """How often what was written is made durable and signed."""
    retry_s: float = 1.0
    """How often a failed write is tried again."""


class Ledger:
    """One process's receipts. `record` and the properties are for the event loop; the other methods wait for a disk."""

    def __init__(
        self, folder: Path, opened: OpenLog, ledger_keys: LedgerKeys, on_problem: OnProblem, timing: Timing
    ) -> None:
        self._folder = folder
        self._opened = opened
        self._refuses = on_problem is OnProblem.REFUSE
        self._timing = timing
        self._problems = Problems(folder, refuses=self._refuses)
        self._sealer = Sealer(opened, ledger_keys, self._problems, interval_s=timing.seal_s)
        self._backlog = Backlog(opened.first, limit=MAX_WAITING)
        self._wake = threading.Event()
        self._woken = False
        self._stop = threading.Event()
        self._writing = threading.Thread(target=self._write_all, name="receipts-writer", daemon=True)
        self._wake.set()
        self._writing.start()
        self._sealer.start()

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        on_problem: OnProblem = OnProblem.REFUSE,
        timing: Timing | None = None,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> Ledger:
        """The ledger of this process in the folder of receipts, which other processes share.

        Raises:
            LedgerUnavailable: the folder cannot be used.
            SigningKeyInvalid: the key there is damaged.
        """
        ledger_keys = LedgerKeys(folder / "keys")
        try:
            opened = open_log(folder, ledger_keys, segment_bytes=segment_bytes)
        except OSError as error:
            raise from_os_error(error, folder) from error
        return cls(folder, opened, ledger_keys, on_problem, timing or Timing())

    @property
    def log(self) -> str:
        """The name of this process's log."""
        return self._opened.writer.folder.name

    @property
    def public_key(self) -> str:
        """Of the key that signs now."""
        return signing.public_key_of(self._sealer.key)

    @property
    def problem(self) -> str | None:
        """Why receipts cannot be written now, in one sentence; None when they can."""
        if self._backlog.half_full and not self._problems.texts:
            return f"{len(self._backlog)} receipts wait for the disk of {self._folder}, which is too slow for them."
        return self._problems.first

    @property
    def accepting(self) -> str | None:
        """None: new requests may come. Else why not, in one sentence, for the client too."""
        if not self._problems.texts and not self._backlog.half_full:
            return None
        return f"No request is taken without a receipt. {self.problem or ''}".rstrip() if self._refuses else None

    @property
    def written(self) -> int:
        """Leaves of this process's log that the operating system has: `kill -9` takes none of them."""
        return self._opened.writer.size

    @property
    def lost(self) -> int:
        """Receipts that could not be kept since the process began; the log says so, too."""
        return self._backlog.lost

    @property
    def usage(self) -> Usage:
        """What this process's log came to; grows while it is looked at. `rows` and `total` copy."""
        return self._opened.writer.usage

    def record(self, receipt: Receipt, salt: bytes) -> None:
        """Take a receipt; never waits. It is written within `Timing.flush_s`, if the disk lets it.

        `salt`: SALT_BYTES, or empty for a receipt without digests. Another length is a mistake of the program, and is
        kept as none rather than that it shifts all that follow.
        """
        self._take(receipt, salt if len(salt) == SALT_BYTES else NO_SALT)

    def amend(self, amendment: Amendment) -> None:
        """Take an amendment; never waits."""
        self._take(amendment, NO_SALT)

    def find(self, request_id: str) -> Found:
        """The receipt of a request in any log of the folder. Reads files.

        Raises:
            ReceiptNotFound: there is none, or not yet.
        """
        return find(ReceiptsFolder(self._folder), request_id)

    def sync(self, timeout_s: float = 10.0) -> bool:
        """Wait until all that was recorded before is written, durable and signed; False if that failed."""
        writer = self._opened.writer
        deadline_s = time.monotonic() + timeout_s
        taken = self._backlog.taken
        while self._backlog.settled < taken:
            if time.monotonic() > deadline_s:
                return False
            self._wake.set()
            time.sleep(0.002)
        while writer.sealed_size < writer.size:
            if time.monotonic() > deadline_s:
                return False
            time.sleep(0.002)
        return True

    def close(self) -> None:
        """Write, seal and count everything, then let the log go. Waits for the disk, but not for one that hangs."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._wake.set()
        self._writing.join(_CLOSE_S)
        if not self._sealer.stop(_CLOSE_S) or self._writing.is_alive():
            _log.error("The disk of %s does not answer; the last receipts may be missing.", self._folder)
            return
        if self._backlog.unwritten:
            why = self.problem or "the disk did not take them"
            _log.error("%d receipts were lost: %s", self._backlog.unwritten, why)
        self._sealer.seal()
        self._opened.close()

    def _take(self, entry: Receipt | Amendment, salt: bytes) -> None:
        if not self._backlog.take(entry, salt):
            at_us = entry.arrived_us if isinstance(entry, Receipt) else entry.time_us
            reason = self.problem or "the disk did not keep up"
            if self._backlog.lose(at_us, reason):
                _log.error("RECEIPTS ARE BEING LOST. %s", reason)
        elif not self._woken:
            self._woken = True
            self._wake.set()

    def _write_all(self) -> None:
        """The writer's thread."""
        while not self._stop.is_set():
            self._wake.wait()
            self._stop.wait(self._timing.flush_s)
            self._wake.clear()
            self._woken = False
            while not self._write_waiting() and not self._stop.wait(self._timing.retry_s):
                pass
        self._write_waiting()

    def _write_waiting(self) -> bool:
        """Write all that waits; False if that failed, and nothing is lost by it."""
        while batch := self._backlog.batch(_BATCH):
            try:
                self._opened.writer.append(batch)
            except OSError as error:
                self._problems.began("write", error)
                return False
            self._backlog.settle()
            self._problems.ended("write")
        return True
