"""Whether memory grows: a million requests, or ten thousand streams whose client leaves in the middle."""

from __future__ import annotations

import time

from benchmarks.gateway import machine
from benchmarks.gateway.load import Tools, finish
from benchmarks.gateway.running import Running

_LONGEST_S = 3600.0
_SAMPLES = 20
_LEAVE_AFTER = 5


def curve(tools: Tools, run: Running, *, requests: int, abandoned: int) -> str:
    """Resident memory over both loads, as lines of text. At the end, what is left once everything is over."""
    lines = [f"  start{machine.resident_mib(run.pid):>28.1f} MiB"]
    for what, count, leave in (("requests", requests, 0), ("abandoned streams", abandoned, _LEAVE_AFTER)):
        if count:
            lines += _one(tools, run, what, count, leave)
    time.sleep(2.0)
    lines.append(f"  two seconds later{machine.resident_mib(run.pid):>16.1f} MiB")
    return "\n".join(lines)


def _one(tools: Tools, run: Running, what: str, count: int, leave: int) -> list[str]:
    """In portions, so that memory can be looked at between them and the curve is over requests and not over time."""
    lines: list[str] = []
    portion = max(1, count // _SAMPLES)
    for done in range(portion, count + 1, portion):
        process = tools.start(
            run.target,
            connections=64,
            seconds=_LONGEST_S,
            requests=portion,
            stream=leave > 0,
            paced=leave > 0,
            abandon_after=leave,
        )
        load = finish(process)
        failed = f"  {load.failed} FAILED" if load.failed else ""
        lines.append(f"  {done:>9,} {what:<18}{machine.resident_mib(run.pid):>9.1f} MiB{failed}")
    return lines
