"""Files that are wholly there or not at all, also after the power went."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from pathlib import Path


def write(path: Path, content: bytes, *, private: bool = False) -> None:
    """Replace `path` by `content` in one step; `private`: readable by its owner only.

    Raises:
        OSError: it was not written, and what was there before still is.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable. Windows keeps them by itself and cannot open a folder."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
