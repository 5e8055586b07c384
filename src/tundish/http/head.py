"""The head of a response, as bytes."""

from __future__ import annotations

import functools
import http
import re
import time
from collections.abc import Callable, Sequence
from email.utils import formatdate

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_OURS = frozenset({"connection", "content-length", "date", "transfer-encoding"})
_CHECKED: set[str] = set()
"""Names that are known to be good."""
_CHECKED_LIMIT = 512
_BODILESS = frozenset({204, 304})


class DateLine:
    """The Date header, made once a second."""

    __slots__ = ("_line", "_now", "_second")

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._second = -1
        self._line = ""

    def __call__(self) -> str:
        second = int(self._now())
        if second != self._second:
            self._second = second
            self._line = f"date: {formatdate(second, usegmt=True)}"
        return self._line


def has_body(status: int) -> bool:
    """Whether responses of that status have one."""
    return status not in _BODILESS


def encode_head(status: int, headers: Sequence[tuple[str, str]], *lines: str) -> bytes:
    """The head, blank line included; `lines` are the server's own, already in order.

    Raises:
        ValueError: a header that would break out of its line, or that is the server's to say.
    """
    head = [_status_line(status), *lines]
    for name, value in headers:
        if name not in _CHECKED:
            _check_name(name)
        head.append(f"{name}: {value}")
    head.append("\r\n")
    text = "\r\n".join(head)
    # One line break for each line and one for the blank line; whatever is more came from within a value.
    if text.count("\r") != len(head) or text.count("\n") != len(head) or "\0" in text:
        raise ValueError("A header of the response has a line break or a NUL in it.")
    return text.encode("latin-1")


@functools.lru_cache(maxsize=128)
def _status_line(status: int) -> str:
    if not 200 <= status <= 599:
        raise ValueError(f"{status} is not the status of a whole response.")
    try:
        reason = http.HTTPStatus(status).phrase
    except ValueError:
        reason = "Unknown"
    return f"HTTP/1.1 {status} {reason}"


def _check_name(name: str) -> None:
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a header.")
    if name.lower() in _OURS:
        raise ValueError(f"The header '{name}' is written by the server.")
    if len(_CHECKED) < _CHECKED_LIMIT:
        _CHECKED.add(name)
