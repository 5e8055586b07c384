"""An answer that has begun, in either of the two ways in which it travels: as events, or as the provider's bytes."""

from __future__ import annotations

import dataclasses
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import msgspec

from tundish.core.errors import BackendError
from tundish.core.events import (
    ChoiceFinished,
    Finished,
    GenerationEvent,
    ReasoningDelta,
    TextDelta,
    Usage,
)
from tundish.core.relay import Relayed
from tundish.dispatch.said import Said
from tundish.dispatch.work import Events

_KEPT_BYTES = 8 * 1024 * 1024
"""Of a relayed stream, to be able to continue it; a longer one cannot be."""


class EventAnswer:
    """Events, the first of which is there."""

    __slots__ = ("_events", "_first", "_said_before", "_texts", "_tokens", "continuable", "deployment", "usage")

    def __init__(self, deployment: str, events: Events, first: GenerationEvent, *, said_before: Said | None) -> None:
        """`said_before`: what an answer that this one continues had come to."""
        self.deployment = deployment
        self.usage: Usage | None = None
        self.continuable = True
        """Whether what was said so far is nothing but the beginning of a single text."""
        self._events = events
        self._first: GenerationEvent | None = first
        self._said_before = said_before
        self._texts: list[str] = []
        self._tokens = 0

    async def next(self) -> GenerationEvent | None:
        """The next event; None after the last. Raises as `Backend.generate` does."""
        event = self._first
        if event is not None:
            self._first = None
        else:
            event = await anext(self._events, None)
        kind = type(event)
        if kind is TextDelta and isinstance(event, TextDelta):
            self._texts.append(event.text)
            self._tokens += 1
            if event.choice:
                self.continuable = False
        elif kind is ReasoningDelta:
            self._tokens += 1
        elif isinstance(event, Finished):
            event = self._whole_usage(event)
            self.usage = event.usage
        elif event is not None and not isinstance(event, ChoiceFinished):
            self.continuable = False  # a tool call has begun: half of it cannot be continued
        elif isinstance(event, ChoiceFinished):
            self.continuable = False  # all is said
        return event

    def said(self) -> Said:
        """What was said so far, by this answer and those that it continues."""
        before = self._said_before
        text = "".join(self._texts)
        if before is None:
            return Said(text=text, tokens=self._tokens)
        return Said(text=before.text + text, tokens=before.tokens + self._tokens)

    async def close(self) -> None:
        """Stop it at once."""
        await self._events.aclose()

    def _whole_usage(self, event: Finished) -> Finished:
        before = self._said_before
        if before is None:
            return event
        usage = event.usage
        return Finished(dataclasses.replace(usage, completion_tokens=usage.completion_tokens + before.tokens))


class RelayAnswer:
    """Bytes, the first of which are there. A stream comes in whole events."""

    __slots__ = ("_context", "_first", "_kept", "_kept_bytes", "_relayed", "continuable", "deployment")

    def __init__(
        self, deployment: str, context: AbstractAsyncContextManager[Relayed], relayed: Relayed, first: bytes
    ) -> None:
        self.deployment = deployment
        self.continuable = True
        self._context = context
        self._relayed = relayed
        self._first = first
        self._kept: list[bytes] = []
        self._kept_bytes = 0

    @property
    def usage(self) -> Usage | None:
        """What the provider has counted."""
        return self._relayed.usage

    async def next(self) -> bytes:
        """The next bytes; empty at the end. Raises as `Relayed.next_chunk` does."""
        chunk = self._first
        if chunk:
            self._first = b""
        else:
            chunk = await self._relayed.next_chunk()
        if self.continuable:
            self._kept.append(chunk)
            self._kept_bytes += len(chunk)
            if self._kept_bytes > _KEPT_BYTES:
                self.continuable = False
                self._kept.clear()
        return chunk

    def said(self) -> Said:
        """The bytes that were given out; what they say is the surface's to read."""
        return Said(text="", tokens=0, chunks=tuple(self._kept))

    async def close(self) -> None:
        """Stop it at once, unless it is complete."""
        await self._context.__aexit__(None, None, None)


Answer: TypeAlias = EventAnswer | RelayAnswer


class WholeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer in one piece: the provider's bytes, or the events to encode."""

    deployment: str
    body: bytes = b""
    content_type: str = ""
    events: tuple[GenerationEvent, ...] = ()
    """Empty when `body` is the answer."""
    usage: Usage | None = None


async def collect_events(deployment: str, events: Events) -> WholeAnswer:
    """All of them; raises what they raise. `events` is closed in any case."""
    collected: list[GenerationEvent] = []
    usage: Usage | None = None
    try:
        async for event in events:
            collected.append(event)
            if isinstance(event, Finished):
                usage = event.usage
    finally:
        await events.aclose()
    return WholeAnswer(deployment=deployment, events=tuple(collected), usage=usage)


async def begin_events(deployment: str, events: Events, *, said_before: Said | None = None) -> EventAnswer:
    """Wait for the first event; raises what comes instead, and `events` is closed then."""
    try:
        first = await anext(events, None)
        if first is None:
            raise BackendError("The model said nothing at all.")
    except BaseException:
        await events.aclose()
        raise
    return EventAnswer(deployment, events, first, said_before=said_before)


async def begin_bytes(deployment: str, context: AbstractAsyncContextManager[Relayed]) -> RelayAnswer:
    """Wait for the first bytes; raises what comes instead, and the relay is ended then."""
    relayed = await context.__aenter__()
    try:
        first = await relayed.next_chunk()
        if not first:
            raise BackendError("The provider's answer is empty.")
    except BaseException as error:
        await context.__aexit__(type(error), error, error.__traceback__)
        raise
    return RelayAnswer(deployment, context, relayed, first)
