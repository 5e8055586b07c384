"""One request on its way through the deployments that may answer it."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from tundish.core.backend import Backend
from tundish.core.clock import Clock
from tundish.core.errors import TundishError
from tundish.core.relay import RelayBackend
from tundish.dispatch.answers import (
    Answer,
    EventAnswer,
    WholeAnswer,
    begin_bytes,
    begin_events,
    collect_events,
)
from tundish.dispatch.attempts import Attempt, Attempts
from tundish.dispatch.hedging import Hedge
from tundish.dispatch.journal import Journal
from tundish.dispatch.retry import others_may_take_it
from tundish.dispatch.said import Said
from tundish.dispatch.site import Site
from tundish.dispatch.work import Work
from tundish.routing.table import Route


class Run:
    """Tries the decision's deployments in their order, and never another.

    Either `whole`, or `open` and then what it gives, to its end. Whoever holds a run closes it, exactly once.
    """

    __slots__ = ("_answer", "_answering", "_attempts", "_clock", "_close", "_route", "_site", "journal", "work")

    def __init__(
        self,
        *,
        work: Work,
        route: Route,
        site: Site,
        attempts: Attempts,
        journal: Journal,
        clock: Clock,
        close: Callable[[Run], None],
    ) -> None:
        """
        Args:
            work: the request.
            route: what it named.
            site: in force when it came, and for all of its time.
            attempts: at those who may answer.
            journal: filled here.
            clock: the time.
            close: called when all is over.
        """
        self.work = work
        self.journal = journal
        self._route = route
        self._site = site
        self._attempts = attempts
        self._clock = clock
        self._close = close
        self._answering: Attempt | None = None
        self._answer: Answer | None = None

    @property
    def place(self) -> str:
        """Where the answer comes from; empty before it has begun."""
        found = self.journal.table.deployments.get(self.journal.deployment)
        return "" if found is None else found.place.name

    async def whole(self) -> WholeAnswer:
        """The answer in one piece.

        Raises:
            TundishError: nobody who may answer did; with what each of them said.
        """
        answer = await self._attempts.reach(self._whole_at)
        self.journal.usage = answer.usage
        return answer

    async def open(self) -> Answer:
        """The answer as it comes, once it has begun. Raises as `whole` does."""
        self._answer = await self._attempts.reach(self._open_at)
        return self._answer

    async def resume(self, error: TundishError) -> EventAnswer:
        """The rest of the answer that broke off with `error`, from another deployment.

        Raises:
            TundishError: `error`, when it cannot be continued or nobody could.
        """
        answer, attempt = self._answer, self._answering
        self._answer = self._answering = None
        if answer is None or attempt is None:
            raise error
        self.journal.unmetered = True
        self._attempts.failed(attempt, error)
        await answer.close()
        others = tuple(name for name in self._attempts.order if name != attempt.deployment)
        if not (others and self._route.continue_elsewhere and answer.continuable and others_may_take_it(error)):
            raise error
        said = self.work.read(answer.said())
        if said is None:
            raise error
        self._attempts.order = others
        try:
            self._answer = resumed = await self._attempts.reach(lambda tried: self._continue_at(tried, said))
        except TundishError:
            raise error from None
        return resumed

    def complete(self) -> None:
        """The answer that `open` or `resume` gave has been read to its end."""
        answer, attempt = self._answer, self._answering
        self._answering = None
        if answer is not None:
            self.journal.usage = answer.usage
        if attempt is not None:
            self._attempts.succeeded(attempt, self.journal.usage)

    async def close(self, error: BaseException | None = None) -> None:
        """All is over: what still runs is stopped, and the request goes on record.

        Args:
            error: what ended it; None: nothing did, or the client did not want the rest.
        """
        journal, answer = self.journal, self._answer
        try:
            if answer is not None:
                if self._answering is not None and answer.usage is not None:
                    self.complete()  # the consumer stopped reading after the last event: nothing was cut short
                self._answer = None
                await answer.close()
        finally:
            attempt, self._answering = self._answering, None
            if attempt is not None:
                journal.unmetered = True
                if isinstance(error, TundishError):
                    self._attempts.failed(attempt, error)
                else:
                    self._attempts.abandoned(attempt, error)
            journal.outcome = self._outcome(error)
            self._close(self)

    def _outcome(self, error: BaseException | None) -> str:
        if isinstance(error, TundishError):
            return error.code
        if isinstance(error, Exception):
            return "internal_error"
        attempts = self.journal.attempts
        return "ok" if attempts and attempts[-1].outcome == "ok" else "cancelled"

    # --- at one deployment ---

    async def _whole_at(self, attempt: Attempt) -> WholeAnswer:
        backend = self._site.backends[attempt.deployment]
        raw = self.work.raw
        if raw is not None and (relay := _relay_of(backend)) is not None and relay.can_relay(raw):
            body, content_type, usage = await relay.relay_whole(raw)
            answer = WholeAnswer(deployment=attempt.deployment, body=body, content_type=content_type, usage=usage)
        else:
            await self.work.prepare()
            answer = await collect_events(attempt.deployment, self.work.events(backend))
        self._attempts.succeeded(attempt, answer.usage)
        return answer

    async def _open_at(self, attempt: Attempt) -> Answer:
        hedge_after_s = self._route.hedge_after_s
        if hedge_after_s is None:
            answer = await self._begin_at(attempt)
        else:
            hedge = Hedge(self._attempts, self._begin_at, after=self._clock.sleep(hedge_after_s))
            attempt, answer = await hedge.first_to_speak(attempt)
        self._answering = attempt
        self._attempts.began(attempt)
        return answer

    async def _begin_at(self, attempt: Attempt) -> Answer:
        backend = self._site.backends[attempt.deployment]
        raw = self.work.raw
        if raw is not None and (relay := _relay_of(backend)) is not None and relay.can_relay(raw):
            return await begin_bytes(attempt.deployment, relay.relay(raw))
        await self.work.prepare()
        return await begin_events(attempt.deployment, self.work.events(backend))

    async def _continue_at(self, attempt: Attempt, said: Said) -> EventAnswer:
        await self.work.prepare()
        events = self.work.continued(self._site.backends[attempt.deployment], said)
        answer = await begin_events(attempt.deployment, events, said_before=said)
        self._answering = attempt
        self._attempts.began(attempt)
        return answer


def _relay_of(backend: Backend) -> RelayBackend | None:
    return cast("RelayBackend", backend) if hasattr(backend, "can_relay") else None
