"""The files of saved prefixes: which there are, and what is left of what was interrupted. Changing needs the lock."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
import time
from pathlib import Path

_DRAFT_AGE_S = 600.0
"""Older drafts are of endpoints that ended while they saved."""


def erase(root: Path) -> None:
    """Remove all saved prefixes of all models, as far as that is possible."""
    shutil.rmtree(root, ignore_errors=True)


def states(root: Path) -> list[tuple[float, int, Path]]:
    """When each state of any model was used last (as its entry was written), its size in bytes and its file."""
    found: list[tuple[float, int, Path]] = []
    for path in root.glob("*/*.kv"):
        with contextlib.suppress(OSError):
            size = path.stat().st_size
            try:
                used_s = path.with_suffix(".json").stat().st_mtime
            except OSError:
                used_s = 0.0
            found.append((used_s, size, path))
    return found


def remove(entry_file: Path) -> bool:
    """Remove an entry and its state; the entry first: what is left of an interrupted removal does not count."""
    try:
        entry_file.unlink(missing_ok=True)
        entry_file.with_suffix(".kv").unlink(missing_ok=True)
    except OSError:
        return False
    return True


def sweep(folder: Path) -> None:
    """Remove what interrupted endpoints left: old drafts, states without an entry."""
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            draft = path.suffix != ".kv" and path.suffix != ".json"
            if (draft and time.time() - path.stat().st_mtime > _DRAFT_AGE_S) or (
                path.suffix == ".kv" and not path.with_suffix(".json").exists()
            ):
                path.unlink()


def require_own(folder: Path) -> None:
    """Keep others from putting states into `folder`.

    Raises:
        OSError: it is another user's.
    """
    if sys.platform == "win32":
        return
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise PermissionError(f"{folder} belongs to another user")
    if stat.S_IMODE(status.st_mode) & 0o077:
        folder.chmod(0o700)
