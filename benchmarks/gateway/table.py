"""Figures as a table that can stand in docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.gateway.measure import Figures, spread

_COLUMNS: Sequence[tuple[str, str, str]] = (
    ("rps_1", "req/s c=1", ",.0f"),
    ("rps_16", "c=16", ",.0f"),
    ("rps_64", "c=64", ",.0f"),
    ("p50_added_ms", "p50 added ms", ".2f"),
    ("p50_ms_16", "p50 ms c=16", ".2f"),
    ("p99_ms_16", "p99 ms c=16", ".1f"),
    ("cpu_us_per_request", "CPU µs/req", ",.0f"),
    ("first_token_added_ms", "TTFT added ms", ".2f"),
    ("chunks_per_s", "chunks/s", ",.0f"),
    ("cpu_us_per_chunk", "CPU µs/chunk", ".1f"),
    ("resident_mib", "RSS MiB", ",.0f"),
    ("start_s", "start s", ".2f"),
)


def render(rounds: Mapping[str, Sequence[Figures]], does: Mapping[str, str]) -> str:
    """Medians, and below each the least and the most when there were several rounds."""
    lines = ["| | " + " | ".join(title for _, title, _ in _COLUMNS) + " |", "|---" * (len(_COLUMNS) + 1) + "|"]
    for name, figures in rounds.items():
        lines.append(f"| {name} | " + " | ".join(_cell(figures, *column) for column in _COLUMNS) + " |")
    lines.append("")
    lines += [f"{name}: {does[name]}" for name in rounds if does.get(name)]
    failed = {name: sum(figure.failed for figure in figures) for name, figures in rounds.items()}
    lines += [f"{name}: {count} responses FAILED" for name, count in failed.items() if count]
    troubles = {
        name: next((figure.trouble for figure in figures if figure.trouble), "") for name, figures in rounds.items()
    }
    lines += [f"{name}: {trouble}" for name, trouble in troubles.items() if trouble]
    return "\n".join(lines)


def _cell(figures: Sequence[Figures], name: str, _: str, form: str) -> str:
    found = spread(figures, name)
    if found is None:
        return "–"
    if len(figures) == 1:
        return format(found.median, form)
    return f"{found.median:{form}} ({found.least:{form}}–{found.most:{form}})"


def against(rounds: Mapping[str, Sequence[Figures]], ours: str) -> str:
    """How many times the requests of each peer, at 64 connections, in the same run."""
    if ours not in rounds:
        return ""
    mine = spread(rounds[ours], "rps_64")
    peers = {name: spread(figures, "rps_64") for name, figures in rounds.items() if name not in (ours, "direct")}
    if mine is None:
        return ""
    shown = [f"{mine.median / peer.median:.2f} × {name}" for name, peer in peers.items() if peer is not None]
    return f"{ours} at 64 connections: {', '.join(shown)}" if shown else ""
