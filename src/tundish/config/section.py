"""One table of a configuration, read key by key; what is wrong is noted and reading goes on."""

from __future__ import annotations

import datetime
import math
import re
import typing
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from tundish.config.positions import Location
from tundish.config.reading import Reading
from tundish.config.secret_reference import SecretReference, reference_from
from tundish.config.wording import NAME_RULE, did_you_mean, is_name, shorten, shown

T = TypeVar("T")

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_DAY_S = 86_400.0


class Section:
    """A table. Each method reads one key and returns its default when the key is absent or wrong."""

    def __init__(self, reading: Reading, values: Mapping[str, object], location: Location) -> None:
        self._reading = reading
        self._values = values
        self.location = location
        self.known: set[str] = set()
        """The keys that were asked for."""

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def problem(self, message: str, *key: str | int) -> None:
        """Note that something is wrong with `key`, or with the table."""
        self._reading.problem((*self.location, *key), message)

    def warn(self, message: str, *key: str | int) -> None:
        """Note that something about `key` is probably not as it was meant."""
        self._reading.warn((*self.location, *key), message)

    def where(self, key: str) -> str:
        """The key's place for a message that is told later."""
        return self._reading.document.problem((*self.location, key), "").place

    def finish(self) -> None:
        """Note each key that nobody asked for, with the nearest that somebody did."""
        for key in self._values:
            if key in self.known:
                continue
            advice = did_you_mean(key, self.known) or f" Known here: {', '.join(sorted(self.known))}."
            self.problem(f"There is no such key.{advice}", key)

    def require(self, key: str, why: str) -> None:
        """Note that `key` is missing, if it is."""
        if key not in self._values:
            self.problem(f"'{key}' is missing: {why}")

    def text(self, key: str, default: T = None, *, most: int = 4096) -> str | T:
        """A text of at least one printable character."""
        value = self._get(key)
        if value is None:
            return default
        if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > most:
            return self._wrong(key, "a text", value, default)
        return value

    def name(self, key: str, default: T = None) -> str | T:
        """A text that may name something."""
        value = self.text(key, None)
        if value is None:
            return default
        return value if is_name(value) else self._wrong(key, NAME_RULE, value, default)

    def one_of(self, key: str, choices: Collection[str], default: T = None) -> str | T:
        """One of some words; a wrong one is told with the nearest."""
        value = self.text(key, None)
        if value is None or value in choices:
            return default if value is None else value
        self.problem(f"'{shorten(value)}' is not one of {', '.join(choices)}.{did_you_mean(value, choices)}", key)
        return default

    def flag(self, key: str, default: T = None) -> bool | T:
        """True or false."""
        value = self._get(key)
        if value is None:
            return default
        return value if isinstance(value, bool) else self._wrong(key, "true or false", value, default)

    def whole(self, key: str, default: T = None, *, least: int, most: int) -> int | T:
        """A whole number within bounds."""
        value = self._get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            return self._wrong(key, f"a whole number from {least} to {most}", value, default)
        return value

    def number(
        self, key: str, default: T = None, *, least: float = 0.0, most: float = math.inf, above: bool = False
    ) -> float | T:
        """A finite number within bounds; `above`: `least` itself is not among them."""
        value = self._get(key)
        if value is None:
            return default
        bounds = f"above {least:g}" if above else f"from {least:g}"
        expected = f"a number {bounds}" + ("" if math.isinf(most) else f" to {most:g}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            return self._wrong(key, expected, value, default)
        try:
            number = float(value)
        except OverflowError:
            return self._wrong(key, expected, value, default)
        fits = math.isfinite(number) and number <= most and (number > least if above else number >= least)
        return number if fits else self._wrong(key, expected, value, default)

    def seconds(self, key: str, default: T = None, *, most: float = _DAY_S, zero: bool = False) -> float | T:
        """A time in seconds; its key ends in `_s`."""
        return self.number(key, default, most=most, above=not zero)

    def keep_alive(self, key: str) -> float | None:
        """Seconds, or a text such as `5m`, `1h30m`; -1 is for ever."""
        value = self._get(key)
        if value is None:
            return None
        if isinstance(value, str) and value and (parts := _DURATION.fullmatch(value)):
            hours, minutes, seconds = (int(part or 0) for part in parts.groups())
            return hours * 3600.0 + minutes * 60.0 + seconds
        if isinstance(value, int | float) and not isinstance(value, bool):
            if value == -1:
                return math.inf
            if 0 <= value <= 10 * 365 * _DAY_S:
                return float(value)
        return self._wrong(key, "seconds, a time such as '5m' or '1h30m', or -1 for ever", value, None)

    def date(self, key: str) -> datetime.date | None:
        """A day: `2026-11-01`, as TOML has it or as a text."""
        value = self._get(key)
        if value is None:
            return None
        if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
            return value
        try:
            return datetime.date.fromisoformat(value) if isinstance(value, str) else self._wrong(key, _DAY, value, None)
        except ValueError:
            return self._wrong(key, _DAY, value, None)

    def texts(self, key: str) -> tuple[str, ...]:
        """An array of texts; empty when it is absent."""
        value = self._get(key)
        if value is None:
            return ()
        if not isinstance(value, list):
            return self._wrong(key, "an array of texts", value, ())
        found: list[str] = []
        for index, part in enumerate(typing.cast("list[object]", value)):
            if isinstance(part, str) and part.strip() and part.isprintable():
                found.append(part)
            else:
                self.problem(f"must be a text, not {shown(part)}.", key, index)
        return tuple(found)

    def array(self, key: str) -> list[object]:
        """An array of anything; empty when it is absent."""
        value = self._get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            return self._wrong(key, "an array", value, [])
        return typing.cast("list[object]", value)

    def table(self, key: str) -> Section:
        """The table below `key`; an empty one when it is absent. To be finished by the caller."""
        return self._table(self._get(key), key)

    def tables(self, key: str) -> Iterator[tuple[str, Section]]:
        """Each named table below `key`: `[places.rack]` is `rack` of `places`."""
        table = self.table(key)
        for name in table.names:
            if not is_name(name):
                table.problem(f"A name must be {NAME_RULE}.", name)
            below = table.table(name)
            if isinstance(table.value(name), Mapping):
                yield name, below

    def array_of_tables(self, key: str) -> Iterator[Section]:
        """Each of `[[key]]`."""
        for index, value in enumerate(self.array(key)):
            table = self._table(value, key, index)
            if isinstance(value, Mapping):
                yield table

    def as_table(self, value: object, *key: str | int) -> Section:
        """`value`, which is what stands at `key`, as a table."""
        return self._table(value, *key)

    def named_values_of(self, key: str) -> Mapping[str, object] | None:
        """The table below `key` as it is, or None when there is something else."""
        value = self._values.get(key)
        return typing.cast("Mapping[str, object]", value) if isinstance(value, Mapping) else None

    @property
    def names(self) -> Collection[str]:
        """The keys that the table has: for tables whose keys are the user's own."""
        return self._values.keys()

    def value(self, key: str) -> object:
        """What stands at `key`, unchecked."""
        return self._values.get(key)

    @property
    def folder(self) -> Path:
        """What relative paths start from."""
        return self._reading.document.folder

    def secret(self, key: str) -> SecretReference | None:
        """A reference to a secret. A secret itself is refused, and never shown."""
        value = self._get(key)
        if value is None:
            return None
        reference = reference_from(value, folder=self.folder, where=self.where(key))
        if isinstance(reference, str):
            self.problem(reference, key)
            return None
        return reference

    def _table(self, value: object, *key: str | int) -> Section:
        if value is not None and not isinstance(value, Mapping):
            self.problem(f"must be a table, not {shown(value)}.", *key)
            value = None
        values: Mapping[str, object] = {} if value is None else typing.cast("Mapping[str, object]", value)
        return Section(self._reading, values, (*self.location, *key))

    def _get(self, key: str) -> object:
        self.known.add(key)
        value = self._values.get(key)
        if value is None and key in self._values:
            self.problem("must not be null. Leave it out.", key)  # only JSON has it
        return value

    def _wrong(self, key: str, expected: str, value: object, default: T) -> T:
        self.problem(f"must be {expected}, not {shown(value)}.", key)
        return default


_DAY = "a day such as 2026-11-01"
