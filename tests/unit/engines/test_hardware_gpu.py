"""GPUs as their drivers describe them."""

from __future__ import annotations

import ctypes
from pathlib import Path

from tundish.catalog.hardware import Gpu
from tundish.engines.hardware import gpus as hardware_gpu
from tundish.engines.hardware.build import BuildDevice
from tundish.engines.hardware.survey import match_gpus

GB = 10**9


class Nvml:
    """NVIDIA's library, with two GPUs, as ctypes would call it."""

    def __init__(self, *, start: int = 0, broken: frozenset[int] = frozenset()) -> None:
        self.start, self.broken, self.is_open = start, broken, False

    def nvmlInit_v2(self) -> int:  # noqa: N802 - NVIDIA's name
        self.is_open = self.start == 0
        return self.start

    def nvmlShutdown(self) -> int:  # noqa: N802
        self.is_open = False
        return 0

    def nvmlDeviceGetCount_v2(self, count) -> int:  # noqa: N802
        count._obj.value = 2
        return 0

    def nvmlSystemGetDriverVersion(self, text, size) -> int:  # noqa: N802
        text.value = b"580.95.05"
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index, handle) -> int:  # noqa: N802
        handle._obj.value = 1000 + index.value
        return 999 if index.value in self.broken else 0

    def nvmlDeviceGetName(self, handle, text, size) -> int:  # noqa: N802
        text.value = b"NVIDIA H100 80GB HBM3" if handle.value == 1000 else b"NVIDIA L4"
        return 0

    def nvmlDeviceGetMemoryInfo(self, handle, memory) -> int:  # noqa: N802
        memory._obj.total, memory._obj.free = 80 * GB, 79 * GB
        return 0


def test_nvidia_gpus() -> None:
    library = Nvml()
    first, second = hardware_gpu.nvidia(library)
    assert first == Gpu(
        name="NVIDIA H100 80GB HBM3", interface="CUDA", total_bytes=80 * GB, free_bytes=79 * GB, driver="580.95.05"
    )
    assert second.name == "NVIDIA L4"
    assert not library.is_open


def test_a_driver_that_does_not_start_has_no_gpus() -> None:
    assert hardware_gpu.nvidia(Nvml(start=9)) == ()
    assert hardware_gpu.nvidia(None) == ()


def test_a_gpu_that_has_fallen_off_the_bus_is_left_out() -> None:
    (gpu,) = hardware_gpu.nvidia(Nvml(broken=frozenset({0})))
    assert gpu.name == "NVIDIA L4"


def test_an_old_library_has_no_gpus_and_is_closed() -> None:
    class Old(Nvml):
        nvmlDeviceGetCount_v2 = property()  # noqa: N815 - reading it raises AttributeError

    library = Old()
    assert hardware_gpu.nvidia(library) == ()
    assert not library.is_open


def test_the_c_structure_is_as_nvidia_lays_it_out() -> None:
    memory = hardware_gpu._NvmlMemory
    assert ctypes.sizeof(memory) == 24
    assert (memory.total.offset, memory.free.offset, memory.used.offset) == (0, 8, 16)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_rocm_tells_gpus_from_the_cpus_beside_them(tmp_path: Path) -> None:
    nodes = tmp_path / "sys/class/kfd/kfd/topology/nodes"
    _write(nodes / "0/properties", "cpu_cores_count 16\nsimd_count 0\n")
    _write(nodes / "1/properties", "cpu_cores_count 0\nsimd_count 304\nlocation_id 768\n")
    _write(nodes / "1/name", "gfx942\n")
    _write(nodes / "1/mem_banks/0/properties", f"heap_type 1\nsize_in_bytes {192 * GB}\n")
    _write(nodes / "1/mem_banks/1/properties", "heap_type 4\nsize_in_bytes 65536\n")
    assert hardware_gpu.rocm(tmp_path) == (Gpu(name="AMD gfx942", interface="ROCm", total_bytes=192 * GB),)
    assert hardware_gpu.rocm(tmp_path / "elsewhere") == ()


def test_display_drivers_name_other_gpus(tmp_path: Path) -> None:
    cards = tmp_path / "sys/class/drm"
    _write(cards / "card0/device/vendor", "0x8086\n")
    _write(cards / "card0/device/device", "0x56a0\n")
    _write(cards / "card1/device/vendor", "0x1af4\n")  # a virtual screen
    _write(cards / "card0-HDMI-A-1/device/vendor", "0x8086\n")
    _write(cards / "card2/device/vendor", "0x1002\n")
    _write(cards / "card2/device/device", "0x744c\n")
    _write(cards / "card2/device/mem_info_vram_total", f"{24 * GB}\n")
    names = [(gpu.name, gpu.total_bytes) for gpu in hardware_gpu.drm(tmp_path)]
    assert names == [("Intel GPU 0x56a0", 0), ("AMD GPU 0x744c", 24 * GB)]


def _device(name: str, description: str, *, integrated: bool = False) -> BuildDevice:
    return BuildDevice(
        name=name, description=description, total_bytes=24 * GB, free_bytes=20 * GB, integrated=integrated
    )


def test_a_build_for_the_cpu_alone_can_use_none() -> None:
    (gpu,) = match_gpus([Gpu(name="NVIDIA L4", interface="CUDA")], [])
    assert not gpu.usable


def test_a_gpu_that_the_build_lists_is_usable_with_the_builds_numbers() -> None:
    found = [Gpu(name="NVIDIA L4", interface="CUDA", free_bytes=1, driver="580")]
    (gpu,) = match_gpus(found, [_device("CUDA0", "NVIDIA L4")])
    assert gpu == Gpu(
        name="NVIDIA L4", interface="CUDA", total_bytes=24 * GB, free_bytes=20 * GB, driver="580", usable=True
    )


def test_equal_gpus_are_matched_one_by_one() -> None:
    found = [Gpu(name="NVIDIA L4", interface="CUDA")] * 2
    assert [gpu.usable for gpu in match_gpus(found, [_device("CUDA0", "NVIDIA L4")])] == [True, False]


def test_an_apple_gpu_shares_memory() -> None:
    (gpu,) = match_gpus(hardware_gpu.apple("Apple M3", 16 * GB), [_device("MTL0", "Apple M3 GPU")])
    assert gpu.usable
    assert gpu.unified
    assert gpu.interface == "Metal"


def test_what_only_the_build_knows_is_added() -> None:
    gpus = match_gpus([], [_device("Vulkan0", "Intel Arc", integrated=True), _device("HIP0", "AMD Radeon")])
    assert [(gpu.interface, gpu.usable, gpu.unified) for gpu in gpus] == [
        ("Vulkan", True, True),
        ("ROCm", True, False),
    ]
