"""Ed25519 keys (RFC 8032): this machine's own, made when it is first needed, and those of others that it trusts.

    <keys folder>/signing-key       the private key, readable by its owner only
    <keys folder>/trusted/*.pub     public keys of others, one in each file

A public key is written as `ed25519:` and 43 characters of URL-safe base64.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tundish.catalog import durable_file
from tundish.core.errors import InvalidRequest, TundishError

_PREFIX = "ed25519:"
_KEY_BYTES = 32


class SigningKeyInvalid(TundishError):
    """This machine's signing key cannot be read; made anew, others would have to trust it anew."""

    code = "signing_key_invalid"


class KeyFolder:
    """The keys in `folder`, which need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def own(self) -> Ed25519PrivateKey:
        """The key that this machine signs with; made the first time.

        Raises:
            SigningKeyInvalid: the file is damaged.
            OSError: it cannot be read or written.
        """
        path = self._folder / "signing-key"
        try:
            return _private(path, path.read_bytes())
        except FileNotFoundError:
            pass
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".signing-key.{secrets.token_hex(4)}")
        durable_file.write(draft, _encode(secrets.token_bytes(_KEY_BYTES)).encode() + b"\n", private=True)
        try:
            # A link never replaces the key of a process that was quicker.
            os.link(draft, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        return _private(path, path.read_bytes())

    def trusts(self, public_key: str) -> bool:
        """Whether bundles of that signer may be imported: it is this machine, or was trusted before."""
        if (self._folder / "signing-key").is_file() and public_key_of(self.own()) == public_key:
            return True
        trusted = self._folder / "trusted"
        files = sorted(trusted.glob("*.pub")) if trusted.is_dir() else []
        return any(public_key in file.read_text(encoding="utf-8").split() for file in files)

    def trust(self, public_key: str) -> Path:
        """Trust that signer from now on; returns the file to delete to take it back.

        Raises:
            InvalidRequest: it is not a public key.
        """
        _public(public_key)
        folder = self._folder / "trusted"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{hashlib.sha256(public_key.encode()).hexdigest()[:16]}.pub"
        durable_file.write(path, public_key.encode() + b"\n")
        return path


def public_key_of(key: Ed25519PrivateKey) -> str:
    """The text form of its public half."""
    return _PREFIX + _encode(key.public_key().public_bytes_raw())


def sign(key: Ed25519PrivateKey, purpose: str, content: bytes) -> str:
    """A signature of `content` for `purpose` only, as base64."""
    return _encode(key.sign(_bound(purpose, content)))


def verify(public_key: str, signature: str, purpose: str, content: bytes) -> bool:
    """Whether `signature` is that key's, for that purpose and content.

    Raises:
        InvalidRequest: `public_key` is not one.
    """
    try:
        _public(public_key).verify(_decode(signature), _bound(purpose, content))
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def _bound(purpose: str, content: bytes) -> bytes:
    # The purpose keeps a signature of one kind of thing from being passed off as that of another.
    return purpose.encode("ascii") + b"\0" + content


def _private(path: Path, content: bytes) -> Ed25519PrivateKey:
    try:
        return Ed25519PrivateKey.from_private_bytes(_decode(content.decode("ascii").strip()))
    except (ValueError, binascii.Error):
        raise SigningKeyInvalid(
            f"The signing key {path} is damaged. Restore it, or delete it: then a new one is made, which whoever "
            "imports your bundles has to trust anew."
        ) from None


def _public(text: str) -> Ed25519PublicKey:
    try:
        if text.startswith(_PREFIX):
            return Ed25519PublicKey.from_public_bytes(_decode(text.removeprefix(_PREFIX)))
    except (ValueError, binascii.Error):
        pass
    raise InvalidRequest(f"{text!r} is not a public key; one looks like {_PREFIX}… with 43 characters after it.")


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode("ascii").rstrip("=")


def _decode(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
