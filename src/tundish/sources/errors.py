"""What can go wrong while model files are fetched.

TundishError
├── Offline              the offline switch is set; nothing was contacted
├── SourceRefused        the source said no (401, 403, 404, …); asking again does not help
├── SourceUnreachable    no answer, or only failures, after every retry; what has arrived is kept
├── WrongContent         what came is not the file: a web page, another size, another hash
└── RemoteChanged        the source now has another file than the one pinned here
"""

from __future__ import annotations

from tundish.core.errors import TundishError


class Offline(TundishError):
    """The offline switch is set."""

    code = "offline"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"Offline is set, so {what} is not contacted. Unset TUNDISH_OFFLINE, or bring the model as a bundle: "
            "tundish model export on a connected machine, tundish model import here."
        )


class SourceRefused(TundishError):
    """The source will not give the file."""

    code = "source_refused"


class SourceUnreachable(TundishError):
    """Every attempt failed; the same command later goes on where this one stopped."""

    code = "source_unreachable"
    retryable = True


class WrongContent(TundishError):
    """What the source sent is not what it, or the card, said it is. It was thrown away."""

    code = "wrong_content"


class RemoteChanged(TundishError):
    """The source has another file than before."""

    code = "remote_changed"
