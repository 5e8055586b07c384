"""Digests that mean something only to who holds the salt: HMAC-SHA-256 (RFC 2104) under a salt for each receipt."""

from __future__ import annotations

import hmac
import os

SALT_BYTES = 16


def new_salt() -> bytes:
    """A fresh one, for one receipt only."""
    return os.urandom(SALT_BYTES)


class SaltedDigest:
    """Grows with the bytes that pass by.

    Raises:
        ValueError: the salt is not SALT_BYTES long.
    """

    __slots__ = ("_mac", "update")

    def __init__(self, salt: bytes) -> None:
        if len(salt) != SALT_BYTES:
            raise ValueError(f"a salt has {SALT_BYTES} bytes, not {len(salt)}")
        self._mac = hmac.new(salt, digestmod="sha256")
        self.update = self._mac.update
        """Take in more bytes. An attribute, since it is called for each chunk of a stream."""

    def hexdigest(self) -> str:
        """Of what came so far; more may follow."""
        return self._mac.hexdigest()


def salted_digest(salt: bytes, content: bytes) -> str:
    """The hexadecimal digest of bytes that are all there."""
    digest = SaltedDigest(salt)
    digest.update(content)
    return digest.hexdigest()
