"""An endpoint as a user starts it: the real command, the real model, a port of its own."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tundish.access import endpoint_file

START_TIMEOUT_S = 60.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A running `tundish serve`."""

    process: subprocess.Popen[str]
    url: str
    key: str
    environment: dict[str, str]

    @property
    def base_url(self) -> str:
        return self.url + "/v1"


def environment_in(folder: Path) -> dict[str, str]:
    """The environment of commands that keep everything under `folder`; the expanded model is shared between tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TUNDISH_")}
    return kept | {
        "TUNDISH_DATA_DIR": str(folder / "data"),
        "TUNDISH_STATE_DIR": str(folder / "state"),
        "TUNDISH_CACHE_DIR": str(folder.parent / "tundish-cache"),
        "PYTHONUNBUFFERED": "1",
        "NO_COLOR": "1",
    }


def start(folder: Path, *flags: str, extra: dict[str, str] | None = None) -> Served:
    """Start `tundish serve` and wait until its record appears, which it writes when it is ready."""
    environment = environment_in(folder) | (extra or {})
    process = subprocess.Popen(
        [sys.executable, "-m", "tundish", "serve", "--port", "0", *flags],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    record_path = folder / "state" / "endpoint.json"
    deadline = time.monotonic() + START_TIMEOUT_S
    while (record := endpoint_file.read(record_path)) is None or record.pid != process.pid:
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"tundish serve did not start:\n{process.communicate()[0]}")
        time.sleep(0.05)  # polling another process's file: there is nothing to wait on
    key = Path(record.key_file).read_text(encoding="ascii").strip() if record.key_file else ""
    return Served(
        process=process, url=record.url, key=key or environment.get("TUNDISH_API_KEY", ""), environment=environment
    )


def stop(served: Served) -> str:
    """End it and return what it printed."""
    served.process.terminate()
    try:
        return served.process.communicate(timeout=30)[0]
    except subprocess.TimeoutExpired:
        served.process.kill()
        raise


def tundish(environment: dict[str, str], *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "tundish", *arguments],
        env=environment,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One endpoint with gpt-oss-nano for the whole session."""
    running = start(tmp_path_factory.mktemp("endpoint"))
    yield running
    stop(running)
