"""What an owner does with receipts that are there: hand the key over, erase a salt, amend."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path

from tundish.core.errors import InvalidRequest
from tundish.ledger import layout
from tundish.ledger.digest import SALT_BYTES
from tundish.ledger.errors import LedgerUnavailable, LogDamaged, ReceiptNotFound, from_os_error
from tundish.ledger.keys import LedgerKeys
from tundish.ledger.layout import NO_SALT, ReceiptsFolder
from tundish.ledger.leaf import Amendment
from tundish.ledger.ledger import Ledger
from tundish.ledger.merkle import leaf_hash
from tundish.ledger.opening import now_us, publish_key, take_log
from tundish.ledger.receipt import Receipt
from tundish.ledger.search import find, find_all


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """What a change of keys came to."""

    old: str
    new: str
    waiting: tuple[str, ...]
    """Logs that the old key still signs; its private half is kept until they have been handed over."""


def rotate_key(folder: Path, *, wait_s: float = 10.0) -> Rotation:
    """Make a new key, have the old one sign each log over to it, then destroy the old one.

    Logs of running processes are handed over by these themselves, within a second or two.

    Raises:
        LedgerUnavailable: the folder cannot be used.
        SigningKeyInvalid: the key there is damaged.
    """
    ledger_keys = LedgerKeys(folder / "keys")
    try:
        if not ReceiptsFolder(folder).logs():
            raise LedgerUnavailable(f"There are no receipts in {folder}, and so no key to change.")
        old, new = ledger_keys.renew()
        deadline_s = time.monotonic() + wait_s
        done: set[str] = set()
        while True:
            waiting = [log for log in _not_signed_by(folder, new) if log not in done]
            done.update(log for log in waiting if _hand_over(folder, log, ledger_keys))
            waiting = [log for log in waiting if log not in done]
            if not waiting or time.monotonic() > deadline_s:
                break
            time.sleep(0.1)
        if not waiting:
            for retired in ledger_keys.retired():
                ledger_keys.destroy(retired)
        publish_key(folder, new)
    except OSError as error:
        raise from_os_error(error, folder) from error
    return Rotation(old=old, new=new, waiting=tuple(waiting))


def erase_salt(folder: Path, request_id: str) -> int:
    """Take the meaning from a request's digests: nobody can test any more which text they are of. The log still
    verifies. Returns how many receipts of that id there are.

    Raises:
        ReceiptNotFound: there is none.
        LedgerUnavailable: the salt cannot be overwritten.
    """
    receipts = ReceiptsFolder(folder)
    found = find_all(receipts, request_id)
    if not found:
        raise ReceiptNotFound(request_id)
    try:
        for one in found:
            with (folder / one.log / layout.SALTS).open("r+b") as file:
                file.seek(one.index * SALT_BYTES)
                file.write(NO_SALT)
    except OSError as error:
        raise from_os_error(error, folder) from error
    return len(found)


def amend(folder: Path, request_id: str, *, by: str, reason: str, changes: Mapping[str, str | int | None]) -> Amendment:
    """Say something about a receipt. The original stays; the amendment is a leaf of a log that is free, and sealed.

    Raises:
        InvalidRequest: a receipt has no such field.
        ReceiptNotFound: there is no such receipt.
        LedgerUnavailable: it cannot be written.
    """
    unknown = [name for name in changes if name not in Receipt.__struct_fields__]
    if unknown:
        fields = ", ".join(Receipt.__struct_fields__)
        raise InvalidRequest(f"A receipt has no {', '.join(unknown)}. It has: {fields}.", param=unknown[0])
    found = find(ReceiptsFolder(folder), request_id)
    amendment = Amendment(
        amends=request_id,
        log=found.log,
        index=found.index,
        leaf_hash=leaf_hash(found.line).hex(),
        time_us=now_us(),
        by=by,
        reason=reason,
        changes=dict(changes),
    )
    ledger = Ledger.open(folder)
    try:
        ledger.amend(amendment)
        if not ledger.sync():
            raise LedgerUnavailable(f"The amendment was not written. {ledger.problem or 'The disk does not answer.'}")
    finally:
        ledger.close()
    return amendment


def _not_signed_by(folder: Path, key: str) -> list[str]:
    receipts = ReceiptsFolder(folder)
    last = {log: layout.last_seal(receipts, log) for log in receipts.logs()}
    return [log for log, seal in last.items() if seal is None or seal.head.key != key]


def _hand_over(folder: Path, log: str, ledger_keys: LedgerKeys) -> bool:
    """Whether the old key is not needed for that log any more."""
    try:
        opened = take_log(folder, log, ledger_keys)
    except LogDamaged:
        return True  # nobody goes on with it
    if opened is None:
        return False
    try:
        opened.writer.append([(entry, NO_SALT) for entry in opened.first])
        opened.writer.seal(opened.key, now_us())
    finally:
        opened.close()
    return True
