"""Models of other programs on this machine (vLLM, llama-server, Ollama, LM Studio …), offered beside our own."""

from __future__ import annotations

import asyncio
import dataclasses
import ipaddress
import logging
import math
import re
import urllib.parse
from collections.abc import Collection, Sequence
from contextlib import suppress

from tundish.core.backend import Capabilities
from tundish.core.clock import Clock
from tundish.core.errors import ModelNotFound, TundishError
from tundish.deployments.errors import DeploymentExists
from tundish.deployments.fleet import Fleet
from tundish.deployments.spec import DeploymentSpec
from tundish.providers.openai_compatible import Server, list_models
from tundish.providers.remote import remote_backend
from tundish.settings import InvalidSetting
from tundish.wire.models import ModelEntry

_log = logging.getLogger("tundish.neighbours")

_LOOK_AGAIN_S = 30.0
_MOST_MODELS = 1000
"""Of one neighbour."""
_MOST_PREFIXES = 4
"""Slashes in the name of another Tundish's model: more of them, and it goes round between endpoints."""


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
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:  # brackets that hold no address
        parts = urllib.parse.urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidSetting(f"servers: '{_without_key(given)}' must be [NAME=]http://127.0.0.1:PORT/v1.")
    if not _is_loopback(parts.hostname):
        raise InvalidSetting(
            f"servers: '{_without_key(given)}' is not on this machine. Only a loopback address may be named, since "
            "what such a server is sent must not leave it."
        )
    key = urllib.parse.unquote(parts.username) if parts.username else None
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return Neighbour(prefix=f"{name}/" if name else "", server=Server(base_url=bare.geturl(), api_key=key))


def _without_key(given: str) -> str:
    """What may be shown and logged of a setting, however wrong it is."""
    before, at, after = given.rpartition("@")
    if not at:
        return given
    beginning = re.match(r"([^/=@]*=)?[a-zA-Z]+://", before)
    return f"{beginning[0] if beginning else ''}***@{after}"


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
        self._refused: dict[Neighbour, set[str]] = {neighbour: set() for neighbour in neighbours}
        self._silent: set[Neighbour] = set()

    async def watch(self) -> None:
        """Look again and again, for ever."""
        while True:
            await self._clock.sleep(_LOOK_AGAIN_S)
            try:
                await self.look()
            except Exception:  # noqa: BLE001 - logged; the next look may go well
                _log.exception("looking for the neighbours' models failed")

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
        ours = set(self._fleet.backends).difference(*self._offered.values())
        entries = [entry for entry in entries if not _goes_round(entry, ours)][:_MOST_MODELS]
        names = {neighbour.prefix + entry.id for entry in entries}
        self._refused[neighbour] &= names
        for entry in entries:
            if neighbour.prefix + entry.id not in offered:
                self._add(neighbour, entry)
        for name in offered - names:
            offered.discard(name)
            with suppress(ModelNotFound):  # an operator was faster
                await self._fleet.remove(name)

    def _add(self, neighbour: Neighbour, entry: ModelEntry) -> None:
        name = neighbour.prefix + entry.id
        spec = DeploymentSpec(
            name=name,
            make=lambda: remote_backend(
                neighbour.server.deployment(entry.id, name=name, context_length=entry.context_length)
            ),
            memory_bytes=0,
            keep_alive_s=math.inf,
            capabilities=Capabilities(context_length=entry.context_length, completions=False),
        )
        try:
            self._fleet.add(spec)
        except DeploymentExists:
            if name not in self._refused[neighbour]:
                _log.warning(
                    "%s has a model called %s, and so has this endpoint. Give the server a name: NAME=%s",
                    neighbour.server.base_url,
                    name,
                    neighbour.server.base_url,
                )
            self._refused[neighbour].add(name)
            return
        self._refused[neighbour].discard(name)
        self._offered[neighbour].add(name)


def _goes_round(entry: ModelEntry, ours: Collection[str]) -> bool:
    """Whether another Tundish only hands on what it has from here: two may name each other as neighbours."""
    if entry.owned_by != "tundish":
        return False
    parts = entry.id.split("/")
    behind_prefixes = ("/".join(parts[count:]) for count in range(1, len(parts)))
    return len(parts) - 1 > _MOST_PREFIXES or any(name in ours for name in behind_prefixes)
