"""The surface for whoever decides which models are in memory."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from tundish.api.call import Call
from tundish.deployments.fleet import Fleet
from tundish.deployments.snapshot import DeploymentSnapshot
from tundish.deployments.spec import DeploymentSpec
from tundish.wire import deployments as wire
from tundish.wire.deployments import DeploymentEntry

FindDeployment = Callable[[str], DeploymentSpec]
"""Makes a deployment of a model that is on this machine; reads files, may raise any TundishError."""


class Deployments:
    """Each POST answers when what it asked for is done, with the deployment as it is then."""

    def __init__(self, fleet: Fleet, find: FindDeployment) -> None:
        self._fleet = fleet
        self._find = find

    async def list(self, call: Call) -> None:
        """`GET /tundish/v1/deployments`."""
        memory = self._fleet.memory()
        entries = [_entry(snapshot) for snapshot in self._fleet.deployments()]
        call.respond(
            wire.encode_list(entries, budget_bytes=memory.budget_bytes, held_bytes=memory.held_bytes),
        )

    async def add(self, call: Call) -> None:
        """`POST /tundish/v1/deployments`: a model that came to this machine after the endpoint started."""
        wanted = wire.decode_request(call.request.body)
        self._fleet.add(await asyncio.to_thread(self._find, wanted.name))
        self._answer(call, self._fleet.deployment(wanted.name), status=201)

    async def load(self, call: Call) -> None:
        """`POST /tundish/v1/deployments/load`."""
        wanted = wire.decode_request(call.request.body)
        self._answer(call, await self._fleet.load(wanted.name, keep_alive_s=wanted.keep_alive_s))

    async def unload(self, call: Call) -> None:
        """`POST /tundish/v1/deployments/unload`: after the running answers, or with `force` at once."""
        wanted = wire.decode_request(call.request.body)
        self._answer(call, await self._fleet.unload(wanted.name, force=wanted.force))

    async def pin(self, call: Call) -> None:
        """`POST /tundish/v1/deployments/pin`."""
        self._answer(call, self._fleet.pin(wire.decode_request(call.request.body).name))

    async def unpin(self, call: Call) -> None:
        """`POST /tundish/v1/deployments/unpin`."""
        self._answer(call, self._fleet.unpin(wire.decode_request(call.request.body).name))

    async def remove(self, call: Call) -> None:
        """`POST /tundish/v1/deployments/remove`: forgotten at once, unloaded after the running answers."""
        wanted = wire.decode_request(call.request.body)
        await self._fleet.remove(wanted.name, force=wanted.force)
        call.respond(b"{}")

    @staticmethod
    def _answer(call: Call, snapshot: DeploymentSnapshot, *, status: int = 200) -> None:
        call.respond(wire.encode(_entry(snapshot)), status=status)


def _entry(snapshot: DeploymentSnapshot) -> DeploymentEntry:
    capabilities = snapshot.capabilities
    return DeploymentEntry(
        name=snapshot.name,
        state=snapshot.state.value,
        detail=snapshot.detail,
        memory_bytes=snapshot.memory_bytes,
        pinned=snapshot.pinned,
        running=snapshot.running,
        waiting=snapshot.waiting,
        slots=snapshot.slots,
        keep_alive_s=snapshot.keep_alive_s if math.isfinite(snapshot.keep_alive_s) else None,
        idle_s=snapshot.idle_s,
        expires_in_s=snapshot.expires_in_s,
        loads=snapshot.loads,
        restarts=snapshot.restarts,
        context_length=None if capabilities is None else capabilities.context_length,
    )
