"""The thread that makes a log durable, signs it, and hands it over to a new key."""

from __future__ import annotations

import contextlib
import logging
import threading
import time

from tundish.catalog import signing
from tundish.ledger import keys
from tundish.ledger.keys import LedgerKeys
from tundish.ledger.layout import NO_SALT
from tundish.ledger.opening import OpenLog, now_us
from tundish.ledger.problems import Problems

_log = logging.getLogger("tundish.ledger")

_USAGE_KEPT_EVERY_S = 10.0


class Sealer:
    """Seals every `interval_s` seconds what came since, if anything did."""

    def __init__(self, opened: OpenLog, ledger_keys: LedgerKeys, problems: Problems, *, interval_s: float) -> None:
        self._writer = opened.writer
        self._keys = ledger_keys
        self._problems = problems
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="receipts-sealer", daemon=True)
        self.key = opened.key
        """Signs now."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """End the thread; False if it hangs on the disk."""
        self._stop.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def seal(self) -> None:
        """Seal now what came since, and write down what was counted."""
        self._seal()
        self._keep_usage()

    def _run(self) -> None:
        kept_s = time.monotonic()
        while not self._stop.wait(self._interval_s):
            self._hand_over()
            self._seal()
            if time.monotonic() - kept_s >= _USAGE_KEPT_EVERY_S:
                self._keep_usage()
                kept_s = time.monotonic()

    def _seal(self) -> None:
        try:
            self._writer.seal(self.key, now_us())
        except OSError as error:
            self._problems.began("seal", error)
        else:
            self._problems.ended("seal")

    def _hand_over(self) -> None:
        """Take up a key that another process made, with the old one's signature."""
        if not self._keys.has_changed():
            return
        try:
            fresh = self._keys.own()
            public = signing.public_key_of(fresh)
            if public == signing.public_key_of(self.key):
                return
            self._writer.append([(keys.rotated(self._writer.folder.name, self.key, public, now_us()), NO_SALT)])
        except (OSError, signing.SigningKeyInvalid) as error:
            self._keys.forget()  # so that it is tried again
            _log.error("The new signing key cannot be taken up; the old one signs on: %s", error)
            return
        self.key = fresh
        _log.info("The receipts are signed by the new key %s from now on.", public)

    def _keep_usage(self) -> None:
        with contextlib.suppress(OSError):  # it is counted again from the leaves then
            self._writer.keep_usage()
