"""What is found wrong while a document is read."""

from __future__ import annotations

from tundish.config.document import Document
from tundish.config.errors import Problem
from tundish.config.positions import Location


class Reading:
    """The whole document while it is read: collects what is wrong with it."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def problem(self, location: Location, message: str) -> None:
        """Note an error."""
        problem = self.document.problem(location, message)
        if problem not in self.problems:  # a key may be read twice
            self.problems.append(problem)

    def warn(self, location: Location, message: str) -> None:
        """Note something that works, and probably not as it was meant."""
        self.warnings.append(self.document.problem(location, message))
