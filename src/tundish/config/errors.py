"""What is wrong with a configuration: everything at once, each with its file and line."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tundish.core.errors import InvalidRequest, TundishError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, and where."""

    origin: str
    """The file as it was named, or `added at run time`."""
    line: int | None
    """From 1; None where there is no line: what was added at run time, or a file that cannot be read."""
    where: str
    """The dotted path, `routes.chat.mode`; empty for the whole file."""
    message: str
    """What was wrong and what to do. Never holds a secret."""

    @property
    def place(self) -> str:
        """`tundish.toml:12: routes.chat.mode`."""
        origin = self.origin if self.line is None else f"{self.origin}:{self.line}"
        return f"{origin}: {self.where}" if self.where else origin

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class ConfigInvalid(InvalidRequest):
    """The configuration cannot be used; `errors` are all its problems, in the order of their lines."""

    def __init__(self, errors: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(error) for error in errors), code="invalid_config")
        self.errors = tuple(errors)


class SecretUnavailable(TundishError):
    """What a reference to a secret stands for cannot be had; the message names the reference and its line."""

    code = "secret_unavailable"
