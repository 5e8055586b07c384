"""An export: what an examiner is given. One zip file with each log up to its last head; no salts unless asked for."""

from __future__ import annotations

import zipfile
from pathlib import Path

from tundish.ledger import head, layout
from tundish.ledger.digest import SALT_BYTES
from tundish.ledger.layout import Receipts

_BLOCK_BYTES = 1 << 20


def export(receipts: Receipts, target: Path, *, with_salts: bool = False) -> dict[str, int]:
    """Write every sealed leaf to `target`; returns each log's number of leaves.

    Salts let the holder of an export test which text a digest is of; without them it says nothing about texts.

    Raises:
        OSError: it cannot be read or written; `target` is as it was before.
    """
    draft = target.with_name(f".{target.name}.part")
    try:
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            sizes = {log: _export_log(receipts, log, archive, with_salts) for log in receipts.logs()}
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return sizes


def _export_log(receipts: Receipts, log: str, archive: zipfile.ZipFile, with_salts: bool) -> int:
    seals = layout.seals(receipts, log)
    last = next((seal for seal in reversed(seals) if seal is not None), None)
    if last is None:
        return 0
    end = last.resumption
    for name in layout.segments(receipts, log):
        if name <= end.segment:
            _copy(receipts, log, name, archive, end.offset if name == end.segment else None)
    _copy(receipts, log, layout.INDEX, archive, last.head.size * layout.ENTRY_BYTES)
    if with_salts:
        _copy(receipts, log, layout.SALTS, archive, last.head.size * SALT_BYTES)
    kept = b"".join(head.encode_seal(seal) for seal in seals if seal is not None)
    archive.writestr(f"{log}/{layout.HEADS}", kept)
    return last.head.size


def _copy(receipts: Receipts, log: str, name: str, archive: zipfile.ZipFile, size_bytes: int | None) -> None:
    with receipts.open(log, name) as source, archive.open(f"{log}/{name}", "w", force_zip64=True) as target:
        left = size_bytes
        while block := source.read(_BLOCK_BYTES if left is None else min(_BLOCK_BYTES, left)):
            target.write(block)
            left = None if left is None else left - len(block)
