"""An answer that is passed on as bytes."""

from __future__ import annotations

from typing import Self

import msgspec

from tundish.core.errors import BackendError, TundishError
from tundish.core.events import Usage
from tundish.http.errors import HttpError
from tundish.providers import refusals
from tundish.providers.event_relay import EventRelay
from tundish.providers.exchange import Exchange
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
            raise refusals.of_event(exchange.where, error) from error.__cause__
        await exchange.finish()
        return b""

    async def __aenter__(self) -> Self:
        await self._exchange.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exchange.__aexit__()


class RelayedWhole:
    """A `Relayed` in one piece. It is complete, and was looked at, before the client gets any of it."""

    __slots__ = ("_body", "_exchange", "_usage", "content_type")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._body = b""
        self._usage: UsageFields | None = None
        self.content_type = "application/json"

    @property
    def usage(self) -> Usage | None:
        return None if self._usage is None else decode_usage(self._usage)

    async def next_chunk(self) -> bytes:
        body, self._body = self._body, b""
        return body

    async def __aenter__(self) -> Self:
        exchange = self._exchange
        await exchange.__aenter__()
        try:
            body = await exchange.read()
            self._usage = _usage(exchange.where, body)
            self._body = body
        except BaseException:
            await exchange.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exchange.__aexit__()


def _usage(where: str, body: bytes) -> UsageFields | None:
    """What a whole answer tells; proves on the way that it is one."""
    try:
        whole = _decode(body)
    except (ValueError, RecursionError) as error:
        raise BackendError(f"The server of this model at {where} sent what is no completion: {error}.") from None
    if not whole.choices:
        failure = refusals.of_body(where, body)
        raise failure or BackendError(f"The server of this model at {where} sent an answer without choices.")
    return whole.usage
