"""Which deployment answered a conversation last: its prefix is in that one's cache."""

from __future__ import annotations

import collections

_KEPT = 20_000


class Sticky:
    """Remembers the conversations that spoke last; a forgotten one costs a cold prefix and nothing else.

    By class, too: data that must stay near draws nothing there that merely begins with the same words.
    """

    def __init__(self) -> None:
        self._deployments: collections.OrderedDict[tuple[str, str, str], str] = collections.OrderedDict()

    def deployment(self, route: str, data_class: str, conversation: str) -> str | None:
        """Who answered it last."""
        return self._deployments.get((route, data_class, conversation))

    def stick(self, route: str, data_class: str, conversation: str, deployment: str) -> None:
        """`deployment` has answered it."""
        key = (route, data_class, conversation)
        self._deployments[key] = deployment
        self._deployments.move_to_end(key)
        if len(self._deployments) > _KEPT:
            self._deployments.popitem(last=False)
