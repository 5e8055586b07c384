"""How the commands of this machine find the running endpoint: a small file with its address, never its key."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

from tundish.core.json_value import JsonObject


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRecord:
    """A running endpoint, as it described itself when it started."""

    url: str
    """Scheme, host and port, without a path."""
    pid: int
    started_s: float
    """Unix time at which it said so; a process that began later has only inherited the number."""
    version: str
    key_file: str | None
    """Where its generated key is kept; None when it has no key or one from its environment."""
    key_required: bool
    certificate_file: str | None = None
    """The certificate that it listens with; None when it speaks plain HTTP."""


def write(path: Path, record: EndpointRecord) -> None:
    """Say that `record` runs, replacing what was said before; readable by its owner only.

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(dataclasses.asdict(record), file)
    draft.replace(path)


def read(path: Path) -> EndpointRecord | None:
    """What was last written, or None when there is nothing that can be understood."""
    try:
        content: JsonObject = json.loads(path.read_text(encoding="utf-8"))
        return EndpointRecord(
            url=str(content["url"]),
            pid=int(str(content["pid"])),
            started_s=float(str(content["started_s"])),
            version=str(content["version"]),
            key_file=None if content["key_file"] is None else str(content["key_file"]),
            key_required=bool(content["key_required"]),
            certificate_file=None if content.get("certificate_file") is None else str(content["certificate_file"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remove(path: Path, *, pid: int) -> None:
    """Take back what the process `pid` wrote; another endpoint's record stays."""
    record = read(path)
    if record is not None and record.pid == pid:
        path.unlink(missing_ok=True)
