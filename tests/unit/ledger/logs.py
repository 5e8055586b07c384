"""Logs made without threads and without a clock."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tundish.catalog import signing
from tundish.ledger.head import Head
from tundish.ledger.layout import NO_SALT
from tundish.ledger.leaf import Entry, Opened
from tundish.ledger.receipt import Attempt, Receipt
from tundish.ledger.recovery import recover
from tundish.ledger.usage import Usage
from tundish.ledger.writer import LogWriter

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
PUBLIC = signing.public_key_of(KEY)
OTHER_PUBLIC = signing.public_key_of(OTHER_KEY)
NOON_US = 1_764_000_000_000_000


def receipt(number: int, **fields: object) -> Receipt:
    known: dict[str, object] = {
        "request_id": f"req-{number}",
        "arrived_us": NOON_US + number,
        "surface": "chat_completions",
        "key_id": "key-1",
        "route": "default",
        "data_class": "internal",
        "policy_version": "p1",
        "table_version": "t1",
        "attempts": (Attempt(deployment="local", place="device", outcome="ok", started_ms=0, ended_ms=9),),
        "deployment": "local",
        "place": "device",
        "outcome": "ok",
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "cost_nano_usd": 1000,
        "duration_ms": 9,
        "request_digest": "",
        "answer_digest": "",
        **fields,
    }
    return Receipt(**known)  # type: ignore[arg-type]


OPENED: list[LogWriter] = []
"""Closed after each test, so that none leaves a file open."""


class Log:
    """A log with a name, which it writes and seals when it is told."""

    def __init__(self, folder: Path, name: str = "log", *, segment_bytes: int = 1 << 20, key: str = PUBLIC) -> None:
        self.folder = folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.writer = LogWriter(self.folder, recover(self.folder), Usage(), segment_bytes=segment_bytes)
        OPENED.append(self.writer)
        if self.writer.size == 0:
            self.append([Opened(log=name, key=key, time_us=NOON_US)])

    def append(self, entries: Sequence[Entry], salt: bytes = NO_SALT) -> None:
        self.writer.append([(entry, salt) for entry in entries])

    def seal(self, key: Ed25519PrivateKey = KEY) -> Head:
        head = self.writer.seal(key, NOON_US)
        assert head is not None
        return head

    @property
    def leaves(self) -> Path:
        return max(self.folder.glob("leaves-*"))


def sealed_log(folder: Path, count: int, *, seal_every: int = 3, name: str = "log", first: int = 1) -> Head:
    """A closed log of `count` receipts, `req-1` … at leaf 1 …"""
    log = Log(folder, name)
    head = None
    for number in range(first, first + count):
        log.append([receipt(number)])
        if number % seal_every == 0 or number == first + count - 1:
            head = log.seal()
    log.writer.close()
    assert head is not None
    return head
