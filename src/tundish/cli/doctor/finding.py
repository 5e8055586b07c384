"""What the doctor finds, one thing at a time."""

from __future__ import annotations

import dataclasses
import enum


class Level(enum.Enum):
    """How a finding is meant."""

    OK = "ok"
    WARNING = "warning"
    """It works, and could work better, or soon may not."""
    PROBLEM = "problem"
    """Something that was asked for will not work."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report."""

    topic: str
    level: Level
    text: str
    advice: str = ""
    """What to do about it; empty where nothing needs to be done."""


def ok(topic: str, text: str) -> Finding:
    """As it should be, or simply worth knowing."""
    return Finding(topic=topic, level=Level.OK, text=text)


def warning(topic: str, text: str, advice: str) -> Finding:
    """To be looked at."""
    return Finding(topic=topic, level=Level.WARNING, text=text, advice=advice)


def problem(topic: str, text: str, advice: str) -> Finding:
    """To be mended."""
    return Finding(topic=topic, level=Level.PROBLEM, text=text, advice=advice)
