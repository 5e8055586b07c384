"""The tour as a user takes it, and what is left when it is interrupted: nothing."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from .conftest import environment_in


def environment_with_folder(tmp_path: Path) -> dict[str, str]:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    return environment_in(tmp_path) | {"TMPDIR": str(temporary), "TEMP": str(temporary), "TMP": str(temporary)}


def test_the_tour(tmp_path: Path) -> None:
    environment = environment_with_folder(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "tundish", "demo"],
        env=environment | {"PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=240,
        check=False,
    )
    shown = re.sub(r"\s+", " ", done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    first, confidential, dies, nobody, forged = re.split(
        r" \d (?=A public|A confidential|The cloud dies|Every|Some)", shown
    )[1:]
    assert "The capital of Norway is Oslo." in first
    assert "cloud (azure-global)" in first
    assert "Nice to meet you, Ada!" in confidential
    assert "here (building)" in confidential
    assert "'confidential'" in confidential
    assert "[the cloud is killed]" in dies
    assert "18, 19, 20" in dies
    assert dies.count("1, 2,") == 1  # it went on and did not begin anew
    assert "then here (building)" in dies
    assert "503: No deployment of 'frontier'" in nobody
    assert "circuit" in nobody
    assert "policy" in nobody
    assert "5 receipts; nothing changed" in forged
    assert "✗ changed" in forged
    assert shown.count("✓ leaf") == 5
    assert list(Path(environment["TMPDIR"]).iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT for one process")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_tour_leaves_nothing(tmp_path: Path, number: int) -> None:
    environment = environment_with_folder(tmp_path)
    tour = subprocess.Popen([sys.executable, "-m", "tundish", "demo"], env=environment, stdout=subprocess.PIPE)
    started = wait_for_children(tour.pid)
    os.kill(tour.pid, number)
    tour.communicate(timeout=60)
    assert tour.returncode == 130
    wait_for_ends(started)
    assert list(Path(environment["TMPDIR"]).iterdir()) == []


def wait_for_children(pid: int) -> list[psutil.Process]:
    deadline = time.monotonic() + 60
    while len(found := psutil.Process(pid).children(recursive=True)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)  # another process's doing: there is nothing to wait on
    return found


def wait_for_ends(processes: list[psutil.Process]) -> None:
    """A model's process ends when it sees that its endpoint has: that takes a moment."""
    deadline = time.monotonic() + 10
    while [process for process in processes if is_alive(process)]:
        assert time.monotonic() < deadline, processes
        time.sleep(0.05)


def is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
