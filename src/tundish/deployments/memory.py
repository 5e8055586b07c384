"""The memory that deployments share: who holds how much, who waits for some, and who must go for whom.

A load asks for all that it needs at once. First come, first served, with one exception: a later one may take what the
first cannot use yet, as long as the first is patient. Those that are idle go first, least recently used before others.
One that is generating is let finish, and it takes new requests until the first in the queue has lost its patience.
"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
from collections.abc import Callable, Sequence
from typing import Protocol

from tundish.core.clock import Clock
from tundish.deployments.errors import InsufficientMemory
from tundish.deployments.sizes import in_words
from tundish.deployments.snapshot import MemorySnapshot


class Hold(enum.Enum):
    """How firmly a tenant holds its memory."""

    IDLE = enum.auto()
    """It can go at once."""
    GENERATING = enum.auto()
    """It can go when it has finished what it is at."""
    LOADING = enum.auto()
    """It cannot go before it is loaded."""
    LEAVING = enum.auto()
    """It is going."""
    PINNED = enum.auto()
    """It stays."""


class Tenant(Protocol):
    """Whoever holds memory, or wants to."""

    @property
    def name(self) -> str: ...
    @property
    def memory_bytes(self) -> int: ...
    @property
    def hold(self) -> Hold: ...
    @property
    def last_used_s(self) -> float: ...
    @property
    def is_loaded(self) -> bool: ...

    def leave(self, *, reason: str) -> None:
        """Give the memory back, as soon as nothing is cut short by that."""
        ...


@dataclasses.dataclass(slots=True, eq=False)
class _Ticket:
    tenant: Tenant
    granted: asyncio.Future[None]
    patient: bool = True
    refusable: bool = True
    """When it is new, and whenever its patience is over again; in between, memory on its way back may not show yet."""


class Memory:
    """`budget_bytes` tells how much all tenants together may hold; it is asked each time and may change its mind."""

    def __init__(self, *, budget_bytes: Callable[[], int], patience_s: float, clock: Clock) -> None:
        self._budget_bytes = budget_bytes
        self._patience_s = patience_s
        self._clock = clock
        self._tenants: list[Tenant] = []
        self._queue: list[_Ticket] = []

    def snapshot(self) -> MemorySnapshot:
        """The sums, now."""
        return MemorySnapshot(budget_bytes=self._budget_bytes(), held_bytes=self.held_bytes)

    @property
    def held_bytes(self) -> int:
        """What the tenants hold together."""
        return sum(tenant.memory_bytes for tenant in self._tenants)

    @property
    def loaded_bytes(self) -> int:
        """What those hold that have really taken it: loaded, or not quite unloaded."""
        return sum(tenant.memory_bytes for tenant in self._tenants if tenant.is_loaded)

    def shortage(self, tenant: Tenant) -> str:
        """What `tenant` waits for, in words."""
        free_bytes = max(0, self._budget_bytes() - self.held_bytes)
        return f"waiting for memory: {in_words(tenant.memory_bytes)} needed, {in_words(free_bytes)} free"

    async def reserve(self, tenant: Tenant) -> None:
        """Return when the memory of `tenant` is its own, until `free`. Cancelling gives up the place in the queue.

        Raises:
            InsufficientMemory: waiting would not help.
        """
        ticket = _Ticket(tenant, asyncio.get_running_loop().create_future())
        self._queue.append(ticket)
        self.rebalance()
        impatience = None if ticket.granted.done() else asyncio.create_task(self._lose_patience(ticket))
        try:
            await ticket.granted
        except asyncio.CancelledError:
            if ticket in self._queue:
                self._queue.remove(ticket)
                self.rebalance()
            elif tenant in self._tenants:
                self.free(tenant)  # it was granted in the same moment
            raise
        finally:
            if impatience is not None:
                impatience.cancel()

    def free(self, tenant: Tenant) -> None:
        """Give back what `reserve` gave."""
        self._tenants.remove(tenant)
        self.rebalance()

    def rebalance(self) -> None:
        """Serve the queue; to be called whenever a tenant's hold may have become weaker."""
        if not self._queue:
            return
        budget_bytes = self._budget_bytes()
        room = budget_bytes - self.held_bytes
        first_blocked = True
        for ticket in tuple(self._queue):
            needed = ticket.tenant.memory_bytes
            refusal = self._refusal(ticket.tenant, budget_bytes)
            if ticket.granted.cancelled():
                self._queue.remove(ticket)
            elif refusal is not None:
                if ticket.refusable:
                    self._queue.remove(ticket)
                    ticket.granted.set_exception(refusal)
            elif needed <= room:
                room -= needed
                self._queue.remove(ticket)
                self._tenants.append(ticket.tenant)
                ticket.granted.set_result(None)
            elif first_blocked:
                first_blocked = False
                room = self._make_room(ticket, room)
            ticket.refusable = False

    def _make_room(self, ticket: _Ticket, free_bytes: int) -> int:
        """See to it that there will be enough for `ticket`; returns how much of the free memory others may take."""
        leaving = sum(tenant.memory_bytes for tenant in self._tenants if tenant.hold is Hold.LEAVING)
        spare = free_bytes + leaving - ticket.tenant.memory_bytes
        victims = self._victims(-spare, patient=ticket.patient)
        if victims is None:
            return free_bytes if ticket.patient else 0
        for victim in victims:
            victim.leave(reason=f"'{ticket.tenant.name}' needs its memory")
            spare += victim.memory_bytes
        return min(free_bytes, spare)

    def _victims(self, shortfall_bytes: int, *, patient: bool) -> Sequence[Tenant] | None:
        """Who goes so that `shortfall_bytes` become free; None when that cannot be had now."""
        kinds = (Hold.IDLE,) if patient else (Hold.IDLE, Hold.GENERATING)
        candidates = [tenant for tenant in self._tenants if tenant.hold in kinds]
        candidates.sort(key=lambda tenant: (tenant.hold is Hold.GENERATING, tenant.last_used_s))
        victims: list[Tenant] = []
        while shortfall_bytes > 0:
            if not candidates:
                return None
            victim = candidates.pop(0)
            victims.append(victim)
            shortfall_bytes -= victim.memory_bytes
        return victims

    def _refusal(self, tenant: Tenant, budget_bytes: int) -> InsufficientMemory | None:
        pinned = [other for other in self._tenants if other.hold is Hold.PINNED]
        pinned_bytes = sum(other.memory_bytes for other in pinned)
        # Where the budget comes from the memory that is free now, a load in progress makes it look smaller than it is.
        uncertain_bytes = self.held_bytes - self.loaded_bytes
        if tenant.memory_bytes <= budget_bytes + uncertain_bytes - pinned_bytes:
            return None
        return InsufficientMemory(
            tenant.name,
            needed_bytes=tenant.memory_bytes,
            budget_bytes=budget_bytes,
            pinned=[other.name for other in pinned],
            pinned_bytes=pinned_bytes,
        )

    async def _lose_patience(self, ticket: _Ticket) -> None:
        while True:  # again and again, since the budget may have grown without anybody telling
            await self._clock.sleep(self._patience_s)
            ticket.patient, ticket.refusable = False, True
            self.rebalance()
