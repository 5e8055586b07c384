"""How one request is given to the child."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from tundish.core.tokens import TokensFinished
from tundish.engines.llama_cpp.prefix_entry import Entry
from tundish.engines.llama_cpp.slot_actions import ANY_SLOT


@dataclasses.dataclass(slots=True)
class Launch:
    """How one request is given to the child. `begun` must be called when it was, or will not be."""

    leave: Callable[[], None]
    slot: int = ANY_SLOT
    cached_tokens: int | None = None
    """What the child had of the prompt before we began, where it will count what we did, too."""
    ids: bytes = b""
    entry: Entry | None = None
    """The saved prefix of this prompt."""
    restored: bool = False
    _left: bool = False

    def begun(self) -> None:
        """The child has taken it, or never will: others may come."""
        if not self._left:
            self._left = True
            self.leave()

    def corrected(self, event: TokensFinished) -> TokensFinished:
        """What the child counted, without what we had it compute first."""
        if self.cached_tokens is None:
            return event
        return dataclasses.replace(event, cached_tokens=min(event.cached_tokens, self.cached_tokens))


UNGUIDED = Launch(lambda: None)
"""For a child whose prefixes nobody keeps."""
