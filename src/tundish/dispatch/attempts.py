"""The attempts of one request: which deployment is next, whether it may be asked, and what its failure means."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from tundish.core.clock import Clock
from tundish.core.errors import TundishError
from tundish.core.events import Usage
from tundish.dispatch.circuit import Entry
from tundish.dispatch.errors import NoDeploymentLeft
from tundish.dispatch.journal import Journal
from tundish.dispatch.refused import what_to_say
from tundish.dispatch.retry import RetryBudget, backoff_s, come_back_s, others_may_take_it, speaks_of_health
from tundish.dispatch.site import Site
from tundish.dispatch.snapshots import Snapshots
from tundish.dispatch.standing import Standing

T = TypeVar("T")

_LEAST_MEASURED_S = 0.001


class Attempt:
    """One that runs."""

    __slots__ = ("began_s", "deployment", "entry", "first_s", "standing")

    def __init__(self, deployment: str, standing: Standing, entry: Entry, began_s: float) -> None:
        self.deployment = deployment
        self.standing = standing
        self.entry = entry
        self.began_s = began_s
        self.first_s: float | None = None
        """When its answer began; None before, and when it came in one piece."""


class Attempts:
    """Goes through `order`, and never to another deployment. Each attempt that `enter` gives ends in exactly one of
    `succeeded`, `failed` and `abandoned`."""

    __slots__ = ("_budget", "_clock", "_failures", "_journal", "_rules", "_site", "_snapshots", "_tried", "order")

    def __init__(
        self,
        order: tuple[str, ...],
        *,
        site: Site,
        snapshots: Snapshots,
        budget: RetryBudget,
        journal: Journal,
        clock: Clock,
    ) -> None:
        self.order = order
        self._site = site
        self._snapshots = snapshots
        self._budget = budget
        self._rules = site.retry_rules(journal.work.route)
        self._journal = journal
        self._clock = clock
        self._tried = 0
        self._failures: list[tuple[str, TundishError]] = []

    async def reach(self, perform: Callable[[Attempt], Awaitable[T]]) -> T:
        """What `perform` gives at the first deployment where it does not fail.

        Raises:
            TundishError: nobody who may answer did; with what each of them said.
        """
        rounds = 0
        while True:
            for name in self._candidates():
                attempt = self.enter(name)
                if attempt is None:
                    continue
                try:
                    return await perform(attempt)
                except TundishError as error:
                    self.failed(attempt, error)
                    if not others_may_take_it(error):
                        raise
                except BaseException as error:
                    self.abandoned(attempt, error)
                    raise
            rounds += 1
            wait_s = self._pause_s(rounds)
            if wait_s is None:
                raise self._gave_up()
            await self._clock.sleep(wait_s)

    def enter(self, name: str) -> Attempt | None:
        """Begin an attempt at that deployment; None when it must be left alone.

        Raises:
            TundishError: no more attempts may be made, wherever.
        """
        journal = self._journal
        label = journal.label
        if label is None or not journal.table.allows(label.data_class, name):
            return None  # cannot be: the order is inside the allowed places. It is asked again where it matters most.
        if name not in self._site.backends:
            return None
        now_s = self._clock.monotonic_s()
        standing = self._snapshots.standing(name)
        if self._tried and standing.retry_at_s > now_s:
            return None
        entry = standing.breaker.enter(now_s)
        if entry is None:
            return None
        if self._tried and not self._may_try_again():
            standing.breaker.left(entry)
            raise self._gave_up()
        self._tried += 1
        return Attempt(name, standing, entry, now_s)

    def began(self, attempt: Attempt) -> None:
        """Its answer has begun."""
        now_s = self._clock.monotonic_s()
        attempt.first_s = now_s
        attempt.standing.first_token_s.add(max(_LEAST_MEASURED_S, now_s - attempt.began_s), now_s)
        self._healthy(attempt)
        self._journal.began(attempt.deployment, now_s)

    def succeeded(self, attempt: Attempt, usage: Usage | None) -> None:
        """Its answer is complete."""
        now_s = self._clock.monotonic_s()
        if attempt.first_s is None:
            self._healthy(attempt)
            self._journal.began(attempt.deployment, now_s)
        if usage is not None and usage.completion_tokens > 1:
            since_s = attempt.began_s if attempt.first_s is None else attempt.first_s
            attempt.standing.tokens_per_s.add(usage.completion_tokens / max(_LEAST_MEASURED_S, now_s - since_s), now_s)
        self._log(attempt, "ok", now_s)

    def failed(self, attempt: Attempt, error: TundishError) -> None:
        """It came to nothing, or broke off."""
        now_s = self._clock.monotonic_s()
        standing = attempt.standing
        self._failures.append((attempt.deployment, error))
        if not speaks_of_health(error):
            standing.breaker.left(attempt.entry)
        elif standing.breaker.failed(attempt.entry, now_s):
            self._snapshots.changed()
        wait_s = come_back_s(error)
        if wait_s is not None and now_s + wait_s > standing.retry_at_s:
            standing.retry_at_s = now_s + wait_s
            self._snapshots.changed()
        self._log(attempt, error.code, now_s, detail=error.detail or error.message)

    def abandoned(self, attempt: Attempt, error: BaseException | None = None) -> None:
        """Nobody waits for it any more, or it ended by a mistake of ours."""
        attempt.standing.breaker.left(attempt.entry)
        outcome = "internal_error" if isinstance(error, Exception) else "cancelled"
        self._log(attempt, outcome, self._clock.monotonic_s())

    def _candidates(self) -> Iterator[str]:
        """The order; but one whose circuit is half open goes first when nobody probes it: it would never close else."""
        order = self.order
        if len(order) > 1:
            now_s = self._clock.monotonic_s()
            for name in order[1:]:
                if self._snapshots.standing(name).breaker.wants_probe(now_s):
                    return iter((name, *(other for other in order if other != name)))
        return iter(order)

    def _healthy(self, attempt: Attempt) -> None:
        if attempt.standing.breaker.succeeded(attempt.entry):
            self._snapshots.changed()

    def _may_try_again(self) -> bool:
        return self._tried < self._rules.attempts and self._budget.spend()

    def _pause_s(self, round_number: int) -> float | None:
        """How long to wait until the order is gone through again; None when there is no use in it."""
        again = {name: error for name, error in self._failures if error.retryable and name in self.order}
        if not again or self._tried >= self._rules.attempts:
            return None
        now_s = self._clock.monotonic_s()
        asked_s = min(max(0.0, self._snapshots.standing(name).retry_at_s - now_s) for name in again)
        if asked_s > self._rules.backoff_limit_s:
            return None
        return max(asked_s, backoff_s(self._rules, round_number, random.random()))

    def _gave_up(self) -> TundishError:
        failures = self._failures
        if not failures:
            return NoDeploymentLeft(
                f"'{self._journal.work.route}' cannot be answered now: {', '.join(self.order)} failed too often a "
                "moment ago and is being left alone (circuit). Try again in a few seconds."
            )
        route = self._journal.work.route
        return what_to_say(route, failures, configured=self._site.is_configured(route))

    def _log(self, attempt: Attempt, outcome: str, now_s: float, detail: str = "") -> None:
        self._journal.attempted(
            attempt.deployment,
            outcome,
            began_s=attempt.began_s,
            ended_s=now_s,
            first_s=attempt.first_s,
            detail=detail,
        )
