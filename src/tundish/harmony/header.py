"""The header of a harmony message: who speaks, on which channel, to whom. Reads what models really write."""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Sequence

from tundish.harmony.tokens import CHANNEL, CONSTRAIN

_RECIPIENT = re.compile(r"to=\s*(?:to=\s*)*([^\s=]+)")
_DOUBLED = re.compile(r"to=\s*to=")
_BARE_RECIPIENT = re.compile(
    r"\s*(?:commentary|analysis)\s*(functions\.[A-Za-z0-9_.\-]+)\s*(?:json|code)?\s*(?:\{.*)?\Z", re.DOTALL
)
"""A channel's part with a recipient whose `to=` was forgotten."""
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.\-]")
_DATA_TYPES = ("", "json", "code")
"""What may follow the channel without `<|constrain|>`."""
_OTHER_ROLES = frozenset({"user", "system", "developer", "tool"})
_BEGINNINGS = ("assistant to=", "to=", "json", "code")
"""What the text of a header may be cut inside of."""


class Channel(enum.Enum):
    """Where a message goes."""

    ANALYSIS = "analysis"
    COMMENTARY = "commentary"
    FINAL = "final"


class Origin(enum.Enum):
    """How a header began."""

    PROMPT = "prompt"
    """With the `<|start|>assistant` that the prompt ends with."""
    START = "start"
    """With a `<|start|>` that the model wrote."""
    NONE = "none"
    """Not yet: the last message has ended."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A header as understood."""

    channel: Channel
    recipient: str | None
    """Sanitised, without the namespace `functions.`."""
    namespaced: bool
    """Whether the recipient was written with the namespace."""
    foreign_role: bool
    """The model began to speak for somebody else."""
    repaired: str | None
    """What was malformed, if anything."""
    rest: str
    """Text after the channel's name that belongs to no part of a header; content, when `<|message|>` is missing."""


class HeaderDraft:
    """A header that is still being written: text, cut into parts by markers."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.tokens = 0
        self._role = bytearray()
        self._parts: list[tuple[int, bytearray]] = []

    @property
    def has_channel(self) -> bool:
        """Whether a channel was marked."""
        return any(marker == CHANNEL for marker, _ in self._parts)

    @property
    def text(self) -> str:
        """All of it, markers left out."""
        return b"".join((self._role, *(part for _, part in self._parts))).decode("utf-8", "replace")

    def add_marker(self, marker: int) -> None:
        """`<|channel|>` or `<|constrain|>`."""
        self._parts.append((marker, bytearray()))

    def add_text(self, text: bytes) -> None:
        """More text of the current part."""
        (self._parts[-1][1] if self._parts else self._role).extend(text)

    def read(self) -> Header:
        """Understand what is there."""
        role = self._role.decode("utf-8", "replace")
        texts = [(marker, part.decode("utf-8", "replace")) for marker, part in self._parts]
        # After <|constrain|> comes the data type; a recipient has been seen there, too.
        after = [f" {text}" for marker, text in texts if marker == CONSTRAIN and "to=" in text]
        header = parse_header(role + "".join(after), [text for marker, text in texts if marker == CHANNEL])
        # The prompt has said who speaks.
        return dataclasses.replace(header, foreign_role=header.foreign_role and self.origin is not Origin.PROMPT)

    def content(self, header: Header, *, cut: bool) -> str:
        """What of a header without its `<|message|>` must be content. `cut`: it may be an unfinished header."""
        if header.recipient is not None:
            return self.text[at:] if (at := self.text.find("{")) >= 0 else ""
        text = header.rest if self.has_channel else self.text
        if self.origin is not Origin.PROMPT and not self.has_channel:
            text = re.sub(r"\A\s*assistant(?![a-z])\s*", "", text)
        if cut and any(beginning.startswith(text.strip().lower()) for beginning in _BEGINNINGS):
            return ""
        return text if text.strip() else ""


def parse_header(role_part: str, channel_parts: Sequence[str]) -> Header:
    """Understand a header.

    Args:
        role_part: text before the first `<|channel|>`, e.g. `assistant to=functions.f`.
        channel_parts: text after each `<|channel|>`, `<|constrain|>` and what follows it left out.
    """
    whole = " ".join((role_part, *channel_parts))
    recipients = [
        name for found in _RECIPIENT.findall(whole) if (name := _sanitised(found)) not in ("", "assistant", "user")
    ]
    bare = _BARE_RECIPIENT.match(channel_parts[-1]) if channel_parts and not recipients else None
    recipient = recipients[0] if recipients else bare[1].strip(".") if bare else None
    namespaced = recipient is not None and recipient.startswith("functions.")
    while recipient is not None and recipient.startswith("functions."):
        recipient = recipient.removeprefix("functions.")
    channel, rest, known = _channel(channel_parts, has_recipient=recipient is not None)
    repaired = None
    if bare:
        repaired = "unmarked recipient"
    elif not known:
        repaired = "unknown channel" if channel_parts else "missing channel"
    elif len(channel_parts) > 1:
        repaired = "repeated channel"
    elif len(recipients) > 1 or _DOUBLED.search(whole):
        repaired = "repeated recipient"
    return Header(
        channel=channel,
        recipient=recipient or None,
        namespaced=namespaced,
        foreign_role=_is_foreign(_RECIPIENT.sub("", role_part)),
        repaired=repaired,
        rest=rest,
    )


def _is_foreign(role: str) -> bool:
    words = role.lower().split(maxsplit=1)
    return bool(words) and (words[0] in _OTHER_ROLES or words[0].startswith("functions."))


def _channel(parts: Sequence[str], *, has_recipient: bool) -> tuple[Channel, str, bool]:
    rest = ""
    for part in reversed(parts):
        word = _RECIPIENT.sub("", part).strip()
        for channel in Channel:
            if word.lower().startswith(channel.value):
                rest = word[len(channel.value) :].strip()
                return (channel, "", True) if rest in _DATA_TYPES else (channel, rest, False)
        for channel in Channel:  # "comment", "analy": cut or misspelt
            if len(word) >= 3 and channel.value.startswith(word.lower()):
                return channel, "", False
        rest = rest or word
    return (Channel.COMMENTARY if has_recipient else Channel.FINAL), rest, False


def _sanitised(recipient: str) -> str:
    """`functions.f<|channel|>commentary` → `functions.f`: a name ends where the characters of names end."""
    return _NOT_IN_NAMES.split(recipient, maxsplit=1)[0].strip(".")


def match_tool(recipient: str, offered: Sequence[str]) -> str | None:
    """The offered tool that `recipient` means, forgiving case, hyphens and other namespaces; None if there is none."""
    if recipient in offered:
        return recipient
    folded = {_folded(name): name for name in offered}
    for candidate in (recipient, recipient.rpartition(".")[2]):
        if _folded(candidate) in folded:
            return folded[_folded(candidate)]
    return None


def _folded(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")
