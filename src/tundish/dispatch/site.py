"""What is dispatched to: the configured table, and the backends behind it. Replaced as a whole on reload."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping

from tundish.core.backend import Backend, Capabilities
from tundish.core.place import THIS_DEVICE
from tundish.dispatch.rules import BreakerRules, RetryRules, Rules
from tundish.policy.policy import Rule, policy
from tundish.routing.table import Deployment, Member, Mode, Route, RoutingTable

ONE_CLASS = "internal"
"""The data class where nothing is configured: it may go everywhere, and everywhere is this machine."""
UNCONFIGURED = RoutingTable(
    version="unconfigured",
    policy=policy(classes=(ONE_CLASS,), rules=(Rule(data_class=ONE_CLASS, places=("*",)),), default_class=ONE_CLASS),
    routes={},
    deployments={},
)
"""Every model answers under its own name, on this device."""

_ANYTHING = Capabilities(context_length=None)
_ONCE = RetryRules(attempts=1)
_NEVER_OPENS = BreakerRules(failures=sys.maxsize)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Frozen, but `backends` may be a view of what comes and goes."""

    table: RoutingTable = UNCONFIGURED
    backends: Mapping[str, Backend]
    """By the deployment's name. One that the table does not name is offered under its own name, on this device."""
    rules: Rules = Rules()

    def retry_rules(self, route: str) -> RetryRules:
        """Of a route. A model that is not configured is asked once, as if there were no routes at all."""
        return self.rules.retries if self.is_configured(route) else _ONCE

    def breaker_rules(self, deployment: str) -> BreakerRules:
        """Of a deployment. One that is not configured has no other beside it, so it speaks for itself."""
        return self.rules.breaker if deployment in self.table.deployments else _NEVER_OPENS

    def is_configured(self, route: str) -> bool:
        """Whether the table names it, as a route or as a deployment."""
        return route in self.table.routes or route in self.table.deployments


def with_implied_routes(table: RoutingTable, names: tuple[str, ...]) -> RoutingTable:
    """The table, and what needs no configuration: a route for each deployment, a deployment for each backend.

    Args:
        table: what is configured.
        names: of all backends. Those that the table does not know compute on this device, and their own refusals
            are as good as ours: nothing of them is judged but the place.
    """
    deployments = dict(table.deployments)
    routes = dict(table.routes)
    for name in (*table.deployments, *names):
        if name not in deployments:
            deployments[name] = Deployment(
                name=name, model=name, place=THIS_DEVICE, capabilities=_ANYTHING, quality=0.5, price=None
            )
        if name not in routes:
            routes[name] = Route(name=name, mode=Mode.ORDER, members=(Member(deployment=name),))
    return dataclasses.replace(table, routes=routes, deployments=deployments)
