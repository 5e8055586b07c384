"""Mirrors: a share of a route's requests that another deployment answers too, for nobody but the record."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from tundish.dispatch.run import Run

_log = logging.getLogger("tundish.dispatch")


class Shadows:
    """Runs mirrored requests beside the real ones; none of them is ever waited for."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        """How many run now."""
        return len(self._running)

    def mirror(self, begin: Callable[[], Run], *, limit: int) -> None:
        """Run what `begin` gives, unless `limit` run already."""
        if len(self._running) >= limit:
            return
        task = asyncio.get_running_loop().create_task(_run(begin()))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def stop(self) -> None:
        """End them all."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)


async def _run(run: Run) -> None:
    failure: BaseException | None = None
    try:
        await run.whole()
    except asyncio.CancelledError as error:
        failure = error
        raise
    except Exception as error:  # noqa: BLE001 - it is on record, and nobody waits for it
        failure = error
        _log.debug("a mirrored request failed: %s", error)
    finally:
        await run.close(failure)
