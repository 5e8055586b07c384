"""Models of other programs on this machine (vLLM, llama-server, Ollama, LM Studio …), offered beside our own."""

from __future__ import annotations

import asyncio
import dataclasses
import ipaddress
import logging
import math
import urllib.parse
from collections.abc import Sequence

from tundish.core.backend import Capabilities
from tundish.core.clock import Clock
from tundish.core.errors import TundishError
from tundish.deployments.errors import DeploymentExists
from tundish.deployments.fleet import Fleet
from tundish.deployments.spec import DeploymentSpec
from tundish.providers.openai_compatible import OpenAICompatibleBackend, Server, list_models
from tundish.settings import InvalidSetting
from tundish.wire.models import ModelEntry

_log = logging.getLogger("tundish.neighbours")

_LOOK_AGAIN_S = 30.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A server that the settings name."""

    prefix: str
    """What stands before its models' names here; may be empty."""
    server: Server


def parse(given: str) -> Neighbour:
    """`[NAME=]http://[KEY@]127.0.0.1:PORT/v1` → the server; its models are called `NAME/MODEL`, or `MODEL`.

    Raises:
        InvalidSetting: it is no such URL, or it leads away from this machine.
    """
    name, separator, url = given.partition("=")
    if not separator or "/" in name:
        name, url = "", given
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidSetting(f"servers: '{given}' must be [NAME=]http://127.0.0.1:PORT/v1.")
    if not _is_loopback(parts.hostname):
        raise InvalidSetting(
            f"servers: {parts.hostname} is not this machine. Only a loopback address may be named, since what such "
            "a server is sent must not leave it."
        )
    key = urllib.parse.unquote(parts.username) if parts.username else None
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return Neighbour(prefix=f"{name}/" if name else "", server=Server(base_url=bare.geturl(), api_key=key))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Neighbours:
    """Keeps the fleet's idea of the neighbours' models true: they come and go without telling anybody."""

    def __init__(self, neighbours: Sequence[Neighbour], fleet: Fleet, *, clock: Clock) -> None:
        self._neighbours = neighbours
        self._fleet = fleet
        self._clock = clock
        self._offered: dict[Neighbour, set[str]] = {neighbour: set() for neighbour in neighbours}
        self._silent: set[Neighbour] = set()

    async def watch(self) -> None:
        """Look again and again, for ever."""
        while True:
            await self._clock.sleep(_LOOK_AGAIN_S)
            await self.look()

    async def look(self) -> None:
        """Ask each neighbour what it has. One that does not answer keeps what it had: it may be back in time."""
        await asyncio.gather(*(self._ask(neighbour) for neighbour in self._neighbours))

    async def _ask(self, neighbour: Neighbour) -> None:
        try:
            entries = await list_models(neighbour.server)
        except TundishError as error:
            if neighbour not in self._silent:
                _log.warning("%s does not tell its models: %s", neighbour.server.base_url, error)
            self._silent.add(neighbour)
            return
        self._silent.discard(neighbour)
        offered = self._offered[neighbour]
        names = {neighbour.prefix + entry.id for entry in entries}
        for entry in entries:
            if neighbour.prefix + entry.id not in offered:
                self._add(neighbour, entry)
        for name in offered - names:
            offered.discard(name)
            await self._fleet.remove(name)

    def _add(self, neighbour: Neighbour, entry: ModelEntry) -> None:
        name = neighbour.prefix + entry.id
        spec = DeploymentSpec(
            name=name,
            make=lambda: OpenAICompatibleBackend(neighbour.server, model=entry.id, context_length=entry.context_length),
            memory_bytes=0,
            keep_alive_s=math.inf,
            capabilities=Capabilities(context_length=entry.context_length, completions=False),
        )
        try:
            self._fleet.add(spec)
        except DeploymentExists:
            _log.warning(
                "%s has a model called %s, and so has this endpoint. Give the server a name: NAME=%s",
                neighbour.server.base_url,
                name,
                neighbour.server.base_url,
            )
        self._offered[neighbour].add(name)
