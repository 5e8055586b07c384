"""What an examination of receipts finds."""

from __future__ import annotations

import dataclasses
import enum


class Kind(enum.Enum):
    """What was done to the log."""

    CHANGED = "changed"
    REMOVED = "removed"
    INSERTED = "inserted"
    REORDERED = "reordered"
    TRUNCATED = "truncated"
    """Cut off at the end."""
    REWRITTEN = "rewritten"
    """A head that someone kept does not fit: there is, or was, another log under the same name."""
    SIGNATURE = "signature"
    """A head or a handing over of the key is not signed as it must be, or by a key that is not trusted."""
    INDEX = "index"
    """The index beside the leaves was altered; the leaves themselves are whole."""
    LOG_REMOVED = "log removed"
    """Another log has seen a log that is not there."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong."""

    kind: Kind
    log: str
    index: int | None = None
    """The first leaf that it concerns; for what was inserted: the position where it stands now."""
    count: int = 1
    """How many leaves, one after the other."""
    request_id: str = ""
    """Of the first of them, if it is a receipt."""
    detail: str = ""

    def __str__(self) -> str:
        where = f"log {self.log}"
        if self.index is not None:
            where += f", leaf {self.index}" if self.count == 1 else f", leaves {self.index} … {self.last}"
        named = f", request {self.request_id}" if self.request_id else ""
        return f"{self.kind.value}: {where}{named}{f' – {self.detail}' if self.detail else ''}"

    @property
    def last(self) -> int | None:
        """The last leaf that it concerns."""
        return None if self.index is None else self.index + self.count - 1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LogReport:
    """What one log holds."""

    log: str
    leaves: int
    receipts: int
    sealed: int
    """Leaves that a genuine head covers."""
    amendments: int
    lost: int
    """Receipts that the log itself says were lost (a full disk)."""
    keys: tuple[str, ...]
    """The public keys that signed it, in their order."""

    @property
    def unsealed(self) -> int:
        """Leaves at the end that no head covers yet; they prove nothing. More than a second's only after a crash."""
        return max(0, self.leaves - self.sealed)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What several logs hold, verified together."""

    logs: tuple[LogReport, ...]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings
