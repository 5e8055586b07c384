"""`tundish serve`: an endpoint in the foreground."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
import types
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from typing import TextIO

from tundish.app.announcement import announced, banner
from tundish.app.crew import Crew
from tundish.app.endpoint import Endpoint, endpoint
from tundish.core.errors import TundishError
from tundish.settings import Settings

_log = logging.getLogger("tundish")

STOPPING = "Stopping: running answers may finish. Ctrl-C ends them now."

_OPEN_FILES = 65_536
_NEW_OBJECTS = 20_000
"""After so many more new objects than freed ones the collector looks for cycles: at most a few MB of them wait for it.
With Python's own 700 it runs several times in each turn of the loop, over requests that are all still under way."""


def run(settings: Settings, out: TextIO | None = None) -> None:
    """Serve in the foreground until SIGINT, SIGTERM or a client's request to stop.

    Raises:
        InvalidSetting, AddressInUse, ModelFileInvalid, ModelLoadFailed: it cannot be started, with the reason.
    """
    prepare_process("%(asctime)s %(levelname)s %(name)s: %(message)s")
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(settings, out or sys.stdout))


def prepare_process(log_format: str) -> None:
    """Make this process one that serves: its open files, its garbage, its log."""
    _allow_many_connections()
    gc.set_threshold(_NEW_OBJECTS, 10, 10)
    logging.basicConfig(level=logging.INFO, format=log_format)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where there is uvloop."""
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop


def _allow_many_connections() -> None:
    """Take as many open files as the system grants: each client is one."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        granted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
        if granted > soft != resource.RLIM_INFINITY:
            with contextlib.suppress(ValueError, OSError):  # macOS grants less than it says
                resource.setrlimit(resource.RLIMIT_NOFILE, (granted, hard))


async def _serve(settings: Settings, out: TextIO) -> None:
    @contextlib.contextmanager
    def heed(running: Endpoint) -> Generator[None, None, None]:
        with signals(running.ask_to_stop), _reloading(running):
            yield

    @contextlib.contextmanager
    def ready(running: Endpoint) -> Generator[None, None, None]:
        with announced(settings, running.record()):
            names = [model.name for model in running.dispatcher.models()]
            first = next(iter(running.names), None)
            print(banner(running.url, running.access, names, first=first), file=out, flush=True)
            yield

    await serve_until_stopped(settings, heed=heed, ready=ready, stopping=lambda: print(STOPPING, file=out, flush=True))


async def serve_until_stopped(
    settings: Settings,
    *,
    heed: Callable[[Endpoint], AbstractContextManager[None]],
    ready: Callable[[Endpoint], AbstractContextManager[None]],
    stopping: Callable[[], None],
    crew: Crew | None = None,
) -> None:
    """Serve until the endpoint is asked to stop, and then until running answers had their time.

    Args:
        settings: what to serve, where.
        heed: entered for the whole time: who may ask it to stop.
        ready: entered when it is ready, left when it has ended.
        stopping: called when it begins to stop.
        crew: see `Endpoint`.

    Raises:
        TundishError: it cannot be started, with the reason.
    """
    async with endpoint(settings, crew=crew) as running:
        with heed(running):
            stop = asyncio.ensure_future(running.stop_asked())
            load = asyncio.ensure_future(running.load())
            try:
                await asyncio.wait((stop, load), return_when=asyncio.FIRST_COMPLETED)
                if not stop.done():
                    await load
                    gc.freeze()  # what is there by now stays, and need not be looked at again
                    with ready(running):
                        await stop
                        stopping()
                        await running.drain()
            finally:
                for task in (stop, load):
                    task.cancel()
                await asyncio.gather(stop, load, return_exceptions=True)


@contextlib.contextmanager
def signals(act: Callable[[], None]) -> Generator[None, None, None]:
    """While active, SIGINT and SIGTERM call `act` and do nothing else."""
    loop = asyncio.get_running_loop()
    if sys.platform == "win32":

        def interrupted(_: int, __: types.FrameType | None) -> None:
            loop.call_soon_threadsafe(act)

        before = signal.signal(signal.SIGINT, interrupted)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
    else:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, act)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


@contextlib.contextmanager
def _reloading(running: Endpoint) -> Generator[None, None, None]:
    """While active, SIGHUP reads the configuration again; where there is no SIGHUP, `POST /tundish/v1/reload` does."""
    if sys.platform == "win32":
        yield
        return
    loop, tasks = asyncio.get_running_loop(), set[asyncio.Task[None]]()

    def reload_soon() -> None:
        task = loop.create_task(reload(running))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    loop.add_signal_handler(signal.SIGHUP, reload_soon)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        for task in tasks:
            task.cancel()


async def reload(running: Endpoint) -> None:
    """Read the configuration again; the log says what came of it."""
    try:
        version, _ = await running.reload()
    except TundishError as error:
        _log.error("The configuration was not reloaded; the old one stays in force.\n%s", error)
    else:
        _log.info("The configuration %s is in force.", version[:12])
