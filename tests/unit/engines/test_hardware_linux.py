"""Limits and names as Linux tells them, from copies of its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tundish.catalog.hardware import Memory
from tundish.engines.hardware import linux as hardware_linux
from tundish.engines.hardware.linux import GroupLimits
from tundish.engines.hardware.survey import within_limits

MIB = 2**20


@pytest.fixture
def root(tmp_path: Path) -> Callable[[Mapping[str, str]], Path]:
    """A root folder with the given files."""

    def write(files: Mapping[str, str]) -> Path:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return write


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert hardware_linux.group_limits(tmp_path) == GroupLimits(
        memory_bytes=None, memory_available_bytes=None, cpus=None
    )


def test_version_2_in_a_container(root) -> None:
    """Its own group is the root of what it sees."""
    limits = hardware_linux.group_limits(
        root(
            {
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/cgroup.controllers": "cpu memory",
                "sys/fs/cgroup/memory.max": f"{512 * MIB}\n",
                "sys/fs/cgroup/memory.current": f"{300 * MIB}\n",
                "sys/fs/cgroup/memory.stat": f"anon {100 * MIB}\ninactive_file {180 * MIB}\nactive_file 0\n",
                "sys/fs/cgroup/cpu.max": "150000 100000\n",
            }
        )
    )
    assert limits == GroupLimits(memory_bytes=512 * MIB, memory_available_bytes=392 * MIB, cpus=1.5)


def test_version_2_takes_the_tightest_of_nested_groups(root) -> None:
    """As a systemd service: the slice has a limit, the service a looser one."""
    base = "sys/fs/cgroup"
    limits = hardware_linux.group_limits(
        root(
            {
                "proc/self/cgroup": "0::/apps.slice/tundish.service\n",
                f"{base}/cgroup.controllers": "cpu memory",
                f"{base}/apps.slice/memory.max": f"{1000 * MIB}\n",
                f"{base}/apps.slice/memory.current": f"{900 * MIB}\n",
                f"{base}/apps.slice/cpu.max": "max 100000\n",
                f"{base}/apps.slice/tundish.service/memory.max": f"{2000 * MIB}\n",
                f"{base}/apps.slice/tundish.service/memory.current": f"{10 * MIB}\n",
                f"{base}/apps.slice/tundish.service/cpu.max": "400000 100000\n",
            }
        )
    )
    assert limits == GroupLimits(memory_bytes=1000 * MIB, memory_available_bytes=100 * MIB, cpus=4.0)


def test_version_2_without_a_limit_says_max(root) -> None:
    files = {
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/cgroup.controllers": "",
        "sys/fs/cgroup/memory.max": "max\n",
        "sys/fs/cgroup/cpu.max": "max 100000\n",
    }
    assert hardware_linux.group_limits(root(files)).memory_bytes is None


def test_version_1(root) -> None:
    group = "sys/fs/cgroup/memory/docker/4f"
    limits = hardware_linux.group_limits(
        root(
            {
                "proc/self/cgroup": "11:memory:/docker/4f\n4:cpu,cpuacct:/docker/4f\n1:name=systemd:/docker/4f\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                f"{group}/memory.limit_in_bytes": f"{800 * MIB}\n",
                f"{group}/memory.usage_in_bytes": f"{500 * MIB}\n",
                f"{group}/memory.stat": f"cache 0\ntotal_inactive_file {100 * MIB}\n",
                "sys/fs/cgroup/cpu,cpuacct/docker/4f/cpu.cfs_quota_us": "50000\n",
                "sys/fs/cgroup/cpu,cpuacct/docker/4f/cpu.cfs_period_us": "100000\n",
            }
        )
    )
    assert limits == GroupLimits(memory_bytes=800 * MIB, memory_available_bytes=400 * MIB, cpus=0.5)


def test_version_1_in_a_container_that_sees_the_hosts_paths(root) -> None:
    files = {
        "proc/self/cgroup": "11:memory:/docker/4f\n4:cpu:/docker/4f\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{800 * MIB}\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{900 * MIB}\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    }
    limits = hardware_linux.group_limits(root(files))
    assert limits == GroupLimits(memory_bytes=800 * MIB, memory_available_bytes=0, cpus=None)


def test_both_versions_at_once(root) -> None:
    """The hybrid layout, with version 2 in a folder of its own."""
    files = {
        "proc/self/cgroup": "4:memory:/a\n0::/b\n",
        "sys/fs/cgroup/memory/a/memory.limit_in_bytes": f"{800 * MIB}\n",
        "sys/fs/cgroup/unified/cgroup.controllers": "",
        "sys/fs/cgroup/unified/b/memory.max": f"{700 * MIB}\n",
        "sys/fs/cgroup/unified/b/memory.current": "0\n",
    }
    assert hardware_linux.group_limits(root(files)).memory_bytes == 700 * MIB


def test_files_that_make_no_sense_are_no_limits(root) -> None:
    files = {
        "proc/self/cgroup": "nonsense\n0::/../../etc\n",
        "sys/fs/cgroup/cgroup.controllers": "",
        "sys/fs/cgroup/memory.max": "lots\n",
        "sys/fs/cgroup/cpu.max": "1 0\n",
    }
    assert hardware_linux.group_limits(root(files)) == GroupLimits(
        memory_bytes=None, memory_available_bytes=None, cpus=None
    )


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ((None, None), (1000, 600, "")),
        ((400, 300), (400, 300, "control group")),
        ((900, 800), (900, 600, "control group")),
        ((5000, 4000), (1000, 600, "")),
    ],
)
def test_memory_within_limits(limits, expected) -> None:
    groups = GroupLimits(memory_bytes=limits[0], memory_available_bytes=limits[1], cpus=None)
    memory = within_limits(Memory(total_bytes=1000, available_bytes=600), groups)
    assert (memory.total_bytes, memory.available_bytes, memory.limited_by) == expected


def _topology(pairs: Mapping[int, str]) -> Mapping[str, str]:
    return {f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list": f"{s}\n" for cpu, s in pairs.items()}


def test_hyper_threads_are_one_core(root) -> None:
    folder = root(_topology({0: "0,4", 1: "1,5", 4: "0,4", 5: "1,5"}))
    assert hardware_linux.physical_cores(folder, {0, 1, 4, 5}) == 2
    assert hardware_linux.physical_cores(folder, {0, 4}) == 1
    assert hardware_linux.physical_cores(folder, {0, 5}) == 2
    assert hardware_linux.physical_cores(folder, {0, 9}) is None
    assert hardware_linux.physical_cores(folder, set()) is None


@pytest.mark.parametrize(("quota", "threads"), [(None, 8), (0.5, 1), (1.0, 1), (1.5, 2), (64.0, 8)])
def test_threads_within_a_quota(quota, threads) -> None:
    assert hardware_linux.cores_within_quota(8, quota) == threads


def test_an_x86_processor(root) -> None:
    text = "processor\t: 0\nmodel name\t: AMD EPYC 7B13\nflags\t\t: fpu sse4_2 avx f16c fma avx2\n\nprocessor\t: 1\n"
    assert hardware_linux.processor(root({"proc/cpuinfo": text})) == ("AMD EPYC 7B13", ("AVX", "AVX2", "F16C", "FMA"))


def test_an_arm_processor(root) -> None:
    text = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd aes asimddp i8mm sve\nCPU implementer\t: 0x41\n"
    assert hardware_linux.processor(root({"proc/cpuinfo": text})) == ("", ("NEON", "DOTPROD", "I8MM", "SVE"))
