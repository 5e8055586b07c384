"""A text that must not be seen."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A text that does not show itself in logs, errors and tracebacks."""

    _value: str

    def __repr__(self) -> str:
        return "Secret('***')"

    def reveal(self) -> str:
        """The value, for the one place that needs it."""
        return self._value
