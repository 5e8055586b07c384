"""One life of a backend: from the moment it is made until it is stopped, which happens once."""

from __future__ import annotations

import asyncio
import logging

from tundish.core.backend import Backend, Health

_log = logging.getLogger("tundish.deployments")


class Life:
    """A backend in memory, and how many requests it answers. A request belongs to the life that took it."""

    def __init__(self, backend: Backend, *, begun_s: float) -> None:
        self.backend = backend
        self.begun_s = begun_s
        self.loaded = False
        self.running = 0
        self.forced = False
        """It is ended although it answers."""
        self._over = asyncio.Event()

    @property
    def gone(self) -> bool:
        """Whether the backend answers nothing any more, however long one waits."""
        return self.backend.status().health in (Health.FAILED, Health.STOPPED)

    def end(self, *, force: bool) -> bool:
        """Ask for its end; returns whether it ends now, and not after what it answers."""
        if force or not self.running:
            self.forced = self.running > 0
            self._over.set()
        return self._over.is_set()

    async def over(self) -> None:
        """Wait until nothing is in the way of its end."""
        await self._over.wait()

    async def stop(self) -> None:
        """Stop the backend. One that cannot even be stopped must not keep others from being loaded."""
        try:
            await self.backend.stop()
        except Exception:  # noqa: BLE001 - logged, and no reason to keep its memory
            _log.exception("a backend could not be stopped properly")
