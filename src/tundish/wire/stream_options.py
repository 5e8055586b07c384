"""How a stream is to be delivered."""

from __future__ import annotations

import msgspec


class StreamOptions(msgspec.Struct, kw_only=True):
    """`include_obfuscation` is left out: padding would hide nothing on a stream whose every token is an event."""

    include_usage: bool | None = None
