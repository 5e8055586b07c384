"""A thread that does what blocks."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")


class Worker:
    """Does one thing after the other in a thread of its own.

    Whoever waits can be cancelled at once: a look-up of a name or a connection that hangs holds up neither Ctrl-C nor
    the end of the process, as one in an executor would.
    """

    def __init__(self, name: str) -> None:
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    async def do(self, work: Callable[..., _T], *arguments: Any) -> _T:
        """What `work(*arguments)` returns or raises. When cancelled, it still comes to its end, unheard."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[_T] = loop.create_future()

        def task() -> None:
            outcome: concurrent.futures.Future[_T] = concurrent.futures.Future()
            try:
                outcome.set_result(work(*arguments))
            except Exception as error:  # noqa: BLE001 (whoever waits raises it)
                outcome.set_exception(error)
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
                loop.call_soon_threadsafe(_settle, done, outcome)

        self._tasks.put(task)
        return await done

    def close(self, work: Callable[[], None] = lambda: None) -> None:
        """Do this as the last thing, without anybody waiting for it."""
        self._tasks.put(work)
        self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()


def _settle(done: asyncio.Future[_T], outcome: concurrent.futures.Future[_T]) -> None:
    if done.done():  # cancelled
        return
    error = outcome.exception()
    if error is None:
        done.set_result(outcome.result())
    else:
        done.set_exception(error)
