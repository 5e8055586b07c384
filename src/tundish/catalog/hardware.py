"""What a machine has for models: `tundish.engines.hardware` measures it, `tundish.catalog.fit` reckons with it."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Main memory, as far as this process may use it."""

    total_bytes: int
    available_bytes: int
    """Free, or held by files that can be read again."""
    limited_by: str = ""
    """What allows less than the machine has: `control group`."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """The CPU, as far as this process may use it."""

    name: str
    architecture: str
    """`x86_64` or `arm64`."""
    physical_cores: int
    usable_cores: int
    """Physical cores within this process's affinity and quota; at least 1."""
    vector_units: tuple[str, ...] = ()
    """`AVX2`, `AVX512`, `NEON` …"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A graphics processor."""

    name: str
    interface: str
    """What drives it: `CUDA`, `ROCm`, `Metal`, `Vulkan`."""
    total_bytes: int = 0
    """0 is unknown."""
    free_bytes: int = 0
    driver: str = ""
    unified: bool = False
    """Whether it shares main memory."""
    usable: bool = False
    """Whether the llama.cpp that is installed here can compute on it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """A snapshot of the machine."""

    system: str
    memory: Memory
    processor: Processor
    gpus: tuple[Gpu, ...] = ()
    vulkan_loader: bool = False

    @property
    def usable_gpus(self) -> tuple[Gpu, ...]:
        """Those that the installed llama.cpp computes on."""
        return tuple(gpu for gpu in self.gpus if gpu.usable)
