"""The doctor on the machine: memory, processor, GPUs, and what of them the installed llama.cpp uses."""

from __future__ import annotations

from collections.abc import Iterator

from tundish.catalog.fit.plan import budget_bytes, gigabytes
from tundish.catalog.hardware import Gpu, Hardware
from tundish.cli.doctor.finding import Finding, ok, problem, warning
from tundish.engines.hardware.build import Build

_SMALLEST_BUDGET = 10**9
_UNITS_THAT_MATTER = ("AVX2", "AVX512", "NEON", "DOTPROD", "I8MM", "SVE")


def examine(hardware: Hardware, build: Build | None) -> Iterator[Finding]:
    """Everything about the machine."""
    yield _memory(hardware)
    yield _processor(hardware)
    yield _llama_cpp(hardware, build)
    if not hardware.gpus:
        vulkan = " (there is a Vulkan loader, but no device behind it)" if hardware.vulkan_loader else ""
        yield ok("gpu", f"none found{vulkan}; models run on the CPU")
    for gpu in hardware.gpus:
        yield _gpu(gpu)


def _memory(hardware: Hardware) -> Finding:
    memory = hardware.memory
    limit = f" (a limit of its {memory.limited_by})" if memory.limited_by else ""
    text = f"{gigabytes(memory.available_bytes)} free of {gigabytes(memory.total_bytes)}{limit}"
    if budget_bytes(memory) < _SMALLEST_BUDGET:
        return warning("memory", text, "Only the smallest models will fit. End other programs, or raise the limit.")
    return ok("memory", text)


def _processor(hardware: Hardware) -> Finding:
    cpu = hardware.processor
    units = ", ".join(cpu.vector_units) or "no vector units known"
    text = f"{cpu.name} ({cpu.architecture}), {cpu.physical_cores} cores, {units}"
    if cpu.usable_cores < cpu.physical_cores:
        text += f"; this process may use {cpu.usable_cores}"
    if cpu.architecture == "x86_64" and "AVX2" not in cpu.vector_units:
        return warning("processor", text, "Without AVX2 models are several times slower. Use a newer CPU, if you can.")
    return ok("processor", text)


def _llama_cpp(hardware: Hardware, build: Build | None) -> Finding:
    if build is None:
        return problem(
            "llama.cpp",
            "the installed xllamacpp does not start",
            "Install it again: pip install --force-reinstall xllamacpp. On Windows it needs the Visual C++ runtime.",
        )
    used = [unit for unit in _UNITS_THAT_MATTER if unit in build.features]
    unused = [
        unit for unit in hardware.processor.vector_units if unit in _UNITS_THAT_MATTER and unit not in build.features
    ]
    text = f"computes with {', '.join(used) or 'no vector units'}"
    if unused:
        text += f"; this build leaves {', '.join(unused)} of the CPU unused"
    if not used:
        return warning("llama.cpp", text, "Answers will be slow. Install an xllamacpp that was built for this CPU.")
    return ok("llama.cpp", text)


def _gpu(gpu: Gpu) -> Finding:
    size = f", {gigabytes(gpu.total_bytes)}" if gpu.total_bytes else ""
    driver = f", driver {gpu.driver}" if gpu.driver else ""
    text = f"{gpu.name} ({gpu.interface}{size}{driver})"
    if not gpu.usable:
        return warning(
            "gpu",
            f"{text}: not used, the installed llama.cpp has no {gpu.interface}",
            f"Install the xllamacpp wheel for {gpu.interface} (its documentation names it), or go on with the CPU.",
        )
    shared = "shares main memory" if gpu.unified else f"{gigabytes(gpu.free_bytes)} free"
    return ok("gpu", f"{text}: used, {shared}")
