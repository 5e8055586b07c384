"""What the tour shows: few lines, all of one shape."""

from __future__ import annotations

import re
import textwrap
from typing import TextIO

_WIDTH = 92
_LABEL = 9
_INDENT = 5 + _LABEL
_WORDS = re.compile(r"\s*\S+|\s+")
_BOLD, _DIM, _RED, _GREEN, _RESET = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[0m"


class Screen:
    """Writes rows of a label and a text; with colours on a terminal, plain elsewhere."""

    def __init__(self, out: TextIO, *, styled: bool) -> None:
        self._out = out
        self._styled = styled
        self._fancy = _can_show(out, "✓✗·–")
        self._column = 0

    def headline(self, text: str) -> None:
        """The first line."""
        self._line(f"\n  {self._in(_BOLD, text)}")

    def prose(self, text: str) -> None:
        """A sentence or two between the rows."""
        for line in _wrapped(text, _WIDTH - 4):
            self._line(f"  {self._in(_DIM, line)}")

    def gap(self) -> None:
        """An empty line."""
        self._line("")

    def scene(self, number: int, title: str) -> None:
        """What is shown next."""
        self._line(f"\n  {self._in(_BOLD, f'{number}  {title}')}")

    def row(self, label: str, text: str) -> None:
        """A label and what it says; long texts go on below."""
        lines = _wrapped(text, _WIDTH - _INDENT)
        self._line(f"     {self._in(_DIM, label.ljust(_LABEL))}{lines[0]}")
        for line in lines[1:]:
            self._line(" " * _INDENT + line)

    def good(self, label: str, text: str) -> None:
        """A row about what was checked, and holds."""
        self.row(label, f"{self._in(_GREEN, '✓' if self._fancy else 'OK')} {text}")

    def bad(self, label: str, text: str) -> None:
        """A row about what does not hold."""
        self.row(label, f"{self._in(_RED, '✗' if self._fancy else 'NO')} {text}")

    def begin_stream(self, label: str) -> None:
        """A row whose text comes bit by bit, until `end_stream`."""
        self._write(f"     {self._in(_DIM, label.ljust(_LABEL))}")
        self._column = _INDENT

    def stream(self, text: str) -> None:
        """The next bit; lines break between words."""
        for word in _WORDS.findall(text):
            self._append(word)

    def interjection(self, text: str) -> None:
        """Something that happens in the middle of a stream."""
        self._append(f" [{text}]", _RED)

    def end_stream(self) -> None:
        """The stream is over."""
        self._line("")

    def _append(self, word: str, style: str | None = None) -> None:
        if self._column + len(word) > _WIDTH and self._column > _INDENT:
            self._write("\n" + " " * _INDENT)
            self._column = _INDENT
            word = word.lstrip()
        self._column += len(word)
        self._write(word if style is None else self._in(style, word))

    def _in(self, style: str, text: str) -> str:
        return f"{style}{text}{_RESET}" if self._styled else text

    def _line(self, text: str) -> None:
        self._write(text + "\n")

    def _write(self, text: str) -> None:
        if not self._fancy:
            text = text.replace("–", "-").encode("ascii", "replace").decode("ascii")
        self._out.write(text)
        self._out.flush()


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False) or [""]


def _can_show(out: TextIO, text: str) -> bool:
    try:
        text.encode(out.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
