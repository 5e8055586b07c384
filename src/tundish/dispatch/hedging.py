"""Asking a second deployment when the first has said nothing for a while; the first to speak answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tundish.core.errors import TundishError
from tundish.dispatch.answers import Answer
from tundish.dispatch.attempts import Attempt, Attempts


class Hedge:
    """One hedged beginning. The attempt that loses is cancelled; one that fails is recorded here, but for the first
    one's failure when nobody spoke, which is raised."""

    def __init__(
        self,
        attempts: Attempts,
        begin: Callable[[Attempt], Coroutine[Any, Any, Answer]],
        *,
        after: Coroutine[Any, Any, None],
    ) -> None:
        """`after`: returns when the second is to be asked."""
        self._attempts = attempts
        self._begin = begin
        self._after = after

    async def first_to_speak(self, first: Attempt) -> tuple[Attempt, Answer]:
        """Who has begun to answer, and the answer.

        Raises:
            TundishError: what the first one said when nobody answered.
        """
        running: dict[asyncio.Task[Answer], Attempt] = {asyncio.create_task(self._begin(first)): first}
        timer = asyncio.create_task(self._after)
        failure: BaseException | None = None
        won = False
        try:
            await asyncio.wait((*running, timer), return_when=asyncio.FIRST_COMPLETED)
            if timer.done() and not any(task.done() for task in running):
                second = self._enter_another(first)
                if second is not None:
                    running[asyncio.create_task(self._begin(second))] = second
            while running:
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in [task for task in running if task.done()]:
                    attempt = running.pop(task)
                    error = task.exception()
                    if error is None:
                        if failure is not None:
                            self._lost(first, failure)
                        won = True
                        return attempt, task.result()
                    if attempt is first:
                        failure = error
                    else:
                        self._lost(attempt, error)
            assert failure is not None  # noqa: S101 - for the type checker: the first was among them
            raise failure
        finally:
            timer.cancel()
            await self._give_up(first, running, won=won)

    def _enter_another(self, first: Attempt) -> Attempt | None:
        for name in self._attempts.order:
            if name != first.deployment:
                try:
                    attempt = self._attempts.enter(name)
                except TundishError:
                    return None  # no more attempts: the first has to do
                if attempt is not None:
                    return attempt
        return None

    def _lost(self, attempt: Attempt, error: BaseException) -> None:
        if isinstance(error, TundishError):
            self._attempts.failed(attempt, error)
        else:
            self._attempts.abandoned(attempt, error)

    async def _give_up(self, first: Attempt, running: dict[asyncio.Task[Answer], Attempt], *, won: bool) -> None:
        """Cancel those that lost. The first one's end is the caller's to record, unless another has won."""
        for task in running:
            task.cancel()
        for task, attempt in running.items():
            (result,) = await asyncio.gather(task, return_exceptions=True)
            if not isinstance(result, BaseException):
                await result.close()
            if won or attempt is not first:
                self._attempts.abandoned(attempt)
