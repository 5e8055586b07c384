"""The surface for whoever changes what a site has: its deployments, routes and places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tundish.api.call import Call
from tundish.api.routes import Route
from tundish.core.json_value import JsonObject
from tundish.wire import site_objects as wire
from tundish.wire.site_objects import SiteObject

KINDS = ("deployments", "routes", "places")


class SiteObjects(Protocol):
    """What a site has, from its file and from what was added beside it."""

    async def list(self, kind: str) -> Sequence[SiteObject]:
        """All of a kind, by name."""
        ...

    async def show(self, kind: str, name: str) -> SiteObject:
        """One of them.

        Raises:
            NotFound: there is none; with those that come nearest.
        """
        ...

    async def add(self, kind: str, name: str, fields: JsonObject) -> SiteObject:
        """Add one; in force and durable when this returns.

        Raises:
            InvalidRequest: the site would not be valid with it; with everything that is wrong.
            Unavailable: it cannot be kept now.
        """
        ...

    async def remove(self, kind: str, name: str) -> None:
        """Remove one that was added. Raises as `add` and `show` do."""
        ...


class Site:
    """Each POST answers when what it asked for is in force."""

    def __init__(self, objects: SiteObjects, kind: str) -> None:
        self._objects = objects
        self._kind = kind

    async def list(self, call: Call) -> None:
        """`GET /tundish/v1/site/KIND`."""
        call.respond(wire.encode_list(await self._objects.list(self._kind)))

    async def show(self, call: Call) -> None:
        """`GET /tundish/v1/site/KIND/NAME`."""
        call.respond(wire.encode(await self._objects.show(self._kind, call.admission.parameters["name"])))

    async def add(self, call: Call) -> None:
        """`POST /tundish/v1/site/KIND`: `{"name": …, "fields": {…}}`."""
        wanted = wire.decode_new(call.request.body)
        call.respond(wire.encode(await self._objects.add(self._kind, wanted.name, wanted.fields)), status=201)

    async def remove(self, call: Call) -> None:
        """`POST /tundish/v1/site/KIND/remove`: `{"name": …}`."""
        await self._objects.remove(self._kind, wire.decode_name(call.request.body))
        call.respond(b"{}")


def routes(objects: SiteObjects) -> Sequence[Route]:
    """The paths of this surface."""
    found: list[Route] = []
    for kind in KINDS:
        site, path = Site(objects, kind), f"/tundish/v1/site/{kind}"
        found += [
            Route(path=path, methods={"GET": site.list, "POST": site.add}),
            Route(path=f"{path}/remove", methods={"POST": site.remove}),
            Route(path=f"{path}/{{name}}", methods={"GET": site.show}),
        ]
    return found
