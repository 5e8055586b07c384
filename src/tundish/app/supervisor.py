"""`tundish serve --workers N`: N processes that serve one port, started, watched and stopped together.

The system deals new connections out among the workers' own listening sockets (SO_REUSEPORT). The supervisor only keeps
the port, so that no work waits for it and its load is nothing. Each worker has a receipt log of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import mmap
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from typing import BinaryIO, TextIO, cast

from tundish.app import worker_wire
from tundish.app.access import open_access
from tundish.app.announcement import announced, banner, record_of, url_of
from tundish.app.serve import STOPPING, prepare_process, signals
from tundish.app.worker_wire import Order, Ordered
from tundish.core.errors import TundishError
from tundish.dispatch.marks import SHARED_BYTES, SharedMarks
from tundish.http import listener
from tundish.settings import Settings

_log = logging.getLogger("tundish.workers")

_GRACE_S = 20.0
"""Beyond `drain_s`, for a worker to put its things away before it is killed."""
_STEADY_S = 10.0
"""Who has lived so long is started again at once; who dies earlier, ever later."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_TURN_OVER_S = 30.0


class WorkerFailed(TundishError):
    """The workers cannot be started; the message says why."""

    code = "worker_failed"


def supervise(settings: Settings, out: TextIO | None = None) -> None:
    """Serve in the foreground with `settings.workers` processes until SIGINT, SIGTERM or a client's request to stop.

    Raises:
        InvalidSetting, AddressInUse, WorkerFailed: it cannot be started, with the reason.
    """
    prepare_process("%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(_supervise(settings, out or sys.stdout))


async def _supervise(settings: Settings, out: TextIO) -> None:
    reserved = await listener.reserve(settings.host, settings.port)
    with contextlib.ExitStack() as stack:
        for sock in reserved:
            stack.callback(sock.close)
        settings = dataclasses.replace(settings, port=reserved[0].getsockname()[1])
        access = open_access(settings)
        file = stack.enter_context(_shared_file())
        memory = stack.enter_context(mmap.mmap(file.fileno(), SHARED_BYTES))
        supervisor = Supervisor(settings, file.fileno(), SharedMarks(memory))
        stack.enter_context(signals(supervisor.stop))
        stack.enter_context(_hangups(supervisor.reload))
        async with asyncio.TaskGroup() as group:
            running = group.create_task(supervisor.run())
            models = await supervisor.ready()
            if models is not None:
                url = url_of(settings, settings.port)
                with announced(settings, record_of(settings, access, url, started_s=time.time())):
                    print(banner(url, access, models), file=out, flush=True)
                    await supervisor.stopping.wait()
                    print(STOPPING, file=out, flush=True)
                    await asyncio.wait((running,))
    if supervisor.failure is not None:
        raise WorkerFailed(supervisor.failure)


class Supervisor:
    """Keeps the workers alive."""

    def __init__(self, settings: Settings, marks_fd: int, marks: SharedMarks) -> None:
        """
        Args:
            settings: what each worker serves; the port is one that is kept for them.
            marks_fd: the file behind `marks`, which they inherit.
            marks: see `Crew`.
        """
        self._settings = settings
        self._marks_fd = marks_fd
        self._marks = marks
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._ready: dict[int, tuple[str, ...]] = {}
        self._all_ready = asyncio.Event()
        self._over = asyncio.Event()
        self.stopping = asyncio.Event()
        """Set when the workers have been told to stop."""
        self.failure: str | None = None
        """Why the first start came to nothing."""

    async def ready(self) -> tuple[str, ...] | None:
        """What can be asked for, when every worker is ready; None when it does not come to that."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self._all_ready, self._over)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        return self._ready[0] if self._all_ready.is_set() and not self._over.is_set() else None

    async def run(self) -> None:
        """Until the last worker has ended."""
        turning = asyncio.ensure_future(self._turn_over())
        try:
            await asyncio.gather(*(self._keep(number) for number in range(self._settings.workers)))
        finally:
            turning.cancel()
            self._over.set()

    def stop(self) -> None:
        """Have all of them stop gracefully; asked again, at once."""
        order: Order = "hurry" if self.stopping.is_set() else "stop"
        self.stopping.set()
        for number in self._processes:
            self._order(number, order)

    def reload(self, but: int | None = None) -> None:
        """Have all of them, but one, read the configuration again."""
        for number in self._processes:
            if number != but:
                self._order(number, "reload")

    async def _keep(self, number: int) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self.stopping.is_set():
            began_s = time.monotonic()
            code = await self._live(number)
            if self.stopping.is_set():
                return
            if not self._all_ready.is_set():
                self.failure = self.failure or f"Worker {number} ended with {code} before it was ready."
                self.stop()
                return
            lived_s = time.monotonic() - began_s
            pause_s = _FIRST_PAUSE_S if lived_s > _STEADY_S else min(2 * pause_s, _LONGEST_PAUSE_S)
            _log.error("worker %d ended with %d after %.1f s; another one takes its place", number, code, lived_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), pause_s)

    async def _live(self, number: int) -> int:
        """A worker's whole life; its exit code."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tundish.app.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(self._marks_fd,),
            start_new_session=True,  # the terminal's Ctrl-C is for the supervisor
        )
        assert process.stdin is not None  # noqa: S101
        process.stdin.write(worker_wire.appoint(number, self._marks_fd, self._settings))
        self._processes[number] = process
        if self.stopping.is_set():
            self._order(number, "stop")
        killing = asyncio.ensure_future(self._kill_in_the_end(process))
        try:
            await self._listen_to(number, process)
            return await process.wait()
        finally:
            killing.cancel()
            del self._processes[number]
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _listen_to(self, number: int, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101
        while line := await process.stdout.readline():
            told = worker_wire.decode_told(line)
            match told.what:
                case "ready":
                    self._ready[number] = told.models
                    if len(self._ready) == self._settings.workers:
                        self._all_ready.set()
                case "failed":
                    _log.error("worker %d cannot be started: %s", number, told.message)
                    if not self._all_ready.is_set():
                        self.failure = self.failure or told.message
                case "stop":
                    self.stop()
                case "reload":
                    self.reload(but=number)

    async def _kill_in_the_end(self, process: asyncio.subprocess.Process) -> None:
        await self.stopping.wait()
        await asyncio.sleep(self._settings.drain_s + _GRACE_S)
        _log.error("process %d does not end; it is killed", process.pid)
        process.kill()

    async def _turn_over(self) -> None:
        while True:
            await asyncio.sleep(_TURN_OVER_S)
            if await asyncio.to_thread(self._marks.turn_over):
                _log.info("conversations that no longer speak are forgotten")

    def _order(self, number: int, order: Order) -> None:
        stdin = self._processes[number].stdin
        if stdin is not None and not stdin.is_closing():
            stdin.write(worker_wire.encode(Ordered(order=order)))


def _shared_file() -> BinaryIO:
    """A file without a name, whose bytes are there: a full disk must not take them away under whoever writes to them.

    Raises:
        WorkerFailed: there is no room for it.
    """
    try:
        if sys.platform == "linux":
            file: BinaryIO = os.fdopen(os.memfd_create("tundish-marks"), "w+b")
            file.truncate(SHARED_BYTES)
        else:
            file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - the caller closes it
            file.write(bytes(SHARED_BYTES))
            file.flush()
    except OSError as error:
        raise WorkerFailed(
            f"The workers cannot share {SHARED_BYTES >> 20} MiB: {error.strerror or error}. Make room for them in "
            f"{tempfile.gettempdir()}, or use one worker."
        ) from error
    return file


@contextlib.contextmanager
def _hangups(act: Callable[[], None]) -> Generator[None, None, None]:
    """While active, SIGHUP calls `act`."""
    if sys.platform == "win32":
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, act)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
