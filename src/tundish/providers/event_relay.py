"""A provider's event stream on its way to the client: passed on as bytes, and watched.

Each event's data is decoded just far enough to know who has finished, what was used and whether it failed, which is
quicker than any search in its text, and proves that it is JSON. The common case, whole events in a piece of the body,
passes on the very bytes that came.
"""

from __future__ import annotations

import msgspec

from tundish.core.errors import BackendError, TundishError
from tundish.core.events import Usage
from tundish.wire import errors, sse
from tundish.wire.usage import UsageFields, decode_usage

_EVENT_END = b"\n\n"
_LIMIT_BYTES = 16 * 1024 * 1024


class _Choice(msgspec.Struct, kw_only=True, gc=False):
    index: int = 0
    finish_reason: str | None = None


class _Chunk(msgspec.Struct, kw_only=True, gc=False):
    choices: list[_Choice] = []
    usage: UsageFields | None = None
    error: msgspec.Raw = msgspec.Raw()
    """Not decoded: it has as many shapes as there are servers."""


_decode = msgspec.json.Decoder(_Chunk).decode


class EventRelay:
    """Follows one stream of chat completions or completions."""

    __slots__ = ("_carry", "_decoder", "_failure", "_finished", "_keep_usage", "_open", "_usage", "done")

    def __init__(self, *, keep_usage: bool) -> None:
        """`keep_usage`: whether the client asked for the event that only tells usage."""
        self._keep_usage = keep_usage
        self._carry = bytearray()
        """The beginning of an event whose end has not come."""
        self._decoder: sse.SseDecoder | None = None
        """Set when the lines end in something else than LF: then events are written anew."""
        self._open: set[int] = set()
        self._finished: set[int] = set()
        self._usage: UsageFields | None = None
        self._failure: TundishError | None = None
        self.done = False
        """Whether `[DONE]` has come."""

    @property
    def usage(self) -> Usage | None:
        """What was counted, once it was told."""
        return None if self._usage is None else decode_usage(self._usage)

    def feed(self, chunk: bytes) -> bytes:
        """What of it goes on to the client: whole events. May be empty.

        Raises:
            TundishError: the kind that an event named; what came before it was returned before.
            BackendError: an event is none.
        """
        if self._failure is not None:
            raise self._failure
        if self.done:
            return b""
        if chunk.find(b"\n") == len(chunk) - 2 and chunk[-1:] == b"\n" and chunk[:7] == b"data: {" and self._at_event:
            return self._one_event(chunk)
        if self._decoder is not None or b"\r" in chunk:  # JSON has no bare CR
            passed = self._rewritten(chunk)
        else:
            whole = self._whole_events(chunk)
            passed = self._watched(whole) if whole else b""
        if not passed and self._failure is not None:
            raise self._failure
        return passed

    def end(self) -> bytes:
        """What is still to be said when the body has ended.

        Raises:
            BackendError: it ended before the answer did; and what `feed` has still to raise.
        """
        if self._failure is not None:
            raise self._failure
        if self.done:
            return b""
        self._check_complete()
        self.done = True
        return sse.DONE  # some servers leave it out, and clients wait for it

    @property
    def _at_event(self) -> bool:
        """Whether what comes next is the beginning of an event whose lines end in LF."""
        return not self._carry and self._decoder is None

    def _one_event(self, event: bytes) -> bytes:
        """The common case: one event of one line."""
        if self._read(event[6:-2]):
            return event
        return b""

    def _whole_events(self, chunk: bytes) -> bytes:
        """Up to the end of the last event that is complete."""
        carry = self._carry
        if not carry and chunk.endswith(_EVENT_END):
            return chunk
        start = max(0, len(carry) - 1)
        carry += chunk
        at = carry.rfind(_EVENT_END, start)
        if at < 0:
            if len(carry) > _LIMIT_BYTES:
                raise BackendError(f"The server sent an event of more than {_LIMIT_BYTES} bytes.")
            return b""
        whole = bytes(carry[: at + 2])
        del carry[: at + 2]
        return whole

    def _watched(self, whole: bytes) -> bytes:
        events = whole[:-2].split(_EVENT_END)
        kept: list[bytes] = []
        for event in events:
            if self.done or self._failure is not None:
                break
            data = event[6:] if event.startswith(b"data: {") and b"\n" not in event else _data(event)
            if data is None or self._passes(data):
                kept.append(event)
        if len(kept) == len(events):
            return whole
        return b"".join(b"%b\n\n" % event for event in kept)

    def _rewritten(self, chunk: bytes) -> bytes:
        if self._decoder is None:
            self._decoder = sse.SseDecoder(limit_bytes=_LIMIT_BYTES)
            chunk = bytes(self._carry) + chunk
            self._carry.clear()
        passed: list[bytes] = []
        for data in self._decoder.feed(chunk):
            if self.done or self._failure is not None:
                break
            if self._passes(data):
                passed.append(sse.encode(data.replace(b"\n", b"\ndata: ")))
        return b"".join(passed)

    def _passes(self, data: bytes) -> bool:
        """Take note of an event, and say whether the client is to have it. A failure is kept for later."""
        try:
            return self._read(data)
        except TundishError as error:
            self._failure = error
            return False

    def _read(self, data: bytes) -> bool:
        if data == b"[DONE]":
            self._check_complete()
            self.done = True
            return True
        try:
            chunk = _decode(data)
        except (ValueError, RecursionError) as error:
            raise BackendError(f"The server sent what is no completion: {error}.") from None
        if len(chunk.error):
            failure = errors.decode_event(data)
            if failure is not None:
                raise failure
        for choice in chunk.choices:
            if choice.finish_reason is not None:
                self._open.discard(choice.index)
                self._finished.add(choice.index)
            elif choice.index not in self._finished:
                self._open.add(choice.index)
        if chunk.usage is None:
            return True
        self._usage = chunk.usage
        return self._keep_usage or bool(chunk.choices)

    def _check_complete(self) -> None:
        if self._open or not self._finished:
            raise BackendError("The server's stream ended before the answer did.")


def _data(event: bytes) -> bytes | None:
    """The data of an event whose lines end in LF; None when it has none, as comments do."""
    lines = event.lstrip(b"\xef\xbb\xbf\n").split(b"\n")
    data = [line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")]
    return b"\n".join(data) if data else None
