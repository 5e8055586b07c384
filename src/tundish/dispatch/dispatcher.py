"""From a route's name to a running answer: label, decide, try, fail over, settle."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence

from tundish.core.backend import Backend, BackendStatus, Capabilities, Health
from tundish.core.clock import Clock
from tundish.core.errors import ModelNotFound, TundishError, Unavailable
from tundish.core.events import GenerationEvent
from tundish.core.request import CompletionRequest, Request
from tundish.dispatch.answers import EventAnswer
from tundish.dispatch.attempts import Attempts
from tundish.dispatch.conversations import Conversations
from tundish.dispatch.journal import Journal
from tundish.dispatch.labels import Labels
from tundish.dispatch.observer import Observer, RequestRecord
from tundish.dispatch.refused import nobody_may_answer
from tundish.dispatch.retry import RetryBudget
from tundish.dispatch.run import Run
from tundish.dispatch.settlement import Settlement
from tundish.dispatch.shadows import Shadows
from tundish.dispatch.site import Site
from tundish.dispatch.snapshots import Snapshots
from tundish.dispatch.sticky import Sticky
from tundish.dispatch.work import ReadyWork, Work
from tundish.routing.decide import decide
from tundish.routing.decision import Ask, Decision
from tundish.routing.table import Circuit, Snapshot

__all__ = ["Dispatcher", "Observer", "RequestRecord", "ServedModel"]

_LOOK_AT_CLOCK_S = 1.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model that clients can name."""

    name: str
    created_s: int
    """Unix time at which it was put to work."""
    owner: str
    capabilities: Capabilities | None
    """None until its backend is ready, and of a route, whose deployments may differ."""


class Dispatcher:
    """Runs requests at the site it was given; `swap` puts another in its place while it works."""

    def __init__(
        self,
        *,
        site: Site | None = None,
        backends: Mapping[str, Backend] | None = None,
        observer: Observer | None = None,
        settlement: Settlement | None = None,
        conversations: Conversations | None = None,
        clock: Clock,
        welcoming: bool = True,
        decide: Callable[[Snapshot, Ask], Decision] = decide,
    ) -> None:
        """
        Args:
            site: what is configured, and its backends.
            backends: instead of a site: each is offered under its own name; the mapping may change while they work.
            observer: told of every request; or:
            settlement: how requests are settled.
            conversations: which class each had.
            clock: the time.
            welcoming: whether requests are taken before `welcome_requests` is called.
            decide: who may answer; pure.
        """
        self._decide_who = decide
        if settlement is None:
            if observer is None:
                raise ValueError("A dispatcher needs an observer or a settlement.")
            settlement = Settlement(observer=observer, receipts=None)
        self._settlement = settlement
        self._clock = clock
        self._snapshots = Snapshots(site or Site(backends=backends or {}), clock)
        self._labels = Labels(conversations or Conversations())
        self._sticky = Sticky()
        self._budgets: dict[str, RetryBudget] = {}
        self._shadows = Shadows()
        self._created_s = int(clock.now().timestamp())
        self._unix_offset_s = 0.0
        self._looked_s = -math.inf
        self._needed: Collection[str] | None = None
        self._unwelcome = None if welcoming else "This endpoint is starting. Send the request again in a moment."

    # --- what there is ---

    def models(self) -> Sequence[ServedModel]:
        """Every name that can be asked: routes, and deployments on their own."""
        return [self._served(name) for name in sorted(self._snapshots.table().routes)]

    def model(self, name: str) -> ServedModel:
        """One of them.

        Raises:
            ModelNotFound: with the known names.
        """
        routes = self._snapshots.table().routes
        if name not in routes:
            raise ModelNotFound(model=name, known=list(routes))
        return self._served(name)

    def status(self) -> Mapping[str, BackendStatus]:
        """Each deployment's backend, now."""
        return {name: backend.status() for name, backend in self._backends.items()}

    @property
    def site(self) -> Site:
        """What new requests are dispatched to."""
        return self._snapshots.site

    def circuits(self) -> Mapping[str, Circuit]:
        """Each configured deployment's circuit, now."""
        now_s = self._clock.monotonic_s()
        configured = self._snapshots.site.table.deployments
        return {name: self._snapshots.standing(name).breaker.state(now_s) for name in configured}

    @property
    def ready(self) -> bool:
        """Whether new requests are welcome, and every model that is needed can be used or will be loaded for one."""
        return self._unwelcome is None and not self.unready()

    def unready(self) -> Mapping[str, BackendStatus]:
        """The needed models that cannot be used now."""
        backends = self._backends
        needed = backends if self._needed is None else self._needed
        found = {name: backends[name] for name in needed if name in backends}
        return {name: backend.status() for name, backend in found.items() if not _is_usable(backend)}

    @property
    def unwelcome(self) -> str | None:
        """Why no request is taken now; None when requests are taken."""
        return self._unwelcome

    def welcome_requests(self, *, needed: Collection[str] | None = None) -> None:
        """From now on requests are taken; before, they get `Unavailable`, since the backends are not all known yet.

        `needed`: the models without which the endpoint is not ready; None is all.
        """
        self._needed = needed
        self._unwelcome = None

    def refuse_new_requests(self) -> None:
        """From now on new requests get `Unavailable`; running ones go on."""
        self._unwelcome = "This endpoint is shutting down. Send the request again when it is back."

    def swap(self, site: Site) -> None:
        """Dispatch new requests to `site`. Running ones end as they began, at the site that was in force for them."""
        self._snapshots.swap(site)
        self._budgets.clear()

    async def stop(self) -> None:
        """End what runs for nobody."""
        await self._shadows.stop()

    # --- requests ---

    def begin(self, work: Work) -> Run:
        """Decide who may answer; the run is closed by the caller, whatever becomes of it.

        Raises:
            Unavailable: no requests are taken; or nobody may answer: the message says which constraint left nobody.
            ModelNotFound: there is no such route.
            InvalidRequest: it claims a data class that does not exist, or no deployment could ever answer it.
        """
        self._check_welcome()
        now_s = self._clock.monotonic_s()
        snapshot = self._snapshot_for(work.route, now_s)
        journal = self._journal(work, snapshot, now_s)
        try:
            decision = self._decide(work, snapshot, journal, now_s)
        except TundishError as error:
            self._refuse(journal, error, observed=False)
            raise
        self._settlement.observer.request_started(work.route)
        try:
            if not decision.order:
                raise nobody_may_answer(snapshot, decision, work)
        except TundishError as error:
            self._refuse(journal, error, observed=True)
            raise
        run = self._run(work, journal, decision.order, observed=True)
        if decision.shadow is not None:
            shadow = decision.shadow
            self._shadows.mirror(
                lambda: self._shadow(work, snapshot, journal, shadow), limit=self._snapshots.site.rules.shadows
            )
        return run

    def generate(self, request: Request) -> AsyncGenerator[GenerationEvent, None]:
        """Answer a conversation; see `Backend.generate` for what it raises."""
        return self._events(ReadyWork(request.model, "chat_completions", lambda backend: backend.generate(request)))

    def complete(self, request: CompletionRequest) -> AsyncGenerator[GenerationEvent, None]:
        """Continue raw text; see `Backend.complete`."""
        return self._events(ReadyWork(request.model, "completions", lambda backend: backend.complete(request)))

    async def _events(self, work: Work) -> AsyncGenerator[GenerationEvent, None]:
        run = self.begin(work)
        failure: BaseException | None = None
        try:
            answer = await run.open()
            assert isinstance(answer, EventAnswer)  # noqa: S101 - work without bytes is never relayed
            while (event := await answer.next()) is not None:
                yield event
            run.complete()
        except BaseException as error:
            failure = error
            raise
        finally:
            await run.close(failure)

    # --- the steps ---

    def _check_welcome(self) -> None:
        if self._unwelcome is not None:
            raise Unavailable(self._unwelcome)
        receipts = self._settlement.receipts
        problem = None if receipts is None else receipts.accepting
        if problem is not None:
            raise Unavailable(problem, retry_after_s=5.0)

    def _snapshot_for(self, route: str, now_s: float) -> Snapshot:
        snapshot = self._snapshots.current(now_s)
        if route not in snapshot.table.routes and route in self._snapshots.table().routes:
            snapshot = self._snapshots.current(now_s)  # it has come since the last look
        return snapshot

    def _journal(self, work: Work, snapshot: Snapshot, now_s: float) -> Journal:
        return Journal(
            work,
            snapshot.table,
            started_s=now_s,
            arrived_us=self._unix_us(now_s),
            digests=self._settlement.receipts is not None,
        )

    def _unix_us(self, now_s: float) -> int:
        """The wall clock at a monotonic time. It is looked at once a second: asking for its time zone is not cheap."""
        if not 0 <= now_s - self._looked_s < _LOOK_AT_CLOCK_S:
            self._looked_s = now_s
            self._unix_offset_s = self._clock.now().timestamp() - now_s
        return int((self._unix_offset_s + now_s) * 1_000_000)

    def _decide(self, work: Work, snapshot: Snapshot, journal: Journal, now_s: float) -> Decision:
        table = snapshot.table
        route = table.routes.get(work.route)
        if route is None:
            raise ModelNotFound(model=work.route, known=list(table.routes))
        label, journal.opening = self._labels.label(
            table.policy,
            route_default=route.default_class,
            project=work.caller.data_class,
            header=work.claimed_class,
            work=work,
        )
        journal.label = label
        stuck_to = None
        if route.sticky and work.affinity is not None:
            stuck_to = self._sticky.deployment(work.route, label.data_class, work.affinity)
        ask = Ask(
            route=work.route,
            label=label,
            needs=work.needs,
            prompt_tokens=work.prompt_tokens,
            max_output_tokens=work.max_output_tokens,
            expected_output_tokens=self._settlement.expected_output_tokens(work.route, now_s),
            conversation=work.affinity,
            stuck_to=stuck_to,
            draw=random.random(),
        )
        journal.decision = decision = self._decide_who(snapshot, ask)
        return decision

    def _run(self, work: Work, journal: Journal, order: tuple[str, ...], *, observed: bool) -> Run:
        site = self._snapshots.site
        budget = self._budgets.get(work.route)
        if budget is None:
            budget = self._budgets[work.route] = RetryBudget(site.retry_rules(work.route))
        budget.earn()
        attempts = Attempts(
            order, site=site, snapshots=self._snapshots, budget=budget, journal=journal, clock=self._clock
        )
        return Run(
            work=work,
            route=journal.table.routes[work.route],
            site=site,
            attempts=attempts,
            journal=journal,
            clock=self._clock,
            close=self._close_observed if observed else self._close_unobserved,
        )

    def _shadow(self, work: Work, snapshot: Snapshot, of: Journal, deployment: str) -> Run:
        journal = self._journal(work, snapshot, self._clock.monotonic_s())
        journal.label, journal.decision, journal.shadow_of = of.label, of.decision, work.request_id
        return self._run(work, journal, (deployment,), observed=False)

    def _refuse(self, journal: Journal, error: TundishError, *, observed: bool) -> None:
        journal.outcome = error.code
        journal.wrote(journal.work.refused(error))
        if journal.opening is not None:
            journal.opening.end(begun=False)
        self._settlement.settle(journal, self._clock.monotonic_s(), observed=observed)

    def _close_observed(self, run: Run) -> None:
        work, journal = run.work, run.journal
        if journal.opening is not None:
            journal.opening.end(begun=bool(journal.deployment))
        if work.affinity and journal.deployment and journal.label is not None:
            self._sticky.stick(work.route, journal.label.data_class, work.affinity, journal.deployment)
        self._settlement.settle(journal, self._clock.monotonic_s(), observed=True)

    def _close_unobserved(self, run: Run) -> None:
        self._settlement.settle(run.journal, self._clock.monotonic_s(), observed=False)

    @property
    def _backends(self) -> Mapping[str, Backend]:
        return self._snapshots.site.backends

    def _served(self, name: str) -> ServedModel:
        backend = self._backends.get(name)
        return ServedModel(
            name=name,
            created_s=self._created_s,
            owner="tundish",
            capabilities=backend.capabilities if backend is not None and _is_usable(backend) else None,
        )


def _is_usable(backend: Backend) -> bool:
    return backend.status().health in (Health.READY, Health.UNLOADED)
