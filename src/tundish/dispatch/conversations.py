"""Which data class each conversation has come to."""

from __future__ import annotations

import collections
import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence

from tundish.dispatch.marks import SharedMarks

_log = logging.getLogger("tundish.policy")


class Conversations:
    """The highest class of each conversation that had one above what its requests have anyway.

    Bounded: of more than `limit` conversations the one that spoke longest ago is forgotten, which is said in the log,
    as are those that have been silent for longer than `keep_s`.
    """

    def __init__(
        self,
        *,
        limit: int = 100_000,
        keep_s: float = math.inf,
        on_use: Callable[[str, str], None] | None = None,
        shared: SharedMarks | None = None,
        unix_s: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            limit: how many are remembered.
            keep_s: for how many seconds after it was last used.
            on_use: told of a conversation and its class with each request that has it; quick, and must not raise.
            shared: what the other processes of this endpoint know; None when there are none.
            unix_s: the time.
        """
        self._classes: collections.OrderedDict[str, tuple[str, float]] = collections.OrderedDict()
        """Class, and when it was last used."""
        self._held: dict[str, list[str]] = {}
        self._limit = limit
        self._keep_s = keep_s
        self._on_use = on_use
        self._unix_s = unix_s
        self._complained = False
        self._shared = shared
        self._met: dict[str, None] = {}

    @property
    def empty(self) -> bool:
        """Whether no conversation has a class of its own."""
        return not self._classes and not self._held and self._shared is None

    def bound(self, *, limit: int, keep_s: float) -> None:
        """From now on so many are remembered, for so long."""
        self._limit, self._keep_s = limit, keep_s
        self._forget()

    def restore(self, remembered: Iterable[tuple[str, str]]) -> None:
        """Take up what an earlier process has remembered, the longest ago first."""
        for conversation, data_class in remembered:
            self._keep(conversation, data_class)

    def data_class(self, conversation: str, classes: Sequence[str] = ()) -> str | None:
        """Its class so far; None when it had none of its own.

        `classes`: those of the policy in force, the least sensitive first, by which what other processes know is read.
        """
        found = self._kept(conversation)
        for held in self._held.get(conversation, ()):
            found = higher(classes, found, held)
        if self._shared is None or not self._shared.has(conversation, ""):
            return found
        return self._highest(conversation, found, classes, self._shared)

    def _kept(self, conversation: str) -> str | None:
        kept = self._classes.get(conversation)
        if kept is None:
            return None
        now_s = self._unix_s()
        if now_s - kept[1] > self._keep_s:
            return None
        self._classes[conversation] = (kept[0], now_s)
        self._classes.move_to_end(conversation)
        return kept[0]

    def _highest(self, conversation: str, found: str | None, classes: Sequence[str], shared: SharedMarks) -> str | None:
        for name in classes:
            self._met[name] = None
        if found is not None and found not in classes:
            return found  # of a policy before this one: it counts as the highest
        gone = [name for name in self._met if name not in classes]
        for name in (*gone, *reversed(classes)):
            if name == found:
                return found
            if shared.has(conversation, name):
                return name
        return found

    def rise(self, conversation: str, data_class: str) -> None:
        """From now on it has this class, and is in use."""
        if self._shared is not None:
            self._shared.add(conversation, data_class)  # first, and each time: it forgets those that no longer speak
        self._keep(conversation, data_class)
        if self._on_use is not None:
            self._on_use(conversation, data_class)

    def hold(self, conversation: str, data_class: str) -> None:
        """It has this class until `release`: for this process alone, and not beyond it."""
        self._held.setdefault(conversation, []).append(data_class)

    def release(self, conversation: str, data_class: str) -> None:
        """Take one `hold` back."""
        held = self._held[conversation]
        held.remove(data_class)
        if not held:
            del self._held[conversation]

    def _keep(self, conversation: str, data_class: str) -> None:
        self._classes[conversation] = (data_class, self._unix_s())
        self._classes.move_to_end(conversation)
        self._forget()

    def _forget(self) -> None:
        while len(self._classes) > self._limit:
            self._classes.popitem(last=False)
            if not self._complained:
                self._complained = True
                _log.warning(
                    "More than %d conversations have a class of their own; old ones are forgotten", self._limit
                )


def higher(classes: Sequence[str], one: str | None, other: str) -> str:
    """The more sensitive of two; one that the policy does not know counts as its highest, and keeps its name."""
    if one is None or one == other:
        return other
    for name in (one, other):
        if name not in classes:
            return name
    return max(one, other, key=classes.index)
