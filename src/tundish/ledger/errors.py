"""What can go wrong with receipts.

TundishError
├── NotFound
│   └── ReceiptNotFound      no receipt of that request
├── InvalidRequest
│   └── ProofInvalid         not a proof, or none that can be read
├── Unavailable
│   └── NotSealedYet         the receipt is written, its signed head comes within a second
├── LogDamaged               a log is not what its signed heads say; it is left as it is
└── LedgerUnavailable        the folder of receipts cannot be read or written
"""

from __future__ import annotations

from pathlib import Path

from tundish.core.errors import InvalidRequest, NotFound, TundishError, Unavailable


class ReceiptNotFound(NotFound):
    """No receipt of that request."""

    code = "receipt_not_found"

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"There is no receipt of the request {request_id!r} here. The id is in the answer's x-request-id header; "
            "`tundish receipts list` shows the latest. A receipt appears a moment after its answer ended."
        )
        self.request_id = request_id


class ProofInvalid(InvalidRequest):
    """A file that is no proof."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="proof_invalid")


class NotSealedYet(Unavailable):
    """Written, but no signed head covers it yet."""

    code = "receipt_not_sealed"


class LogDamaged(TundishError):
    """A log is not what its signed heads say. Nothing of it was touched."""

    code = "receipts_damaged"


class LedgerUnavailable(TundishError):
    """The folder of receipts cannot be used."""

    code = "receipts_unavailable"


def from_os_error(error: OSError, folder: Path) -> LedgerUnavailable:
    """What the user is told when the system refused."""
    return LedgerUnavailable(
        f"The receipts in {folder} cannot be used: {error.strerror or error}. Is the disk mounted, writable, yours, "
        "and is there space on it?"
    )
