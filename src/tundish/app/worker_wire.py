"""What a supervisor and its workers say to each other: a line of JSON each, over the worker's stdin and stdout.

The end of stdin means that the supervisor is gone, however it went: the worker then stops as if it had been told to.
"""

from __future__ import annotations

import base64
import pickle
from typing import Literal

import msgspec

from tundish.settings import Settings

Order = Literal["stop", "hurry", "reload"]


class Appointed(msgspec.Struct, frozen=True, kw_only=True):
    """The supervisor's first line."""

    number: int
    marks_fd: int
    """An inherited file of `marks.SHARED_BYTES`."""
    settings: str
    """Base64 of a pickle: both sides are one program, and what passes may be a secret, which no command line shows."""


class Ordered(msgspec.Struct, frozen=True, kw_only=True):
    """Each other line of the supervisor."""

    order: Order


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a worker."""

    what: Literal["ready", "failed", "stop", "reload"]
    """`stop`, `reload`: a client asked for that, and it concerns all."""
    models: tuple[str, ...] = ()
    """When ready: what can be asked for."""
    message: str = ""
    """When failed: why it cannot be started."""


def appoint(number: int, marks_fd: int, settings: Settings) -> bytes:
    """The first line to a worker."""
    packed = base64.b64encode(pickle.dumps(settings)).decode("ascii")
    return encode(Appointed(number=number, marks_fd=marks_fd, settings=packed))


def settings_of(appointed: Appointed) -> Settings:
    """What the worker is to serve."""
    settings = pickle.loads(base64.b64decode(appointed.settings))
    assert isinstance(settings, Settings)  # noqa: S101
    return settings


def encode(line: msgspec.Struct) -> bytes:
    """With its end."""
    return msgspec.json.encode(line) + b"\n"


decode_appointed = msgspec.json.Decoder(Appointed).decode
decode_ordered = msgspec.json.Decoder(Ordered).decode
decode_told = msgspec.json.Decoder(Told).decode
