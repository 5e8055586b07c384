"""Writes TOML: what `tundish config show` prints."""

from __future__ import annotations

import datetime
import re
import typing
from collections.abc import Mapping

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def write(values: Mapping[str, object]) -> str:
    """`values` (what `tomllib` or JSON gives) as TOML, tables as tables and what is within arrays inline."""
    lines: list[str] = []
    _write_table(lines, values, ())
    return "\n".join(lines).strip("\n") + "\n" if lines else ""


def _write_table(lines: list[str], table: Mapping[str, object], path: tuple[str, ...]) -> None:
    below = {key: value for key, value in table.items() if _is_table_of_tables(value, len(path))}
    plain = {key: value for key, value in table.items() if key not in below}
    if path and (plain or not below):
        lines += ["", f"[{'.'.join(_key(part) for part in path)}]"]
    lines += [f"{_key(key)} = {_value(value)}" for key, value in plain.items()]
    for key, value in below.items():
        if isinstance(value, Mapping):
            _write_table(lines, typing.cast("Mapping[str, object]", value), (*path, key))
        else:
            for element in typing.cast("list[Mapping[str, object]]", value):
                lines += ["", f"[[{'.'.join(_key(part) for part in (*path, key))}]]"]
                lines += [f"{_key(name)} = {_value(part)}" for name, part in element.items()]


def _is_table_of_tables(value: object, depth: int) -> bool:
    """Whether it gets a header of its own: the site's tables and each object's; what is deeper stands inline."""
    if isinstance(value, Mapping):
        return depth < 2
    if not isinstance(value, list) or not value:
        return False
    return depth < 2 and all(isinstance(part, Mapping) for part in typing.cast("list[object]", value))


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _text(key)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, Mapping):
        pairs = typing.cast("Mapping[str, object]", value).items()
        inner = ", ".join(f"{_key(key)} = {_value(part)}" for key, part in pairs)
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(part) for part in typing.cast('list[object]', value))}]"
    return repr(value)


def _text(text: str) -> str:
    escaped = "".join(_escape(letter) for letter in text)
    return f'"{escaped}"'


def _escape(letter: str) -> str:
    if letter in '"\\':
        return "\\" + letter
    if letter < " " or letter == "\x7f":
        return f"\\u{ord(letter):04x}"
    return letter
