"""The snapshot that decisions are made from: immutable, shared by all requests of a moment."""

from __future__ import annotations

from collections.abc import Mapping

from tundish.core.clock import Clock
from tundish.dispatch.site import Site, with_implied_routes
from tundish.dispatch.standing import Standing
from tundish.routing.table import Condition, RoutingTable, Snapshot

_FRESH_S = 0.05
"""How old a snapshot may be. A circuit that flips, or a service that wants to be left alone, makes one at once."""

_AS_IT_SAYS_ITSELF = Condition()


class Snapshots:
    """Publishes the snapshot in force, and keeps each deployment's standing over all of them."""

    def __init__(self, site: Site, clock: Clock) -> None:
        self._clock = clock
        self._site = site
        self._standings: dict[str, Standing] = {}
        self._names: tuple[str, ...] = ()
        self._table = with_implied_routes(site.table, ())
        self._snapshot: Snapshot | None = None
        self._looked_s = 0.0

    @property
    def site(self) -> Site:
        """What new requests are dispatched to."""
        return self._site

    def swap(self, site: Site) -> None:
        """Another site from now on. Who keeps its name and backend keeps its standing."""
        before, self._site = self._site, site
        for name in list(self._standings):
            same = before.backends.get(name) is site.backends.get(name)
            if not same or before.breaker_rules(name) != site.breaker_rules(name):
                del self._standings[name]
        self._names = tuple(site.backends)
        self._table = with_implied_routes(site.table, self._names)
        self._snapshot = None

    def standing(self, deployment: str) -> Standing:
        """How a deployment has done."""
        found = self._standings.get(deployment)
        if found is None:
            found = self._standings[deployment] = Standing(self._site.breaker_rules(deployment))
        return found

    def changed(self) -> None:
        """Something happened that the next decision must know."""
        self._snapshot = None

    def current(self, now_s: float) -> Snapshot:
        """The snapshot in force at a monotonic time."""
        snapshot = self._snapshot
        if snapshot is not None and now_s - self._looked_s < _FRESH_S:
            return snapshot
        return self._look(now_s)

    def table(self) -> RoutingTable:
        """The table in force, with the backends that there are now."""
        self._follow_backends()
        return self._table

    def _follow_backends(self) -> None:
        names = tuple(self._site.backends)
        if names == self._names:
            return
        for name in set(self._names).difference(names):
            self._standings.pop(name, None)
        self._names = names
        self._table = with_implied_routes(self._site.table, names)
        self._snapshot = None

    def _look(self, now_s: float) -> Snapshot:
        self._follow_backends()
        self._looked_s = now_s
        conditions = self._conditions(now_s)
        before = self._snapshot
        if before is not None and before.conditions == conditions and not _time_matters(conditions):
            return before  # and with it all that was worked out for it
        self._snapshot = Snapshot(table=self._table, conditions=conditions, now_s=now_s)
        return self._snapshot

    def _conditions(self, now_s: float) -> Mapping[str, Condition]:
        backends, configured = self._site.backends, self._site.table.deployments
        return {
            name: self.standing(name).condition(backends.get(name), now_s) if name in configured else _AS_IT_SAYS_ITSELF
            for name in self._table.deployments
        }


def _time_matters(conditions: Mapping[str, Condition]) -> bool:
    return any(condition.retry_at_s is not None for condition in conditions.values())
