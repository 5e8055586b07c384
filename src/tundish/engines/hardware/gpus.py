"""Which graphics processors the machine has, whether or not llama.cpp can use them."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tundish.catalog.hardware import Gpu

_NVML_NAMES = ("nvml.dll",) if sys.platform == "win32" else ("libnvidia-ml.so.1", "libnvidia-ml.so")
_VULKAN_NAMES = ("vulkan-1.dll",) if sys.platform == "win32" else ("libvulkan.so.1", "libvulkan.1.dylib")
_NVML_TEXT_BYTES = 96
_MOST_GPUS = 64
_DRM_VENDORS: Mapping[str, str] = {"0x1002": "AMD", "0x8086": "Intel"}


class _NvmlMemory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def load_nvml() -> Any | None:
    """NVIDIA's management library, which comes with the driver; None without it."""
    return _load(_NVML_NAMES)


def has_vulkan_loader() -> bool:
    """Whether programs that use Vulkan find it here."""
    return _load(_VULKAN_NAMES) is not None


def _load(names: Sequence[str]) -> Any | None:
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def nvidia(library: Any | None) -> tuple[Gpu, ...]:
    """NVIDIA's GPUs, as the driver's `library` reports them; none when it cannot."""
    if library is None:
        return ()
    try:
        if library.nvmlInit_v2() != 0:
            return ()  # the library is here and the driver is not, as in many containers
        try:
            return _nvidia(library)
        finally:
            library.nvmlShutdown()
    except AttributeError:
        return ()  # a library so old that it lacks a function


def _nvidia(library: Any) -> tuple[Gpu, ...]:
    count = ctypes.c_uint(0)
    if library.nvmlDeviceGetCount_v2(ctypes.byref(count)) != 0:
        return ()
    version = ctypes.create_string_buffer(_NVML_TEXT_BYTES)
    library.nvmlSystemGetDriverVersion(version, ctypes.c_uint(_NVML_TEXT_BYTES))
    gpus: list[Gpu] = []
    for index in range(min(count.value, _MOST_GPUS)):
        handle = ctypes.c_void_p()
        if library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle)) != 0:
            continue
        name, memory = ctypes.create_string_buffer(_NVML_TEXT_BYTES), _NvmlMemory()
        library.nvmlDeviceGetName(handle, name, ctypes.c_uint(_NVML_TEXT_BYTES))
        library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
        gpus.append(
            Gpu(
                name=name.value.decode("utf-8", "replace") or "NVIDIA GPU",
                interface="CUDA",
                total_bytes=memory.total,
                free_bytes=memory.free,
                driver=version.value.decode("utf-8", "replace"),
            )
        )
    return tuple(gpus)


def rocm(root: Path) -> tuple[Gpu, ...]:
    """AMD's GPUs that the compute driver (kfd) knows."""
    gpus: list[Gpu] = []
    for node in _folders(root / "sys/class/kfd/kfd/topology/nodes"):
        if _properties(node / "properties").get("simd_count", 0) > 0:
            banks = [_properties(bank / "properties") for bank in _folders(node / "mem_banks")]
            total = sum(bank.get("size_in_bytes", 0) for bank in banks if bank.get("heap_type") in (1, 2))
            name = _text(node / "name") or "GPU"
            gpus.append(Gpu(name=f"AMD {name}", interface="ROCm", total_bytes=total))
    return tuple(gpus)


def drm(root: Path) -> tuple[Gpu, ...]:
    """AMD's and Intel's GPUs that have a display driver: what Vulkan would compute on."""
    cards = [card for card in _folders(root / "sys/class/drm") if card.name[:4] == "card" and card.name[4:].isdigit()]
    gpus: list[Gpu] = []
    for card in cards:
        vendor = _DRM_VENDORS.get(_text(card / "device/vendor"))
        if vendor is not None:
            total = _text(card / "device/mem_info_vram_total")
            size = int(total) if total.isdigit() else 0
            gpus.append(Gpu(name=f"{vendor} GPU {_text(card / 'device/device')}", interface="Vulkan", total_bytes=size))
    return tuple(gpus)


def apple(model: str, memory_bytes: int) -> tuple[Gpu, ...]:
    """The GPU inside an Apple chip."""
    return (Gpu(name=model, interface="Metal", total_bytes=memory_bytes, unified=True),)


def _folders(folder: Path) -> Sequence[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return ()


def _properties(path: Path) -> Mapping[str, int]:
    pairs = (line.partition(" ") for line in _text(path).splitlines())
    return {name: int(value) for name, _, value in pairs if value.strip().isdigit()}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
