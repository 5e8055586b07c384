"""The surface that puts a changed configuration in force."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from tundish.api.call import Call

Reload = Callable[[], Awaitable[tuple[str, tuple[str, ...]]]]
"""Reads the configuration again and puts it in force; gives its version and its warnings. Raises TundishError when it
cannot: the old one stays."""


class Reloading:
    """Answers when new requests see the new site."""

    def __init__(self, reload: Reload) -> None:
        self._reload = reload

    async def reload(self, call: Call) -> None:
        """`POST /tundish/v1/reload`. An invalid file is a 400 with all that is wrong, and changes nothing."""
        version, warnings = await self._reload()
        call.respond(msgspec.json.encode({"version": version, "warnings": warnings}))
