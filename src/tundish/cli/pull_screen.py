"""Shows a pull, and anything else that takes as long as the bytes are many, on stderr."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from types import TracebackType
from typing import Self, assert_never

from tundish.cli.model_view import size
from tundish.sources.progress import PullEvent, PullFinished, PullNote, PullProgress, PullStarted, PullWaiting

_LINE_CHARS = 79
_QUIET_S = 10.0
"""Between two lines where there is no terminal to rewrite one on."""


class StatusLine:
    """One line that is written over on a terminal, and now and then anew elsewhere."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._shown = False
        self._said_s = float("-inf")

    def show(self, text: str) -> None:
        """Replace the line."""
        now_s = time.monotonic()
        if self._live:
            print(f"\r{text[:_LINE_CHARS]:<{_LINE_CHARS}}", end="", file=sys.stderr, flush=True)
            self._shown = True
        elif now_s - self._said_s >= _QUIET_S:
            print(text, file=sys.stderr, flush=True)
        else:
            return
        self._said_s = now_s

    def say(self, text: str) -> None:
        """A line that stays."""
        self.end()
        print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line."""
        if self._shown:
            print(file=sys.stderr, flush=True)
        self._shown = False


class PullScreen:
    """Pull events for people, or one JSON object a line on stdout."""

    def __init__(self, *, as_json: bool, quiet: bool = False) -> None:
        """`quiet`: stdout belongs to somebody else."""
        self._as_json = as_json
        self._out = sys.stderr if quiet else sys.stdout
        self._line = StatusLine()

    def show(self, event: PullEvent) -> None:
        """Show one event."""
        if self._as_json:
            kind = type(event).__name__.removeprefix("Pull").lower()
            print(json.dumps({"event": kind, **dataclasses.asdict(event)}), flush=True)
            return
        match event:
            case PullStarted():
                total = size(event.total_bytes) if event.total_bytes is not None else "size not known yet"
                kept = f", {size(event.arrived_bytes)} of it are here already" if event.arrived_bytes else ""
                self._line.say(f"Pulling {event.model}: {_files(event.files)}, {total}{kept}")
            case PullProgress():
                self._line.show(_progress(event))
            case PullWaiting():
                self._line.show(f"Another process is fetching {event.model}: {size(event.arrived_bytes)} so far")
            case PullNote():
                self._line.say(event.text)
            case PullFinished():
                self._line.end()
                done = "is here" if event.fetched else "was here already"
                print(f"{event.model} {done} ({size(event.size_bytes)}).", file=self._out)
            case _:
                assert_never(event)

    def end(self) -> None:
        """Nothing more will come."""
        self._line.end()


class ByteCounter:
    """Counts the bytes of something long, aloud."""

    def __init__(self, what: str, *, silent: bool) -> None:
        self._what, self._silent = what, silent
        self._line = StatusLine()
        self._bytes = 0
        self._told_s = time.monotonic()

    def add(self, count: int) -> None:
        """So many more."""
        self._bytes += count
        now_s = time.monotonic()
        if not self._silent and now_s - self._told_s >= 0.5:
            self._told_s = now_s
            self._line.show(f"{self._what}: {size(self._bytes)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._line.end()


def _progress(event: PullProgress) -> str:
    total = "" if event.total_bytes is None else f" of {size(event.total_bytes)}"
    share = f"{100 * event.arrived_bytes / event.total_bytes:3.0f}%  " if event.total_bytes else ""
    left = "" if event.left_s is None else f", {duration(event.left_s)} left"
    return f"{share}{size(event.arrived_bytes)}{total}, {size(event.bytes_per_s)}/s{left}"


def duration(seconds: float) -> str:
    """For people, as `2 min 05 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"
