"""What Linux tells about this process's share of the machine. `root` is `/`, or a copy of it in a test."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

_NO_LIMIT_FROM = 2**60
"""Version 1 says "no limit" with a number about as large as a page count can be."""

_VECTOR_UNITS: Mapping[str, str] = {
    "avx": "AVX",
    "avx2": "AVX2",
    "f16c": "F16C",
    "fma": "FMA",
    "avx_vnni": "AVX-VNNI",
    "avx512f": "AVX512",
    "avx512_vnni": "AVX512-VNNI",
    "avx512_bf16": "AVX512-BF16",
    "amx_int8": "AMX-INT8",
    "asimd": "NEON",
    "asimddp": "DOTPROD",
    "i8mm": "I8MM",
    "sve": "SVE",
    "sve2": "SVE2",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GroupLimits:
    """What the control groups that this process is in allow; None is no limit."""

    memory_bytes: int | None
    memory_available_bytes: int | None
    cpus: float | None


def group_limits(root: Path) -> GroupLimits:
    """The tightest limits on the way from this process's control group to the root one, of versions 1 and 2."""
    paths = _group_paths(root)
    base = root / "sys/fs/cgroup"
    unified = base if (base / "cgroup.controllers").exists() else base / "unified"
    memory = [
        *_limits_v2(_upwards(unified, paths.get(""))),
        *_limits_v1(_upwards(base / "memory", paths.get("memory"))),
    ]
    cpus = [
        *_quotas_v2(_upwards(unified, paths.get(""))),
        *_quotas_v1(_upwards(base / "cpu", paths.get("cpu"))),
        *_quotas_v1(_upwards(base / "cpu,cpuacct", paths.get("cpu"))),
    ]
    return GroupLimits(
        memory_bytes=min((limit for limit, _ in memory), default=None),
        memory_available_bytes=min((max(limit - used, 0) for limit, used in memory), default=None),
        cpus=min(cpus, default=None),
    )


def _group_paths(root: Path) -> Mapping[str, str]:
    """Controller → the group's path; the controller of version 2 is the empty name."""
    paths: dict[str, str] = {}
    for line in _text(root / "proc/self/cgroup").splitlines():
        fields = line.split(":", 2)
        if len(fields) == 3:
            paths |= dict.fromkeys(fields[1].split(","), fields[2])
    return paths


def _upwards(mount: Path, group: str | None) -> Sequence[Path]:
    """The group's folder and those above it. In a container the path may be the host's, and only the mount be ours."""
    if group is None:
        return ()
    folders = [mount]
    for part in (part for part in group.split("/") if part not in ("", ".", "..")):
        folders.append(folders[-1] / part)
    return [folder for folder in folders if folder.is_dir()]


def _limits_v2(folders: Sequence[Path]) -> Sequence[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for folder in folders:
        limit = _number(folder / "memory.max")
        if limit is not None:
            found.append((limit, _used(folder, "memory.current", "inactive_file")))
    return found


def _limits_v1(folders: Sequence[Path]) -> Sequence[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for folder in folders:
        limit = _number(folder / "memory.limit_in_bytes")
        if limit is not None and limit < _NO_LIMIT_FROM:
            found.append((limit, _used(folder, "memory.usage_in_bytes", "total_inactive_file")))
    return found


def _used(folder: Path, usage: str, reclaimable: str) -> int:
    """Memory in use that the kernel cannot simply take back."""
    for line in _text(folder / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name == reclaimable and value.isdigit():
            return max((_number(folder / usage) or 0) - int(value), 0)
    return _number(folder / usage) or 0


def _quotas_v2(folders: Sequence[Path]) -> Sequence[float]:
    quotas: list[float] = []
    for folder in folders:
        quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
        if quota.isdigit() and period.isdigit() and int(period):
            quotas.append(int(quota) / int(period))
    return quotas


def _quotas_v1(folders: Sequence[Path]) -> Sequence[float]:
    quotas: list[float] = []
    for folder in folders:
        quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        if quota and period:  # a quota of -1 is none, and no number here
            quotas.append(quota / period)
    return quotas


def physical_cores(root: Path, cpus: Collection[int]) -> int | None:
    """Physical cores among the logical `cpus`; None when Linux does not tell."""
    cores = {_text(root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").strip() for cpu in cpus}
    return None if not cores or "" in cores else len(cores)


def cores_within_quota(cores: int, quota_cpus: float | None) -> int:
    """Threads that make sense: more than the quota only wait for each other."""
    return max(1, cores if quota_cpus is None else min(cores, math.ceil(quota_cpus)))


def processor(root: Path) -> tuple[str, tuple[str, ...]]:
    """Name and vector units of the CPU."""
    name, flags = "", ""
    for line in _text(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name" and not name:
            name = value.strip()
        if key.strip() in ("flags", "Features") and not flags:
            flags = value
    present = set(flags.split())
    return name, tuple(unit for flag, unit in _VECTOR_UNITS.items() if flag in present)


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
