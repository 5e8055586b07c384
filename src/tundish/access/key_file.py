"""The generated key's home: a file that only its owner can read."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from tundish.access.keys import generate_key


def load_or_create(path: Path) -> str:
    """The key kept at `path`; made and kept there when there is none.

    Two processes that start together end up with the same key: the file is created exclusively, the loser reads.

    Raises:
        OSError: the folder cannot be written, or the file cannot be read.
    """
    try:
        return read(path)
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    key = generate_key()
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(key + "\n")
            file.flush()
            os.fsync(file.fileno())  # an empty file after a power cut would lock the owner out
        # Publishing by link is atomic and never replaces a key that another process has already handed out.
        try:
            os.link(draft, path)
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):
                return read(path)
            draft.replace(path)  # it is there, and empty
            return key
        except OSError:  # a file system without hard links
            draft.replace(path)
            return key
    finally:
        draft.unlink(missing_ok=True)
    return key


def read(path: Path) -> str:
    """The key kept at `path`.

    Raises:
        OSError: there is none, or it cannot be read.
    """
    try:
        key = path.read_text(encoding="ascii").strip()
    except UnicodeDecodeError:
        raise OSError(f"{path} holds no key; delete it, and the next start makes a new one") from None
    if not key:
        raise FileNotFoundError(path)
    return key
