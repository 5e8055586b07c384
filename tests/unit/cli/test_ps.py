from __future__ import annotations

from tundish.cli import load, ps
from tundish.wire.deployments import DeploymentEntry, DeploymentList

GB = 10**9


def entry(
    name: str,
    state: str = "ready",
    *,
    detail: str = "",
    pinned: bool = False,
    running: int = 0,
    waiting: int = 0,
    keep_alive_s: float | None = 300.0,
    expires_in_s: float | None = None,
    context_length: int | None = 8192,
) -> DeploymentEntry:
    return DeploymentEntry(
        name=name,
        state=state,
        detail=detail,
        memory_bytes=12 * GB,
        pinned=pinned,
        running=running,
        waiting=waiting,
        slots=4,
        keep_alive_s=keep_alive_s,
        idle_s=None,
        expires_in_s=expires_in_s,
        loads=1,
        restarts=0,
        context_length=context_length,
    )


def listed(*entries: DeploymentEntry, everything: bool = False) -> list[str]:
    told = DeploymentList(deployments=entries, memory_budget_bytes=30 * GB, memory_held_bytes=24 * GB)
    return ps.describe(told, everything=everything).splitlines()


def test_what_is_in_memory_or_on_its_way_is_listed_and_the_rest_on_demand() -> None:
    entries = (
        entry("idle", expires_in_s=125.4),
        entry("busy", running=2),
        entry("coming", "loading", detail="loading: 4.2 of 12.1 GB, 9 s so far", waiting=3, context_length=None),
        entry("cold", "unloaded"),
    )
    head, idle, busy, coming, gap, memory = listed(*entries)
    assert head.split() == ["MODEL", "STATE", "MEMORY", "CONTEXT", "RUNNING", "WAITING", "UNLOADED", "IN", "DETAIL"]
    assert idle.split() == ["idle", "ready", "12.0", "GB", "8192", "2", "min", "05", "s"]
    assert "5 min 00 s after its last request" in busy
    assert coming.split()[:5] == ["coming", "loading", "12.0", "GB", "3"]
    assert coming.endswith("loading: 4.2 of 12.1 GB, 9 s so far")
    assert gap == ""
    assert memory == "Memory: 24.0 GB taken of the 30.0 GB that models may use here."
    assert any(line.startswith("cold") for line in listed(*entries, everything=True))


def test_nothing_in_memory_is_said_with_what_could_be() -> None:
    first, memory = listed(entry("cold", "unloaded"))
    assert first == "No model is in memory; 1 can be loaded (`tundish ps --all` lists them)."
    assert memory.startswith("Memory:")


def test_what_stays_says_why() -> None:
    lines = listed(entry("a", pinned=True), entry("b", keep_alive_s=None), entry("c", "failed", detail="no such file"))
    assert "never: pinned" in lines[1]
    assert "never" in lines[2]
    assert lines[3].split() == ["c", "failed", "12.0", "GB", "8192", "no", "such", "file"]


def test_a_load_is_confirmed_in_one_sentence() -> None:
    assert load.describe(entry("a")) == "a is loaded (12.0 GB, context 8192 tokens)."
    assert load.describe(entry("a", pinned=True, context_length=None)) == "a is loaded (12.0 GB, pinned)."
