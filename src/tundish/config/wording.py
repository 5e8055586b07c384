"""How messages show names and values."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:/@+-]{0,126}[A-Za-z0-9_])?")
_SHOWN = 40
NAME_RULE = "letters, digits and . _ : / @ + -, at most 128, beginning with a letter or digit and ending with one or _"


def is_name(text: str) -> bool:
    """Whether `text` may name a place, a deployment, a route, a project or a key."""
    return _NAME.fullmatch(text) is not None


def did_you_mean(given: str, known: Collection[str]) -> str:
    """` Did you mean 'x'?`, or nothing."""
    near = difflib.get_close_matches(given, known, n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


def shorten(text: str) -> str:
    """A text for a message."""
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def shown(value: object) -> str:
    """A value for a message: short, in TOML's words."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{shorten(value)}'"
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, int) and abs(value) >= 10**_SHOWN:
        return "a number of that size"
    return shorten(str(value))
