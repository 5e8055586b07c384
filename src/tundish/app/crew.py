"""What one of several processes that serve a port together has to do with the others."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable

from tundish.config.errors import ConfigInvalid, Problem
from tundish.config.site import LocalSpec, SiteConfig
from tundish.core.errors import TundishError
from tundish.dispatch.marks import SharedMarks
from tundish.store.site_objects import SiteObjectStore

_log = logging.getLogger("tundish.workers")

_LOOK_S = 1.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """A worker's side of it."""

    number: int
    """Its own, from 0."""
    marks: SharedMarks
    """Which conversations have had which class, whoever answered them."""
    stop_all: Callable[[], None]
    """Ask that all of them stop, this one too; returns at once."""
    reload_others: Callable[[], None]
    """Ask that all others read the configuration again; returns at once."""


def check_all_remote(config: SiteConfig) -> None:
    """Workers share no memory, so that each would load a local model again.

    Raises:
        ConfigInvalid: one of the site's deployments runs here.
    """
    origin = "the site" if config.path is None else str(config.path)
    problems = [
        Problem(
            origin=origin,
            line=None,
            where=f"deployments.{name}",
            message="runs in this process ('local'), which --workers above 1 does not have yet: each worker would load "
            "it. Serve it with an endpoint of its own and name that here (backend = 'tundish'), or use one worker.",
        )
        for name, spec in config.backends.items()
        if isinstance(spec, LocalSpec)
    ]
    if problems:
        raise ConfigInvalid(problems)


async def follow_objects(
    store: SiteObjectStore, version: Callable[[], str | None], reload: Callable[[], Awaitable[object]]
) -> None:
    """Reload when another process has changed what was added to the site; never returns, never raises.

    Args:
        store: what was added.
        version: of the configuration in force.
        reload: reads it again and puts it in force.
    """
    seen: int | None = None
    while True:
        try:
            revision = await asyncio.to_thread(store.revision)
            if seen is not None and revision != seen:
                before = version()
                await reload()
                if version() != before:
                    _log.info("the site's objects were changed by another process: %s", (version() or "")[:12])
            seen = revision
        except TundishError as error:
            _log.warning("What other processes change in the site is not seen now: %s", error)
        await asyncio.sleep(_LOOK_S)
