"""One of the processes that serve a port together: `python -m tundish.app.worker`, for a `Supervisor` to start."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import mmap
import os
import signal
import sys
from collections.abc import Generator
from typing import BinaryIO

from tundish.app import worker_wire
from tundish.app.crew import Crew
from tundish.app.endpoint import Endpoint
from tundish.app.serve import loop_factory, prepare_process, reload, serve_until_stopped
from tundish.app.worker_wire import Told
from tundish.core.errors import TundishError
from tundish.dispatch.marks import SHARED_BYTES, SharedMarks
from tundish.settings import Settings

_log = logging.getLogger("tundish.workers")


def main() -> int:
    """Serve until told to stop; the exit code."""
    _leave_signals_to_the_supervisor()
    # Whatever prints must not be taken for a line of ours.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    orders = os.fdopen(os.dup(0), "rb", buffering=0)
    appointed = worker_wire.decode_appointed(_first_line(orders))
    worker = Worker(appointed.number, worker_wire.settings_of(appointed), answers, orders)
    prepare_process(f"%(asctime)s %(levelname)s worker {appointed.number} %(name)s: %(message)s")
    with mmap.mmap(appointed.marks_fd, SHARED_BYTES) as memory, asyncio.Runner(loop_factory=loop_factory()) as runner:
        try:
            runner.run(worker.serve(SharedMarks(memory)))
        except TundishError as error:
            worker.tell(Told(what="failed", message=str(error)))
            return 1
    return 0


class Worker:
    """Serves, and does what it is ordered."""

    def __init__(self, number: int, settings: Settings, answers: BinaryIO, orders: BinaryIO) -> None:
        self._number = number
        self._settings = settings
        self._answers = answers
        self._orders = orders
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, marks: SharedMarks) -> None:
        """Until the order to stop, and then until running answers had their time.

        Raises:
            TundishError: it cannot be started.
        """
        crew = Crew(
            number=self._number,
            marks=marks,
            stop_all=lambda: self.tell(Told(what="stop")),
            reload_others=lambda: self.tell(Told(what="reload")),
        )
        await serve_until_stopped(
            self._settings, heed=self._heed, ready=self._ready, stopping=lambda: _log.info("stopping"), crew=crew
        )

    def tell(self, told: Told) -> None:
        """To the supervisor, if it still lives."""
        with contextlib.suppress(OSError):
            self._answers.write(worker_wire.encode(told))

    @contextlib.contextmanager
    def _ready(self, running: Endpoint) -> Generator[None, None, None]:
        self.tell(Told(what="ready", models=tuple(model.name for model in running.dispatcher.models())))
        yield

    @contextlib.contextmanager
    def _heed(self, running: Endpoint) -> Generator[None, None, None]:
        loop = asyncio.get_running_loop()
        obeying = loop.create_task(self._obey(running))
        if sys.platform != "win32":
            loop.add_signal_handler(signal.SIGTERM, self._stop_once, running)
        try:
            yield
        finally:
            if sys.platform != "win32":
                loop.remove_signal_handler(signal.SIGTERM)
            for task in (obeying, *self._tasks):
                task.cancel()

    async def _obey(self, running: Endpoint) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), self._orders)
        while line := await reader.readline():
            order = worker_wire.decode_ordered(line).order
            if order == "stop":
                self._stop_once(running)
            elif order == "hurry":
                self._stop_once(running)
                running.ask_to_stop()
            else:
                task = loop.create_task(reload(running))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        _log.warning("the supervisor is gone")
        self._stop_once(running)

    def _stop_once(self, running: Endpoint) -> None:
        """A service manager may tell each process and the supervisor, who tells each: that is no haste."""
        if not self._stopping:
            self._stopping = True
            running.ask_to_stop()


def _leave_signals_to_the_supervisor() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _first_line(orders: BinaryIO) -> bytes:
    """Byte by byte, since what follows is for the loop to read."""
    line = b""
    while not line.endswith(b"\n"):
        one = orders.read(1)
        if not one:
            sys.exit(1)  # the supervisor is gone already
        line += one
    return line


if __name__ == "__main__":
    sys.exit(main())
