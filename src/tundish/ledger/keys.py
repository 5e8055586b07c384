"""Who signs the logs. One key for the folder of receipts; when it is changed, the old one signs the new one over.

keys/signing-key          signs now
keys/retired/…            what signed before, only until each log has been handed over; then it is destroyed
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tundish.catalog import durable_file, signing
from tundish.catalog.signing import KeyFolder
from tundish.core.errors import InvalidRequest
from tundish.ledger.leaf import Rotated

_PURPOSE = "tundish receipts key"


class LedgerKeys:
    """The keys in `folder`, which need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._retired = folder / "retired"
        self._path = folder / "signing-key"
        self._seen_ns = 0

    def own(self) -> Ed25519PrivateKey:
        """The key that signs now; made the first time.

        Raises:
            SigningKeyInvalid: the file is damaged.
            OSError: it cannot be read or written.
        """
        key = KeyFolder(self._folder).own()
        self._seen_ns = self._changed_ns()
        return key

    def has_changed(self) -> bool:
        """Whether another process has made a new one since `own` was asked."""
        return self._changed_ns() not in (0, self._seen_ns)

    def forget(self) -> None:
        """Have `has_changed` say so again."""
        self._seen_ns = -1

    def of(self, public_key: str) -> Ed25519PrivateKey | None:
        """The private half of a key that signs now or signed before; None once it was destroyed."""
        own = self.own()
        if signing.public_key_of(own) == public_key:
            return own
        folder = self._retired / _file_name(public_key)
        try:
            return KeyFolder(folder).own() if folder.is_dir() else None
        except OSError:
            return None

    def renew(self) -> tuple[str, str]:
        """Retire the key for a new one; returns the old and the new public key.

        Raises:
            OSError: it was not written; the old one signs on.
        """
        old = signing.public_key_of(self.own())
        retired = self._retired / _file_name(old)
        retired.mkdir(parents=True, exist_ok=True)
        durable_file.write(retired / "signing-key", self._path.read_bytes(), private=True)
        fresh = base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=") + b"\n"
        durable_file.write(self._path, fresh, private=True)
        return old, signing.public_key_of(self.own())

    def destroy(self, public_key: str) -> None:
        """Delete the private half of a retired key: nobody can sign with it any more, the owner included."""
        folder = self._retired / _file_name(public_key)
        with contextlib.suppress(FileNotFoundError):
            (folder / "signing-key").unlink()
            folder.rmdir()

    def retired(self) -> list[str]:
        """Public keys whose private half still waits for a log to be handed over."""
        if not self._retired.is_dir():
            return []
        return [signing.public_key_of(KeyFolder(path).own()) for path in sorted(self._retired.iterdir())]

    def _changed_ns(self) -> int:
        try:
            return self._path.stat().st_mtime_ns
        except OSError:
            return 0


def rotated(log: str, old: Ed25519PrivateKey, new: str, time_us: int) -> Rotated:
    """The old key's statement that the new one signs that log from now on."""
    public = signing.public_key_of(old)
    return Rotated(
        old=public, new=new, time_us=time_us, signature=signing.sign(old, _PURPOSE, _text(log, public, new, time_us))
    )


def is_genuine(log: str, statement: Rotated) -> bool:
    """Whether the old key signed it."""
    content = _text(log, statement.old, statement.new, statement.time_us)
    try:
        return signing.verify(statement.old, statement.signature, _PURPOSE, content)
    except InvalidRequest:
        return False


def _text(log: str, old: str, new: str, time_us: int) -> bytes:
    return f"{log}\n{old}\n{new}\n{time_us}".encode("utf-8", "replace")


def _file_name(public_key: str) -> str:
    return hashlib.sha256(public_key.encode()).hexdigest()[:16]
