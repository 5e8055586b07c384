"""Generation events → an HTTP response: in one piece, or as a stream of server-sent events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Protocol

from tundish.api.call import Call
from tundish.api.heartbeat import Heartbeat
from tundish.core.events import GenerationEvent


class Builder(Protocol):
    """Puts an answer together."""

    def add(self, event: GenerationEvent) -> None: ...

    def encode(self) -> bytes: ...


async def deliver_whole(call: Call, events: AsyncGenerator[GenerationEvent, None], builder: Builder) -> None:
    """Answer when everything has been said; raises what `events` raises, and nothing was sent then."""
    async with aclosing(events):
        async for event in events:
            builder.add(event)
    call.respond(builder.encode())


async def deliver_stream(
    call: Call,
    events: AsyncGenerator[GenerationEvent, None],
    encode: Callable[[GenerationEvent], bytes],
    *,
    ping_after_s: float,
) -> None:
    """Answer event by event, no faster than the client reads.

    The status goes out with the first event, so an error before it is still a status of its own (after a heartbeat it
    cannot be). Raises what `events` raises; the caller tells the client, in the form that is left.
    """
    exchange = call.exchange
    heartbeat = Heartbeat(call, after_s=ping_after_s)
    try:
        async with aclosing(events):
            async for event in events:
                if not exchange.started:
                    call.start_stream()
                exchange.write(encode(event))
                heartbeat.wrote()
                await exchange.drain()
    finally:
        heartbeat.stop()
    call.start_stream()
    exchange.finish()
