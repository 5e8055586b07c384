"""Signed heads: a signature over the size and the root of a log, which covers every leaf up to there."""

from __future__ import annotations

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tundish.catalog import signing
from tundish.core.errors import InvalidRequest
from tundish.ledger.merkle import HASH_BYTES, Frontier

_PURPOSE = "tundish receipts head"


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What a log was at one moment, signed. Whoever keeps one can tell later whether the log only grew."""

    log: str
    size: int
    root: str
    """Hexadecimal."""
    time_us: int
    """Unix time in microseconds, by the signer's clock: for people; the order of the log is not the clock's."""
    key: str
    """The public key that signed, `ed25519:…`."""
    signature: str

    def is_genuine(self) -> bool:
        """Whether the signature is that key's; says nothing about whose key it is."""
        try:
            return signing.verify(self.key, self.signature, _PURPOSE, _signed_text(self))
        except InvalidRequest:
            return False


class Resumption(msgspec.Struct, frozen=True, kw_only=True):
    """Where the log goes on after a head. Not signed: what it says is checked against the head and the files."""

    segment: str
    """The file that holds the end."""
    offset: int
    """Bytes of it."""
    peaks: tuple[str, ...]
    """The tree's frontier, hexadecimal."""


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the file of heads."""

    head: Head
    resumption: Resumption

    def frontier(self) -> Frontier | None:
        """The tree at that head; None if what was written down does not lead to the signed root."""
        try:
            peaks = [bytes.fromhex(peak) for peak in self.resumption.peaks]
            frontier = Frontier(self.head.size, peaks)
        except ValueError:
            return None
        whole = all(len(peak) == HASH_BYTES for peak in peaks)
        return frontier if whole and frontier.root().hex() == self.head.root else None


def sign(key: Ed25519PrivateKey, *, log: str, size: int, root: bytes, time_us: int) -> Head:
    """A head for a log as it is now."""
    draft = Head(log=log, size=size, root=root.hex(), time_us=time_us, key=signing.public_key_of(key), signature="")
    return msgspec.structs.replace(draft, signature=signing.sign(key, _PURPOSE, _signed_text(draft)))


def _signed_text(head: Head) -> bytes:
    return f"{head.log}\n{head.size}\n{head.root}\n{head.time_us}\n{head.key}".encode("utf-8", "replace")


_seal_decoder = msgspec.json.Decoder(Seal)
_head_decoder = msgspec.json.Decoder(Head)


def encode_seal(seal: Seal) -> bytes:
    """A line, with its line feed."""
    return msgspec.json.encode(seal) + b"\n"


def decode_seal(line: bytes) -> Seal | None:
    """None if it is none."""
    try:
        return _seal_decoder.decode(line)
    except (msgspec.MsgspecError, ValueError):
        return None


def decode_head(content: bytes) -> Head:
    """A head that someone kept, as `tundish receipts head --json` prints it.

    Raises:
        ValueError: it is none.
    """
    try:
        return _head_decoder.decode(content)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None
