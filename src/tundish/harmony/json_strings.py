"""Whether JSON text, read piece by piece, is inside a string."""

from __future__ import annotations


class JsonStrings:
    """Follows quotes and escapes."""

    def __init__(self) -> None:
        self.inside = False
        self._escaped = False

    def feed(self, text: str) -> None:
        """Read on."""
        if not self._escaped and '"' not in text and "\\" not in text:
            return
        for character in text:
            if self._escaped:
                self._escaped = False
            elif character == "\\":
                self._escaped = self.inside
            elif character == '"':
                self.inside = not self.inside
