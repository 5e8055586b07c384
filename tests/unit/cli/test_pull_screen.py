"""How a pull is told."""

from __future__ import annotations

import json

import pytest

from tundish.cli.pull_screen import PullScreen
from tundish.sources.progress import PullEvent, PullFinished, PullNote, PullProgress, PullStarted, PullWaiting

MB = 1_000_000
EVENTS: list[PullEvent] = [
    PullWaiting(model="a/b:c", arrived_bytes=MB),
    PullStarted(model="a/b:c", files=2, total_bytes=100 * MB, arrived_bytes=10 * MB),
    PullProgress(arrived_bytes=50 * MB, total_bytes=100 * MB, bytes_per_s=2 * MB, left_s=25.4),
    PullNote(text="trying again"),
    PullFinished(model="a/b:c", size_bytes=100 * MB, fetched=True),
]


def show(events: list[PullEvent], *, as_json: bool) -> None:
    screen = PullScreen(as_json=as_json)
    for event in events:
        screen.show(event)
    screen.end()


def test_people_are_told_on_stderr_and_the_outcome_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    show(EVENTS, as_json=False)
    out, err = capsys.readouterr()
    assert out == "a/b:c is here (100.0 MB).\n"
    assert err.splitlines() == [
        "Another process is fetching a/b:c: 1.0 MB so far",
        "Pulling a/b:c: 2 files, 100.0 MB, 10.0 MB of it are here already",
        "trying again",
    ]  # where there is no terminal, progress is told every ten seconds only


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (EVENTS[2], " 50%  50.0 MB of 100.0 MB, 2.0 MB/s, 25 s left"),
        (PullProgress(arrived_bytes=MB, total_bytes=None, bytes_per_s=0, left_s=None), "1.0 MB, 0 B/s"),
        (
            PullProgress(arrived_bytes=1, total_bytes=10**12, bytes_per_s=2e5, left_s=5e6),
            "  0%  1 B of 1000.0 GB, 200.0 kB/s, 1388 h 53 min left",
        ),
        (
            PullProgress(arrived_bytes=MB, total_bytes=2 * MB, bytes_per_s=1e4, left_s=100),
            " 50%  1.0 MB of 2.0 MB, 10.0 kB/s, 1 min 40 s left",
        ),
    ],
)
def test_rate_and_time_left(event: PullEvent, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    show([event], as_json=False)
    assert capsys.readouterr().err == line + "\n"


def test_programs_are_told_everything_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    show(EVENTS, as_json=True)
    out, err = capsys.readouterr()
    assert err == ""
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["event"] for line in lines] == ["waiting", "started", "progress", "note", "finished"]
    assert lines[2]["left_s"] == 25.4
