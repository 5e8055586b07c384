"""The machine that the tests run on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

from tundish.engines import hardware
from tundish.engines.hardware import build as hardware_build


def test_the_snapshot_agrees_with_the_system() -> None:
    machine = hardware.snapshot()
    assert 0 < machine.memory.available_bytes <= machine.memory.total_bytes <= psutil.virtual_memory().total
    processor = machine.processor
    assert 1 <= processor.usable_cores <= processor.physical_cores <= psutil.cpu_count()
    assert processor.name
    assert processor.architecture in ("x86_64", "arm64")
    assert processor.vector_units


def test_the_installed_llama_cpp_is_asked() -> None:
    machine, build = hardware.survey()
    assert build is not None
    assert len(machine.usable_gpus) == len(build.devices)
    vector_units = {"AVX2", "NEON"} & set(build.features)
    assert vector_units <= set(machine.processor.vector_units)


def test_a_llama_cpp_that_does_not_answer_is_survived(tmp_path: Path) -> None:
    assert hardware_build.ask(str(tmp_path / "absent-python")) is None
    if sys.platform != "win32":
        crashing = tmp_path / "python"
        crashing.write_text("#!/bin/sh\nkill -11 $$\n")
        crashing.chmod(0o755)
        assert hardware_build.ask(str(crashing)) is None
        crashing.write_text("#!/bin/sh\necho nonsense\n")
        assert hardware_build.ask(str(crashing)) is None


if sys.platform == "linux":

    def test_a_process_bound_to_one_core_uses_one_thread() -> None:
        script = (
            "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
            "from tundish.engines import hardware; print(hardware.snapshot().processor.usable_cores)"
        )
        answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert answer.stdout.strip() == "1"
