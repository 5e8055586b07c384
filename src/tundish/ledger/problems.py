"""Why receipts cannot be written at the moment; said loudly when it begins and when it is over."""

from __future__ import annotations

import logging
from pathlib import Path

from tundish.ledger.errors import from_os_error

_log = logging.getLogger("tundish.ledger")


class Problems:
    """Of one ledger; told by its threads, asked by the event loop."""

    def __init__(self, folder: Path, *, refuses: bool) -> None:
        self._folder = folder
        self._then = "New requests are refused until they can." if refuses else "Requests go on without them."
        self.texts: dict[str, str] = {}
        """What fails now → why, as a sentence."""

    @property
    def first(self) -> str | None:
        """One of them, as a sentence."""
        return next(iter(tuple(self.texts.values())), None)

    def began(self, what: str, error: OSError) -> None:
        """`what` (`write`, `seal`) failed."""
        text = str(from_os_error(error, self._folder))
        if what not in self.texts:
            _log.error("RECEIPTS CANNOT BE WRITTEN. %s %s", text, self._then)
        self.texts[what] = text

    def ended(self, what: str) -> None:
        """`what` succeeded."""
        if self.texts and self.texts.pop(what, None) is not None and not self.texts:
            _log.warning("Receipts can be written again.")
