"""The fast lane: a request whose wire format is the same on both sides travels as bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from tundish.core.backend import Backend
from tundish.core.events import Usage
from tundish.core.rate_limits import RateLimits


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RawRequest:
    """A client's JSON object, its top-level members undecoded."""

    surface: str
    """`chat_completions`, `completions`, …: the wire format of both the request and the answer."""
    fields: Mapping[str, bytes]
    """Name → the member's JSON as the client sent it."""
    stream: bool
    include_usage: bool
    """Whether the client itself asked for usage in its stream; the relay may ask in any case, and says so."""


class Relayed(Protocol):
    """An answer that has begun."""

    @property
    def content_type(self) -> str: ...

    @property
    def usage(self) -> Usage | None:
        """What the provider counted, as far as it was told: complete once `next_chunk` gave the end; None if never."""
        ...

    async def next_chunk(self) -> bytes:
        """More of the body, in whole events when it is a stream; empty at its end.

        The event that only tells usage is left out when the client did not ask for it: what comes is for the client.

        Raises:
            TundishError: the kind that the provider named in the stream.
            BackendError: (and its kin) it broke off, or ended before the answer did.
        """
        ...


class RelayedWhole(NamedTuple):
    """An answer in one piece, complete and looked at."""

    body: bytes
    content_type: str
    usage: Usage | None
    """What the provider counted; None when it does not say."""


class RelayBackend(Backend, Protocol):
    """A provider that can also take bytes."""

    def rate_limits(self) -> RateLimits | None:
        """What the provider last said it still has room for; None before it said anything."""
        ...

    def can_relay(self, raw: RawRequest) -> bool:
        """Whether it can travel as bytes and lose nothing: the same format there, every parameter understood."""
        ...

    def relay(self, raw: RawRequest) -> AbstractAsyncContextManager[Relayed]:
        """Send it, a stream; entered when the answer's head has come with success. Leaving early cancels it there.

        Raises:
            InvalidRequest: (and its kin) the request was refused, as the client may be told.
            Overloaded, Unavailable, BackendError: it may be tried elsewhere.
        """
        ...

    async def relay_whole(self, raw: RawRequest) -> RelayedWhole:
        """Send it, and wait for an answer in one piece; raises as `relay` and `Relayed.next_chunk` do."""
        ...
