"""On which line of a TOML text each table and key is: `tomllib` gives values only."""

from __future__ import annotations

import bisect
import contextlib
import tomllib
from collections.abc import Mapping
from typing import TypeAlias

Location: TypeAlias = tuple[str | int, ...]
"""Names of tables and keys, and indices into arrays, from the top."""

_BLANK = " \t\r\n"
_BARE_END = ",]}#\r\n"


def positions(text: str) -> Mapping[Location, int]:
    """The line (from 1) where each table, key and element of an array first appears.

    `text` must be TOML that `tomllib` has read; of anything else the result means nothing, but it comes.
    """
    scanner = _Scanner(text)
    # What was found before a failure still leads people near the place.
    with contextlib.suppress(IndexError, ValueError, RecursionError):
        scanner.document()
    return scanner.lines


class _Scanner:
    """Goes over valid TOML once. Understands where things are, never whether they are right."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Location, int] = {}
        self._text = text
        self._at = 0
        self._line_ends = [at for at, letter in enumerate(text) if letter == "\n"]
        self._arrays: dict[Location, int] = {}
        """Arrays of tables → the index of their last element so far."""

    def document(self) -> None:
        table: Location = ()
        while self._skip_blank():
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _mark(self, location: Location, at: int) -> None:
        self.lines.setdefault(location, bisect.bisect_left(self._line_ends, at) + 1)

    def _skip_blank(self) -> bool:
        """Go to the next thing that is neither white space nor a comment; False at the end."""
        text = self._text
        while self._at < len(text):
            if text[self._at] in _BLANK:
                self._at += 1
            elif text[self._at] == "#":
                end = text.find("\n", self._at)
                self._at = len(text) if end < 0 else end
            else:
                return True
        return False

    def _header(self) -> Location:
        began = self._at
        is_array = self._text.startswith("[[", self._at)
        self._at += 2 if is_array else 1
        names = self._key()
        self._at += 2 if is_array else 1
        location: Location = ()
        for name in names[:-1]:
            location = self._element((*location, name))
            self._mark(location, began)
        location = (*location, names[-1])
        self._mark(location, began)
        if is_array:
            self._arrays[location] = self._arrays.get(location, -1) + 1
        location = self._element(location)
        self._mark(location, began)
        return location

    def _element(self, location: Location) -> Location:
        """The last element, when `location` is an array of tables."""
        index = self._arrays.get(location)
        return location if index is None else (*location, index)

    def _pair(self, table: Location) -> None:
        began = self._at
        location = table
        for name in self._key():
            location = (*location, name)
            self._mark(location, began)
        self._at += 1  # =
        self._value(location)

    def _key(self) -> list[str]:
        names: list[str] = []
        while True:
            self._skip_blank()
            began = self._at
            if self._text[began] in "\"'":
                self._string()
                names.append(str(tomllib.loads(f"key={self._text[began : self._at]}")["key"]))
            else:
                while self._text[self._at].isalnum() or self._text[self._at] in "_-":
                    self._at += 1
                if began == self._at:
                    raise ValueError("no key")
                names.append(self._text[began : self._at])
            self._skip_blank()
            if self._text[self._at] != ".":
                return names
            self._at += 1

    def _value(self, location: Location) -> None:
        self._skip_blank()
        opening = self._text[self._at]
        if opening in "\"'":
            self._string()
        elif opening == "[":
            self._array(location)
        elif opening == "{":
            self._inline_table(location)
        else:
            while self._at < len(self._text) and self._text[self._at] not in _BARE_END:
                self._at += 1

    def _array(self, location: Location) -> None:
        self._at += 1
        index = 0
        while self._skip_blank() and self._text[self._at] != "]":
            self._mark((*location, index), self._at)
            self._value((*location, index))
            self._skip_blank()
            if self._text[self._at] == ",":
                self._at += 1
            index += 1
        self._at += 1

    def _inline_table(self, location: Location) -> None:
        self._at += 1
        while self._skip_blank() and self._text[self._at] != "}":
            self._pair(location)
            self._skip_blank()
            if self._text[self._at] == ",":
                self._at += 1
        self._at += 1

    def _string(self) -> None:
        """Go behind the string that begins here."""
        quote = self._text[self._at]
        if self._text.startswith(quote * 3, self._at):
            self._at = self._end_of_string(quote * 3, self._at + 3) + 3
            while self._text.startswith(quote, self._at):  # up to two more quotes belong to the string
                self._at += 1
        else:
            self._at = self._end_of_string(quote, self._at + 1) + 1

    def _end_of_string(self, closing: str, at: int) -> int:
        end = self._text.index(closing, at)
        while closing[0] == '"':  # only there a backslash escapes
            backslash = self._text.find("\\", at, end)
            if backslash < 0:
                break
            at = backslash + 2
            if at > end:
                end = self._text.index(closing, at)
        return end
