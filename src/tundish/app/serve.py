"""`tundish serve`: an endpoint in the foreground."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import types
from collections.abc import Callable, Generator
from typing import TextIO

from tundish import __version__
from tundish.access import endpoint_file
from tundish.app.endpoint import Endpoint, endpoint
from tundish.core.errors import TundishError
from tundish.settings import Settings

_log = logging.getLogger("tundish")

_OPEN_FILES = 65_536


def run(settings: Settings, out: TextIO | None = None) -> None:
    """Serve in the foreground until SIGINT, SIGTERM or a client's request to stop.

    Raises:
        InvalidSetting, AddressInUse, ModelFileInvalid, ModelLoadFailed: it cannot be started, with the reason.
    """
    _allow_many_connections()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(settings, out or sys.stdout))


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
    async with endpoint(settings) as running:
        with _signals(running.ask_to_stop), _reloading(running):
            stop = asyncio.ensure_future(running.stop_asked())
            load = asyncio.ensure_future(running.load())
            try:
                await asyncio.wait((stop, load), return_when=asyncio.FIRST_COMPLETED)
                if not stop.done():
                    await load
                    with _announced(running, settings):
                        print(_banner(running), file=out, flush=True)
                        await stop
                        print("Stopping: running answers may finish. Ctrl-C ends them now.", file=out, flush=True)
                        await running.drain()
            finally:
                for task in (stop, load):
                    task.cancel()
                await asyncio.gather(stop, load, return_exceptions=True)


@contextlib.contextmanager
def _announced(running: Endpoint, settings: Settings) -> Generator[None, None, None]:
    try:
        endpoint_file.write(settings.endpoint_file, running.record())
    except OSError as error:
        _log.warning(
            "%s cannot be written (%s): `tundish status`, `run`, `chat` and `stop` will not find this endpoint",
            settings.endpoint_file,
            error.strerror or error,
        )
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            endpoint_file.remove(settings.endpoint_file, pid=os.getpid())


@contextlib.contextmanager
def _signals(act: Callable[[], None]) -> Generator[None, None, None]:
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

    def reload() -> None:
        task = loop.create_task(_reload(running))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        for task in tasks:
            task.cancel()


async def _reload(running: Endpoint) -> None:
    try:
        version, _ = await running.reload()
    except TundishError as error:
        _log.error("The configuration was not reloaded; the old one stays in force.\n%s", error)
    else:
        _log.info("The configuration %s is in force.", version[:12])


def _banner(running: Endpoint) -> str:
    access = running.access
    names = [model.name for model in running.dispatcher.models()]
    first = next(iter((*running.names, *names)), "MODEL")
    shown_key = "none needed" if access.key is None else "the one in TUNDISH_API_KEY"
    if access.kept_in is not None:
        shown_key = f"{access.key}   (kept in {access.kept_in})"
    call_key = access.key if access.kept_in is not None else "KEY" if access.key else "none"
    return f"""\
Tundish {__version__} is ready: {running.url}/v1
Key:    {shown_key}
Models: {", ".join(names)}

from openai import OpenAI
client = OpenAI(base_url="{running.url}/v1", api_key="{call_key}")
messages = [{{"role": "user", "content": "What is 2+2?"}}]
print(client.chat.completions.create(model="{first}", messages=messages, temperature=0).choices[0].message.content)

Or in another terminal: tundish chat. Ctrl-C stops."""
