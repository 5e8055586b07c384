"""The data class of each request, and of each conversation, which never falls."""

from __future__ import annotations

import collections
import logging
from collections.abc import Callable, Iterable

from tundish.policy.label import Label
from tundish.policy.policy import Policy

_log = logging.getLogger("tundish.policy")

_LABELS_KEPT = 4096


class Conversations:
    """The highest class of each conversation that had one above what its requests have anyway.

    Bounded: of more than `limit` conversations the one that spoke longest ago is forgotten, which is said in the log.
    """

    def __init__(self, *, limit: int = 100_000, on_rise: Callable[[str, str], None] | None = None) -> None:
        """`on_rise`: told of each conversation and its new class; must be quick and must not raise."""
        self._classes: collections.OrderedDict[str, str] = collections.OrderedDict()
        self._limit = limit
        self._on_rise = on_rise
        self._complained = False

    def restore(self, remembered: Iterable[tuple[str, str]]) -> None:
        """Take up what an earlier process has remembered, the longest ago first."""
        for conversation, data_class in remembered:
            self._keep(conversation, data_class)

    def data_class(self, conversation: str) -> str | None:
        """Its class so far; None when it had none of its own."""
        found = self._classes.get(conversation)
        if found is not None:
            self._classes.move_to_end(conversation)
        return found

    def rise(self, conversation: str, data_class: str) -> None:
        """From now on it has this class."""
        if self._classes.get(conversation) != data_class:
            self._keep(conversation, data_class)
            if self._on_rise is not None:
                self._on_rise(conversation, data_class)

    def _keep(self, conversation: str, data_class: str) -> None:
        self._classes[conversation] = data_class
        self._classes.move_to_end(conversation)
        if len(self._classes) > self._limit:
            self._classes.popitem(last=False)
            if not self._complained:
                self._complained = True
                _log.warning(
                    "More than %d conversations have a class of their own; old ones are forgotten", self._limit
                )


class Labels:
    """Puts the claims about a request together. Requests with the same claims share a label."""

    def __init__(self, conversations: Conversations) -> None:
        self._conversations = conversations
        self._labels: dict[tuple[str, str | None, str | None, str | None, str | None], Label] = {}

    def label(
        self,
        policy: Policy,
        *,
        route_default: str | None,
        project: str | None,
        header: str | None,
        conversations: tuple[str, ...],
    ) -> Label:
        """The highest of what is claimed; the route's default, else the policy's, when nothing is.

        The first of `conversations` says what the conversation had before; all of them keep what it has now.

        Raises:
            InvalidRequest: a claim names no class of this policy; with the known ones.
        """
        had = self._conversations.data_class(conversations[0]) if conversations else None
        mark = None if had is None else _known(policy, had)
        key = (policy.version, route_default, project, header, mark)
        label = self._labels.get(key)
        if label is None:
            label = _label(policy, route_default=route_default, project=project, header=header, mark=mark)
            if len(self._labels) >= _LABELS_KEPT:
                self._labels.clear()
            self._labels[key] = label
        if header is not None or mark is not None:
            for conversation in conversations:
                self._conversations.rise(conversation, label.data_class)
        return label


def _known(policy: Policy, data_class: str) -> str:
    """A class that a newer policy no longer knows counts as its highest: nobody knows what it would be now."""
    return data_class if data_class in policy.classes else policy.classes[-1]


def _label(
    policy: Policy, *, route_default: str | None, project: str | None, header: str | None, mark: str | None
) -> Label:
    claims = {"project": project, "header": header, "conversation": mark}
    made = {source: claimed for source, claimed in claims.items() if claimed is not None}
    if project is None and header is None:  # the conversation's mark may raise the default, never replace it
        default = ("policy", policy.default_class) if route_default is None else ("route", route_default)
        made[default[0]] = default[1]
    return Label(
        data_class=policy.highest(made), sources=tuple(f"{source}={claimed}" for source, claimed in made.items())
    )
