"""What can be done to a slot of the child: find, compute, save, restore."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeAlias

import msgspec

from tundish.engines.llama_cpp import wire
from tundish.engines.llama_cpp.supervisor import Link
from tundish.http.client import Response
from tundish.http.errors import HttpError

ANY_SLOT = -1
"""llama.cpp may choose."""

Listen: TypeAlias = Callable[[Link, Response], AsyncIterator[bytes]]
"""Reads an answer and notices a child that hangs."""


@dataclasses.dataclass(frozen=True, slots=True)
class Computed:
    """Where a prompt is now, and how much of it the child had before."""

    slot: int
    cached_tokens: int


async def idle_slots(link: Link) -> Sequence[int]:
    """The slots in which nothing is computed. Raises HttpError."""
    status, body = await link.client.request("GET", "/slots", headers=link.headers)
    return [slot.id for slot in wire.decode_slots(body) if not slot.is_processing] if status == 200 else ()


async def computing(link: Link) -> int:
    """How many slots compute; the child answers between two batches. 0 when it is dead."""
    try:
        status, body = await link.client.request("GET", "/slots", headers=link.headers)
    except HttpError:
        return 0
    return sum(slot.is_processing for slot in wire.decode_slots(body)) if status == 200 else 0


async def compute(link: Link, ids: Sequence[int], *, begun: Callable[[], None], listen: Listen) -> Computed | None:
    """Compute `ids` and nothing after them; `begun` is called when the child has begun. None when it refuses.

    Raises:
        HttpError: and what `listen` raises.
    """
    body = wire.encode_prefill(ids)
    async with link.client.stream("POST", "/completion", headers=link.headers, body=body) as response:
        begun()
        if response.status != 200:
            await response.read()
            return None
        rest = b""
        async for chunk in listen(link, response):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line.startswith(b"data: {") and (event := wire.decode_event(line[6:])).stop:
                    await response.read()
                    return Computed(event.id_slot, event.timings.cache_n)
    return None


async def save(link: Link, slot: int, name: str) -> int | None:
    """Write what `slot` holds to a file of the slot folder; the number of its tokens, None when it was not written.

    Raises:
        HttpError: the child is gone.
    """
    answer = await _act(link, slot, "save", name)
    return None if answer is None else answer.n_saved


async def restore(link: Link, slot: int, name: str) -> bool:
    """Fill an idle `slot` from a file of the slot folder; else it is empty. Raises HttpError."""
    answer = await _act(link, slot, "restore", name)
    return answer is not None and answer.n_restored > 0


async def make_it_move(link: Link, slot: int) -> None:
    """Have llama.cpp put what `slot` holds into its cache in memory, by giving it something else. Raises HttpError."""
    body = wire.encode_prefill((0,), slot=slot, stream=False)
    await link.client.request("POST", "/completion", headers=link.headers, body=body)


async def _act(link: Link, slot: int, action: str, name: str) -> wire.SlotAction | None:
    body = msgspec.json.encode({"filename": name})
    status, answer = await link.client.request(
        "POST", f"/slots/{slot}?action={action}", headers=link.headers, body=body
    )
    return wire.decode_slot_action(answer) if status == 200 else None
