"""An answer that is passed on as bytes."""

from __future__ import annotations

from typing import Self

import msgspec

from tundish.core.errors import TundishError
from tundish.core.events import Usage
from tundish.core.relay import RelayedWhole
from tundish.http.errors import HttpError
from tundish.providers.event_relay import EventRelay
from tundish.providers.exchange import Exchange
from tundish.providers.refusals import Refusals
from tundish.wire import sse
from tundish.wire.usage import UsageFields, decode_usage


class _Whole(msgspec.Struct, kw_only=True, gc=False):
    choices: list[msgspec.Raw] = []
    usage: UsageFields | None = None


_decode = msgspec.json.Decoder(_Whole).decode


class RelayedStream:
    """A `Relayed` in events; as a context it is the exchange that it comes from."""

    __slots__ = ("_events", "_exchange", "_over")

    def __init__(self, exchange: Exchange, *, keep_usage: bool) -> None:
        """`keep_usage`: whether the client asked for the event that only tells usage."""
        self._exchange = exchange
        self._events = EventRelay(keep_usage=keep_usage)
        self._over = False

    @property
    def content_type(self) -> str:
        return sse.CONTENT_TYPE

    @property
    def usage(self) -> Usage | None:
        return self._events.usage

    async def next_chunk(self) -> bytes:
        events, exchange = self._events, self._exchange
        try:
            connection = exchange.connection  # asked directly: a coroutine in between costs each token a microsecond
            while not events.done:
                chunk = await connection.next_chunk()
                passed = events.feed(chunk) if chunk else events.end()
                if passed:
                    return passed
        except HttpError as error:
            raise exchange.failed(error) from error
        except TundishError as error:
            raise exchange.refusals.of_event(error) from error.__cause__
        await exchange.finish()
        return b""

    async def __aenter__(self) -> Self:
        await self._exchange.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exchange.__aexit__()


async def relayed_whole(exchange: Exchange) -> RelayedWhole:
    """The answer in one piece: complete and looked at before the client gets any of it. Raises as the exchange does."""
    await exchange.__aenter__()  # by hand: `async with` would make one more coroutine for each request
    try:
        body = exchange.connection.arrived() or await exchange.read()  # a small one has come with its head
        fields = _usage(exchange.refusals, body)
    finally:
        exchange.leave()
    return RelayedWhole(body, "application/json", None if fields is None else decode_usage(fields))


def _usage(refusals: Refusals, body: bytes) -> UsageFields | None:
    """What a whole answer tells; proves on the way that it is one."""
    try:
        whole = _decode(body)
    except (ValueError, RecursionError) as error:
        raise refusals.of_content(f"what is no completion: {error}") from None
    if not whole.choices:
        failure = refusals.of_body(body)
        raise failure or refusals.of_content("an answer without choices")
    return whole.usage
