"""What a subcommand is."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Mapping

from tundish.settings import Settings

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


def _no_overrides(_: argparse.Namespace) -> Mapping[str, object]:
    return {}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One subcommand: how it reads its arguments and what it does."""

    name: str
    summary: str
    """One line, for `tundish --help`."""
    description: str
    """For `tundish NAME --help`."""
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Settings], int]
    """Returns the exit code; may raise TundishError."""
    overrides: Callable[[argparse.Namespace], Mapping[str, object]] = _no_overrides
    """Settings given on the command line."""
