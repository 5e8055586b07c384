"""Measures this machine: memory, cores, vector units, GPUs, and which of them the installed llama.cpp can use.

On Linux the limits of control groups (containers, `systemd` units) count, on every system the process's own affinity.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from tundish.catalog.hardware import Gpu, Hardware, Memory, Processor
from tundish.engines.hardware import build, gpus, linux
from tundish.engines.hardware.build import Build, BuildDevice

_ROOT = Path("/")
_WINDOWS_VECTOR_UNITS = ((39, "AVX"), (40, "AVX2"), (41, "AVX512"), (19, "NEON"), (43, "DOTPROD"))
"""Of `IsProcessorFeaturePresent`."""
_APPLE_VECTOR_UNITS = (
    ("hw.optional.avx2_0", "AVX2"),
    ("hw.optional.avx512f", "AVX512"),
    ("hw.optional.neon", "NEON"),
    ("hw.optional.arm.FEAT_DotProd", "DOTPROD"),
    ("hw.optional.arm.FEAT_I8MM", "I8MM"),
)


def snapshot() -> Hardware:
    """The machine as it is now. Takes milliseconds, and half a second where there is a GPU that llama.cpp may use."""
    found = _gpus()
    may_have_gpu = bool(found) or gpus.has_vulkan_loader()
    return _hardware(found, build.ask() if may_have_gpu else None)


def survey() -> tuple[Hardware, Build | None]:
    """The machine and the installed llama.cpp, which is asked in any case; None when it does not answer."""
    told = build.ask()
    return _hardware(_gpus(), told), told


def memory() -> Memory:
    """Main memory as it is now; takes about a millisecond."""
    return _memory(_ROOT)


def _hardware(found: Sequence[Gpu], told: Build | None) -> Hardware:
    return Hardware(
        system=f"{platform.system()} {platform.release()}",
        memory=_memory(_ROOT),
        processor=_processor(_ROOT),
        gpus=match_gpus(found, () if told is None else told.devices),
        vulkan_loader=gpus.has_vulkan_loader(),
    )


def _memory(root: Path) -> Memory:
    whole = psutil.virtual_memory()
    memory = Memory(total_bytes=whole.total, available_bytes=whole.available)
    if sys.platform != "linux":
        return memory
    return within_limits(memory, linux.group_limits(root))


def within_limits(memory: Memory, limits: linux.GroupLimits) -> Memory:
    """What the control groups leave of the machine's memory."""
    total, available = limits.memory_bytes, limits.memory_available_bytes
    if total is None or available is None or total >= memory.total_bytes:
        return memory
    return Memory(
        total_bytes=total,
        available_bytes=min(available, memory.available_bytes),
        limited_by="control group",
    )


def _processor(root: Path) -> Processor:
    logical = os.cpu_count() or 1
    physical = psutil.cpu_count(logical=False) or logical
    name, units = platform.processor(), ()
    usable = physical
    if sys.platform == "linux":
        allowed = os.sched_getaffinity(0)
        own = linux.physical_cores(root, allowed) or min(physical, len(allowed))
        usable = linux.cores_within_quota(own, linux.group_limits(root).cpus)
        name, units = linux.processor(root)
    elif sys.platform == "darwin":
        name, units = _sysctl("machdep.cpu.brand_string"), _apple_vector_units()
    elif sys.platform == "win32":
        allowed = psutil.Process().cpu_affinity()
        usable = max(1, min(physical, len(allowed)))
        units = _windows_vector_units()
    return Processor(
        name=name or platform.machine(),
        architecture=_architecture(platform.machine()),
        physical_cores=physical,
        usable_cores=usable,
        vector_units=units,
    )


def _architecture(machine: str) -> str:
    return {"amd64": "x86_64", "aarch64": "arm64"}.get(machine.lower(), machine.lower())


def _windows_vector_units() -> tuple[str, ...]:
    if sys.platform != "win32":
        return ()
    import ctypes

    is_present = ctypes.windll.kernel32.IsProcessorFeaturePresent
    return tuple(unit for number, unit in _WINDOWS_VECTOR_UNITS if is_present(number))


def _apple_vector_units() -> tuple[str, ...]:
    return tuple(unit for key, unit in _APPLE_VECTOR_UNITS if _sysctl(key) == "1")


def _sysctl(key: str) -> str:
    try:
        answer = subprocess.run(["/usr/sbin/sysctl", "-n", key], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()


# --- GPUs ---


def _gpus() -> tuple[Gpu, ...]:
    if sys.platform == "darwin":
        if platform.machine() != "arm64":
            return ()
        return gpus.apple(_sysctl("machdep.cpu.brand_string"), psutil.virtual_memory().total)
    nvidia = gpus.nvidia(gpus.load_nvml())
    if sys.platform != "linux":
        return nvidia
    amd = gpus.rocm(_ROOT)
    others = [other for other in gpus.drm(_ROOT) if not (amd and other.name.startswith("AMD"))]
    return (*nvidia, *amd, *others)


def match_gpus(found: Sequence[Gpu], devices: Sequence[BuildDevice]) -> tuple[Gpu, ...]:
    """The GPUs that were found, with llama.cpp's own numbers for those that it can use, and what it alone knows."""
    left = list(devices)
    matched: list[Gpu] = []
    for gpu in found:
        device = next((device for device in left if _same(gpu, device)), None)
        if device is None:
            matched.append(gpu)
        else:
            left.remove(device)
            matched.append(_usable(device, driver=gpu.driver, unified=gpu.unified or device.integrated))
    return (*matched, *(_usable(device, driver="", unified=device.integrated) for device in left))


def _same(gpu: Gpu, device: BuildDevice) -> bool:
    ours, theirs = gpu.name.casefold(), device.description.casefold()
    return gpu.interface == _interface(device) == "Metal" or ours in theirs or theirs in ours


def _usable(device: BuildDevice, *, driver: str, unified: bool) -> Gpu:
    return Gpu(
        name=device.description or device.name,
        interface=_interface(device),
        total_bytes=device.total_bytes,
        free_bytes=device.free_bytes,
        driver=driver,
        unified=unified,
        usable=True,
    )


def _interface(device: BuildDevice) -> str:
    name = device.name.rstrip("0123456789")
    return {"MTL": "Metal", "HIP": "ROCm"}.get(name, name)
