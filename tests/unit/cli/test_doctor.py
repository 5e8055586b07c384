"""What the doctor says of a machine, and how."""

from __future__ import annotations

import dataclasses
import json

from tundish.catalog.hardware import Gpu, Hardware, Memory, Processor
from tundish.cli.doctor import examination as doctor
from tundish.cli.doctor import installation as doctor_installation
from tundish.cli.doctor import machine as doctor_machine
from tundish.cli.doctor.finding import Finding, Level, ok, problem, warning
from tundish.engines.hardware.build import Build
from tundish.settings import load

GB = 10**9
MACHINE = Hardware(
    system="Linux 6.1",
    memory=Memory(total_bytes=32 * GB, available_bytes=20 * GB),
    processor=Processor(
        name="Ryzen", architecture="x86_64", physical_cores=8, usable_cores=8, vector_units=("AVX2", "AVX512")
    ),
)
BUILD = Build(features=("AVX2", "FMA", "REPACK"), devices=())


def _found(topic: str, machine: Hardware = MACHINE, build: Build | None = BUILD) -> Finding:
    return next(finding for finding in doctor_machine.examine(machine, build) if finding.topic == topic)


def test_a_healthy_machine_has_nothing_to_mend() -> None:
    assert all(finding.level is Level.OK and not finding.advice for finding in doctor_machine.examine(MACHINE, BUILD))
    assert _found("memory").text == "20.0 GB free of 32.0 GB"
    assert "leaves AVX512 of the CPU unused" in _found("llama.cpp").text
    assert "none found" in _found("gpu").text


def test_a_limit_of_the_control_group_is_told() -> None:
    memory = Memory(total_bytes=GB, available_bytes=GB // 2, limited_by="control group")
    finding = _found("memory", dataclasses.replace(MACHINE, memory=memory))
    assert finding.level is Level.WARNING
    assert "a limit of its control group" in finding.text


def test_fewer_cores_than_there_are() -> None:
    cpu = dataclasses.replace(MACHINE.processor, usable_cores=2)
    assert "may use 2" in _found("processor", dataclasses.replace(MACHINE, processor=cpu)).text


def test_an_old_processor_is_a_warning() -> None:
    cpu = dataclasses.replace(MACHINE.processor, vector_units=("AVX",))
    assert _found("processor", dataclasses.replace(MACHINE, processor=cpu)).level is Level.WARNING


def test_a_llama_cpp_that_does_not_start_is_a_problem() -> None:
    finding = _found("llama.cpp", build=None)
    assert finding.level is Level.PROBLEM
    assert "pip install" in finding.advice


def test_a_gpu_that_is_not_used_comes_with_what_to_do() -> None:
    gpu = Gpu(name="NVIDIA L4", interface="CUDA", total_bytes=24 * GB, driver="580.95")
    finding = _found("gpu", dataclasses.replace(MACHINE, gpus=(gpu,)))
    assert finding.level is Level.WARNING
    assert finding.text == "NVIDIA L4 (CUDA, 24.0 GB, driver 580.95): not used, the installed llama.cpp has no CUDA"
    assert "wheel for CUDA" in finding.advice


def test_a_gpu_that_is_used() -> None:
    gpu = Gpu(name="Apple M3", interface="Metal", total_bytes=16 * GB, unified=True, usable=True)
    assert _found("gpu", dataclasses.replace(MACHINE, gpus=(gpu,))).text.endswith("used, shares main memory")
    gpu = Gpu(name="L4", interface="CUDA", total_bytes=24 * GB, free_bytes=20 * GB, usable=True)
    assert _found("gpu", dataclasses.replace(MACHINE, gpus=(gpu,))).text.endswith("used, 20.0 GB free")


def test_offline_and_keys_from_the_environment() -> None:
    settings = load({"TUNDISH_OFFLINE": "1", "TUNDISH_API_KEY": "a-long-secret"})
    assert "offline" in doctor_installation.network(settings).text
    assert doctor_installation.key(settings).text == "the one in TUNDISH_API_KEY"
    assert doctor_installation.key(load({"TUNDISH_AUTH": "0"})).level is Level.WARNING


def test_a_proxys_password_is_not_shown() -> None:
    assert doctor_installation.without_password("http://me:secret@proxy:3128") == "http://proxy:3128"


def test_packaged_files_are_whole() -> None:
    assert [finding.level for finding in doctor_installation.packaged_files()] == [Level.OK, Level.OK]


REPORT = [ok("memory", "plenty"), warning("gpu", "idle", "Use it."), problem("key", "open", "Close it.")]


def test_the_report_for_people_lines_up() -> None:
    assert doctor.as_text(REPORT).splitlines()[2:] == [
        "ok       memory  plenty",
        "warning  gpu     idle",
        "                 → Use it.",
        "PROBLEM  key     open",
        "                 → Close it.",
        "",
        "1 problem, 1 warning.",
    ]
    assert doctor.as_text(REPORT[:1]).endswith("No problems, no warnings.")


def test_the_report_for_programs() -> None:
    document = json.loads(doctor.as_json(REPORT))
    assert (document["problems"], document["warnings"]) == (1, 1)
    assert document["findings"][2] == {"topic": "key", "level": "problem", "text": "open", "advice": "Close it."}
