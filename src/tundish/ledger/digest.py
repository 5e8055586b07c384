"""Digests that mean something only to who holds the salt: HMAC-SHA-256 (RFC 2104) under a salt for each receipt."""

from __future__ import annotations

import hashlib
import os

SALT_BYTES = 16
_REST_OF_BLOCK = bytes(64 - SALT_BYTES)
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


def new_salt() -> bytes:
    """A fresh one, for one receipt only."""
    return os.urandom(SALT_BYTES)


class SaltedDigest:
    """Grows with the bytes that pass by. `hmac` does the same in three times the time.

    Raises:
        ValueError: the salt is not SALT_BYTES long.
    """

    __slots__ = ("_inner", "_outer", "update")

    def __init__(self, salt: bytes) -> None:
        if len(salt) != SALT_BYTES:
            raise ValueError(f"a salt has {SALT_BYTES} bytes, not {len(salt)}")
        key = salt + _REST_OF_BLOCK
        self._inner = hashlib.sha256(key.translate(_INNER))
        self._outer = hashlib.sha256(key.translate(_OUTER))
        self.update = self._inner.update
        """Take in more bytes. An attribute, since it is called for each chunk of a stream."""

    def hexdigest(self) -> str:
        """Of what came so far; more may follow."""
        return self._finish(self._inner.digest())

    def beside(self, content: bytes) -> str:
        """The digest of other bytes under the same salt, before any of these came."""
        inner = self._inner.copy()
        inner.update(content)
        return self._finish(inner.digest())

    def _finish(self, inner: bytes) -> str:
        outer = self._outer.copy()
        outer.update(inner)
        return outer.hexdigest()


def salted_digest(salt: bytes, content: bytes) -> str:
    """The hexadecimal digest of bytes that are all there."""
    digest = SaltedDigest(salt)
    digest.update(content)
    return digest.hexdigest()
