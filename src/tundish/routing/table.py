"""What routing knows: routes and deployments from the configuration, and how each deployment is doing right now."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from tundish.catalog.price import Price
from tundish.core.backend import Capabilities
from tundish.core.place import Place
from tundish.policy.policy import Policy
from tundish.routing.decision import Needs

if TYPE_CHECKING:
    from tundish.routing.roster import Roster
    from tundish.routing.standing import Standing

Scope: TypeAlias = tuple[str, str, Needs]
"""Route, data class and needs: what requests must have in common to share a roster."""


class Mode(enum.Enum):
    """What a route prefers among the deployments that may answer."""

    QUALITY = "quality"
    BALANCED = "balanced"
    COST = "cost"
    LATENCY = "latency"
    ORDER = "order"
    """As the route lists them."""
    WEIGHTED = "weighted"
    """By their shares."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A model at work in one place, as routing sees it."""

    name: str
    model: str
    """The catalog's name of the model, whatever the backend calls it."""
    place: Place
    capabilities: Capabilities
    quality: float
    """0 … 1, of the model; from the configuration, else from the catalog."""
    price: Price | None
    """None is unknown, which is said and never taken for free."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A deployment of a route."""

    deployment: str
    weight: float = 1.0
    """Its share in a weighted route, of the sum of all; 0 is only asked when nobody else may answer."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """A share of a route's requests that another deployment answers too, to compare; never returned to the client."""

    deployment: str
    share: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A name that clients send as `model`."""

    name: str
    mode: Mode
    members: tuple[Member, ...]
    default_class: str | None = None
    """Of requests that nothing else says anything about; None is the policy's."""
    sticky: bool = True
    """Whether a conversation stays with its deployment, whose prefix cache it has warmed, while that may answer."""
    continue_elsewhere: bool = True
    """Whether an answer that breaks off is continued by another deployment; else its stream ends with an error."""
    hedge_after_s: float | None = None
    """Ask a second deployment when the first has said nothing for so long; the first to speak answers. None: never."""
    price_ceiling_usd: float | None = None
    """What one request may cost at most, by its estimate."""
    shadow: Shadow | None = None
    baseline: str | None = None
    """The deployment that everything would go to without Tundish; savings are counted against its price."""


class Circuit(enum.Enum):
    """A deployment's circuit breaker."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    """A probe may go through."""
    OPEN = "open"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """How a deployment is doing."""

    usable: bool = True
    reason: str = ""
    """Why it is not, in one sentence."""
    circuit: Circuit = Circuit.CLOSED
    free_slots: int | None = None
    """Requests that it would begin at once; None is unknown (a cloud)."""
    slots: int | None = None
    """Requests that it works on at the same time, free or not; None is unknown."""
    queued: int = 0
    queue_room: int | None = None
    """Requests that may still queue there; None is unbounded."""
    retry_at_s: float | None = None
    """Monotonic time before which it asked not to be called (rate headers, retry-after)."""
    first_token_s: float | None = None
    """Measured, decaying; None before anything was measured."""
    tokens_per_s: float | None = None
    """Of one stream; measured, decaying."""


def _no_rosters() -> dict[Scope, Roster]:
    return {}


def _no_standings() -> dict[Scope, Standing]:
    return {}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RoutingTable:
    """What the configuration says; changes only when it is reloaded. `version`: of the configuration."""

    version: str
    policy: Policy
    routes: Mapping[str, Route]
    deployments: Mapping[str, Deployment]
    rosters: dict[Scope, Roster] = dataclasses.field(default_factory=_no_rosters, init=False, repr=False, compare=False)
    """Remembered by `roster.roster_of` alone."""
    _allowed: dict[str, frozenset[str]] = dataclasses.field(
        default_factory=dict[str, frozenset[str]], init=False, repr=False, compare=False
    )

    def allowed_places(self, data_class: str) -> frozenset[str]:
        """Names of the places of this table that data of this class may go to; empty for an unknown class."""
        allowed = self._allowed.get(data_class)
        if allowed is None:
            allowed = self.policy.allowed(data_class, [deployment.place for deployment in self.deployments.values()])
            if data_class in self.policy.classes:
                self._allowed[data_class] = allowed
        return allowed

    def allows(self, data_class: str, deployment: str) -> bool:
        """Whether data of this class may go to this deployment, to be asked once more before each attempt."""
        known = self.deployments.get(deployment)
        return known is not None and known.place.name in self.allowed_places(data_class)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """A table and the conditions at one moment. Immutable; `now_s` is monotonic and belongs to it."""

    table: RoutingTable
    conditions: Mapping[str, Condition]
    """By deployment. One that is missing is taken for well: nothing is known against it."""
    now_s: float
    standings: dict[Scope, Standing] = dataclasses.field(default_factory=_no_standings, init=False, repr=False)
    """Remembered by `standing.standing_of` alone."""
