"""A saved prefix on disk: llama.cpp's file, and what must be known of it before it is used."""

from __future__ import annotations

import array
import hashlib
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

_MAGIC = b"qsgg"
"""`ggsq` as llama.cpp writes it, little-endian."""
_HEAD = struct.Struct("<4sII")
_READ_BYTES = 1024 * 1024


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """The content of an entry's `.json`, which is written last: a state without one does not count."""

    name: str
    """What the prefix's token ids hash to."""
    model: str
    """The fingerprint under which it was saved."""
    tokens: int
    """Of the prefix: so many are promised to be reused."""
    file_bytes: int
    sha256: str
    hits: int = 0
    last_used_s: float = 0.0
    """Unix time."""


decode_entry = msgspec.json.Decoder(Entry).decode
encode_entry = msgspec.json.Encoder().encode


def packed(tokens: Sequence[int]) -> bytes:
    """Ids as llama.cpp keeps them: 32 bits each, little-endian."""
    ids = array.array("I", tokens)
    if sys.byteorder == "big":
        ids.byteswap()
    return ids.tobytes()


def name_of(ids: bytes | memoryview) -> str:
    """The name of the prefix with these packed ids."""
    return hashlib.sha256(ids).hexdigest()[:40]


def holds(path: Path, ids: bytes) -> bool:
    """Whether llama.cpp's file says that it is the state after exactly these packed ids.

    Its list of tokens has a few words of its own around them.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return False
        magic, _, words = _HEAD.unpack(head)
        if magic != _MAGIC or not 0 <= words * 4 - len(ids) <= 64:
            return False
        return file.read(words * 4).find(ids) % 4 == 0


def sha256_of(path: Path) -> str:
    """The file's digest; reads all of it.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
