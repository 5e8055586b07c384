"""From method and path to the surface that serves them."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Awaitable, Callable, Mapping, Sequence

from tundish.api.call import Call
from tundish.core.errors import MethodNotAllowed, NotFound

Surface = Callable[[Call], Awaitable[None]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One path and what may be done with it. A last segment `{name}` stands for the rest of the path."""

    path: str
    methods: Mapping[str, Surface]
    public: bool = False
    """Whether no key is needed."""

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
        self._prefixes = [(*route.path[:-1].split("{"), route) for route in routes if "{" in route.path]
        self._paths = [route.path for route in routes]

    def find(self, path: str) -> tuple[Route, Mapping[str, str]]:
        """The route of `path`, and what its `{name}` stands for.

        Raises:
            NotFound: with the paths that come nearest.
        """
        route = self._exact.get(path)
        if route is not None:
            return route, {}
        for prefix, name, prefixed in self._prefixes:
            if path.startswith(prefix) and len(path) > len(prefix):
                return prefixed, {name: path[len(prefix) :]}
        raise NotFound(f"There is nothing at {_shown(path)}. {self._advice(path)}")

    def _advice(self, path: str) -> str:
        wanted = path[:200].rstrip("/") or "/"
        same_end = [known for known in self._paths if known.endswith(wanted) and wanted != "/"]
        near = same_end or difflib.get_close_matches(wanted, self._paths, n=3, cutoff=0.5)
        return f"Did you mean {' or '.join(near)}?" if near else f"Paths: {', '.join(self._paths)}."


def _shown(path: str) -> str:
    return f"'{path[:100]}'" if path.isprintable() else "that path"
