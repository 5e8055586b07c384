"""The figures of one contender in one round."""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
from collections.abc import Sequence

from benchmarks.gateway import machine
from benchmarks.gateway.load import Load, LoadFailed, Target, Tools
from benchmarks.gateway.running import Running

CONNECTIONS = (1, 16, 64)
STREAMS = 16
_WARM_S = 0.7


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the table shows; None where it was not measured."""

    rps_1: float
    rps_16: float
    rps_64: float
    p50_added_ms: float | None
    """At one connection, over the model server called directly."""
    p50_ms_16: float
    p99_ms_16: float
    cpu_us_per_request: float | None
    """User and system time of the process tree at 64 connections."""
    first_token_added_ms: float | None
    """Time to first token of streams that come with a chunk in 10 ms, over the same directly."""
    chunks_per_s: float | None
    cpu_us_per_chunk: float | None
    resident_mib: float | None
    start_s: float | None
    failed: int
    """Responses that were no 200, or too short."""
    trouble: str = ""
    """Why a figure is missing."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Direct:
    """The model server without a gateway."""

    p50_us: int
    first_p50_us: int
    figures: Figures


def _rate(load: Load) -> float:
    return load.responses / load.seconds


def measure(tools: Tools, target: Target, seconds: float, *, run: Running | None, direct: Direct | None) -> Figures:
    """All figures of one target; without `run` nothing is known of its process."""
    _warm(tools, target, stream=False)
    loads: dict[int, Load] = {}
    cpu: float | None = None
    for connections in CONNECTIONS:
        before_s = machine.cpu_s(run.pid) if run else 0.0
        loads[connections] = load = tools.run(target, connections=connections, seconds=seconds)
        if run:
            cpu = (machine.cpu_s(run.pid) - before_s) / max(load.responses, 1) * 1e6
    streams, paced, cpu_chunk, trouble = None, None, None, ""
    try:
        _warm(tools, target, stream=True)
        before_s = machine.cpu_s(run.pid) if run else 0.0
        streams = tools.run(target, connections=STREAMS, seconds=seconds, stream=True)
        cpu_chunk = (machine.cpu_s(run.pid) - before_s) / max(streams.events, 1) * 1e6 if run else None
        paced = tools.run_paced(target, connections=STREAMS, seconds=max(seconds, 2.0))
    except LoadFailed as error:
        trouble = f"streams: {error}"
    return Figures(
        rps_1=_rate(loads[1]),
        rps_16=_rate(loads[16]),
        rps_64=_rate(loads[64]),
        p50_added_ms=(loads[1].p50_us - direct.p50_us) / 1e3 if direct else None,
        p50_ms_16=loads[16].p50_us / 1e3,
        p99_ms_16=loads[16].p99_us / 1e3,
        cpu_us_per_request=cpu,
        first_token_added_ms=(paced.first_p50_us - direct.first_p50_us) / 1e3 if direct and paced else None,
        chunks_per_s=streams.events / streams.seconds if streams else None,
        cpu_us_per_chunk=cpu_chunk,
        resident_mib=machine.resident_mib(run.pid) if run else None,
        start_s=run.start_s if run else None,
        failed=sum(load.failed for load in (*loads.values(), streams, paced) if load),
        trouble=trouble,
    )


def _warm(tools: Tools, target: Target, *, stream: bool) -> None:
    with contextlib.suppress(LoadFailed):  # the slowest answer nothing in that time
        tools.run(target, connections=STREAMS, seconds=_WARM_S, stream=stream)


def measure_direct(tools: Tools, port: int, seconds: float) -> Direct:
    """The baseline, in the same round."""
    target = Target(port=port)
    one = tools.run(target, connections=1, seconds=seconds)
    paced = tools.run_paced(target, connections=STREAMS, seconds=max(seconds, 2.0))
    figures = measure(tools, target, seconds, run=None, direct=None)
    return Direct(p50_us=one.p50_us, first_p50_us=paced.first_p50_us, figures=figures)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Of the rounds."""

    median: float
    least: float
    most: float


def spread(rounds: Sequence[Figures], name: str) -> Spread | None:
    """Median and extremes of one figure; None where no round has it."""
    values = [value for value in (getattr(figures, name) for figures in rounds) if value is not None]
    if not values:
        return None
    return Spread(median=statistics.median(values), least=min(values), most=max(values))
