"""`keep_alive`: how long a local model stays loaded after a request. Not OpenAI's; Ollama's clients send it."""

from __future__ import annotations

import math
import re

from tundish.core.errors import InvalidRequest
from tundish.wire.json_body import shown

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:h|ms|m|s))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def decode(value: float | str | None) -> float | None:
    """Seconds: a number, or a duration such as `5m` or `1h30m`. Below 0 is for ever (infinity).

    Raises:
        InvalidRequest: it is neither.
    """
    if value is None:
        return None
    seconds = _seconds(value) if isinstance(value, str) else value
    if seconds is None:
        raise InvalidRequest(
            f"'keep_alive' must be seconds, a duration such as '5m', or -1 for ever, not {shown(value)}.",
            param="keep_alive",
        )
    return math.inf if seconds < 0 else seconds


def encode(seconds: float | None) -> float | None:
    """What `decode` takes back to `seconds`."""
    return -1.0 if seconds == math.inf else seconds


def _seconds(text: str) -> float | None:
    if text.startswith("-"):
        return -1.0 if _seconds(text[1:]) is not None else None
    if _DURATION.fullmatch(text):
        return sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(text))
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) else None
