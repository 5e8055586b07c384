"""From method and path to the surface that serves them."""

from __future__ import annotations

import dataclasses
import difflib
import enum
from collections.abc import Awaitable, Callable, Mapping, Sequence

from tundish.api.call import Call
from tundish.core.errors import MethodNotAllowed, NotFound, TundishError
from tundish.wire import errors

EncodeError = Callable[[TundishError], bytes]
Surface = Callable[[Call], Awaitable[None]]


class Audience(enum.Enum):
    """Whom a route is for."""

    ANYBODY = "anybody"
    """No key is needed."""
    CLIENTS = "clients"
    """Whoever has a key."""
    OWNER = "owner"
    """Whoever has the endpoint's own key."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One path and what may be done with it. `{name}` stands for whatever is between what is before and after it."""

    path: str
    methods: Mapping[str, Surface]
    audience: Audience = Audience.OWNER
    """A route that does not say whom it is for is the owner's."""
    encode_error: EncodeError = errors.encode_body
    """How this surface tells an error: the body of the response, or of the event that ends a stream."""

    @property
    def allowed(self) -> Sequence[str]:
        """The methods a client may use; HEAD comes with GET."""
        return [*self.methods, *(("HEAD",) if "GET" in self.methods else ()), "OPTIONS"]

    def surface(self, method: str) -> Surface:
        """What serves `method` (HEAD: what serves GET, the server leaves the body out).

        Raises:
            MethodNotAllowed: with those that are.
        """
        found = self.methods.get("GET" if method == "HEAD" else method)
        if found is None:
            raise MethodNotAllowed(method=method[:20], path=self.path, allowed=self.allowed)
        return found


class Router:
    """The table of routes."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._exact = {route.path: route for route in routes if "{" not in route.path}
        self._patterns = [(*_pattern(route.path), route) for route in routes if "{" in route.path]
        self._paths = [route.path for route in routes]
        self.routes = tuple(routes)
        """All of them."""

    def find(self, path: str) -> tuple[Route, Mapping[str, str]]:
        """The route of `path`, and what its `{name}` stands for.

        Raises:
            NotFound: with the paths that come nearest.
        """
        route = self._exact.get(path)
        if route is not None:
            return route, {}
        for prefix, name, suffix, matched in self._patterns:
            if path.startswith(prefix) and path.endswith(suffix) and len(path) > len(prefix) + len(suffix):
                return matched, {name: path[len(prefix) : len(path) - len(suffix)]}
        raise NotFound(f"There is nothing at {_shown(path)}. {self._advice(path)}")

    def _advice(self, path: str) -> str:
        wanted = path[:200].rstrip("/") or "/"
        same_end = [known for known in self._paths if known.endswith(wanted) and wanted != "/"][:3]
        near = same_end or difflib.get_close_matches(wanted, self._paths, n=3, cutoff=0.5)
        return f"Did you mean {' or '.join(near)}?" if near else f"Paths: {', '.join(self._paths)}."


def _pattern(path: str) -> tuple[str, str, str]:
    """What is before `{name}`, the name, and what is after it."""
    prefix, _, rest = path.partition("{")
    name, _, suffix = rest.partition("}")
    return prefix, name, suffix


def _shown(path: str) -> str:
    return f"'{path[:100]}'" if path.isprintable() else "that path"
