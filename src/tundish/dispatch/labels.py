"""The data class of each request, and of each conversation, which never falls."""

from __future__ import annotations

from tundish.dispatch.conversations import Conversations, higher
from tundish.dispatch.work import NO_LINEAGE, Work
from tundish.policy.label import Label
from tundish.policy.policy import Policy

_LABELS_KEPT = 4096
_GIVEN_BYTES = 8 * 1024 * 1024
"""Of a first answer; after a longer one, whoever begins with the same words is taken for the same conversation."""


class Labels:
    """Puts the claims about a request together. Requests with the same claims share a label."""

    def __init__(self, conversations: Conversations) -> None:
        self.conversations = self._conversations = conversations
        self._labels: dict[tuple[str, str | None, str | None, str | None, str | None], Label] = {}

    def label(
        self,
        policy: Policy,
        *,
        route_default: str | None,
        project: str | None,
        header: str | None,
        work: Work,
    ) -> tuple[Label, Opening | None]:
        """The highest of what is claimed; the route's default, else the policy's, when nothing is.

        What the conversation of `work` had before is one of the claims, and what it has now is remembered. Of a
        conversation that only begins, that has to wait for the answer: then there is an opening.

        Raises:
            InvalidRequest: a claim names no class of this policy; with the known ones.
        """
        nothing = header is None and self._conversations.empty
        lineage = NO_LINEAGE if nothing else work.lineage()  # reading a history costs, and most sites have none
        mark = self._mark(policy, lineage.earlier)
        key = (policy.version, route_default, project, header, mark)
        label = self._labels.get(key)
        if label is None:
            label = _label(policy, route_default=route_default, project=project, header=header, mark=mark)
            if len(self._labels) >= _LABELS_KEPT:
                self._labels.clear()
            self._labels[key] = label
        if header is None and mark is None:
            return label, None
        for conversation in lineage.own:
            self.rise(policy, conversation, label.data_class)
        if lineage.opening is None:
            return label, None
        return label, Opening(self, policy, work, lineage.opening, label.data_class)

    def rise(self, policy: Policy, conversation: str, data_class: str) -> None:
        """The conversation has had this class, too."""
        had = self._conversations.data_class(conversation, policy.classes)
        self._conversations.rise(conversation, higher(policy.classes, had, data_class))

    def _mark(self, policy: Policy, conversations: tuple[str, ...]) -> str | None:
        """The highest that any of them had."""
        mark: str | None = None
        for conversation in conversations:
            had = self._conversations.data_class(conversation, policy.classes)
            if had is not None:
                mark = higher(policy.classes, mark, _known(policy, had))
        return mark


class Opening:
    """A request with a class of its own that nothing of the model's precedes, until its answer is known.

    Its words alone are no conversation: anybody may begin with them. With the answer behind them they are. Meanwhile,
    and for ever when nobody knows how much of the answer the client has, whoever goes on from these words is taken for
    this conversation.
    """

    def __init__(self, labels: Labels, policy: Policy, work: Work, key: str, data_class: str) -> None:
        self._labels = labels
        self._policy = policy
        self._work = work
        self._key = key
        self._data_class = data_class
        self._given: list[bytes] = []
        self._given_bytes = 0
        self._open = True
        labels.conversations.hold(key, data_class)

    def giving(self, data: bytes) -> None:
        """`data` is about to go to the client."""
        if not self._open:
            return
        self._given_bytes += len(data)
        if self._given_bytes > _GIVEN_BYTES:
            self._close((self._key,))
            return
        self._given.append(data)
        if self._work.ends_answer(data):
            keys = self._work.answered(b"".join(self._given))
            if keys is not None:
                self._close(keys)

    def end(self, *, begun: bool) -> None:
        """No more will come. `begun`: whether the client may have some of an answer."""
        if not self._open:
            return
        keys = self._work.answered(b"".join(self._given)) if begun else ()
        self._close((self._key,) if keys is None else keys)

    def _close(self, keys: tuple[str, ...]) -> None:
        self._open = False
        self._given.clear()
        for key in keys:
            self._labels.rise(self._policy, key, self._data_class)
        self._labels.conversations.release(self._key, self._data_class)


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
