"""What the head of a request comes to before its body matters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tundish.api.guard import Guard
from tundish.core.errors import TundishError
from tundish.http.message import HttpRequest
from tundish.wire import errors

if TYPE_CHECKING:
    from tundish.api.routes import Route, Router, Surface  # which speak of calls, and a call of its admission

_NONE: Mapping[str, str] = {}


class Admission:
    """Filled as far as the head was understood. Requests with the same head share it; who asks is not part of it."""

    __slots__ = ("origin", "parameters", "route", "surface", "takes_body")

    def __init__(self) -> None:
        self.origin: str | None = None
        """The web page's origin that may read the answer."""
        self.route: Route | None = None
        self.parameters = _NONE
        """What the route's `{name}` stands for."""
        self.surface: Surface | None = None
        """None for OPTIONS, which every route has."""
        self.takes_body = False
        """Whether the body is known to be said to be JSON."""

    @property
    def path(self) -> str:
        """The route's, for metrics."""
        return "unknown" if self.route is None else self.route.path

    @property
    def encode_error(self) -> Callable[[TundishError], bytes]:
        """How the route's surface tells an error."""
        return errors.encode_body if self.route is None else self.route.encode_error

    def judge(self, head: HttpRequest, guard: Guard, router: Router) -> Route:
        """May this page ask, and what is there to ask?

        Raises:
            PermissionDenied: a host or an origin that is not allowed.
            NotFound, MethodNotAllowed: there is no such thing.
        """
        self.origin = guard.check(head.headers)
        self.route, self.parameters = router.find(head.path)
        if head.method != "OPTIONS":
            self.surface = self.route.surface(head.method)
        return self.route
