"""The watched stream: however its bytes are cut, the client gets the same events, and the same things are known."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tundish.core.errors import BackendError, Overloaded, TundishError
from tundish.core.events import Usage
from tundish.providers.event_relay import EventRelay
from tundish.wire.sse import SseDecoder

USAGE = b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}'


def event(text: str = "", *, finish: str | None = None, index: int = 0) -> bytes:
    choice = {"index": index, "delta": {"content": text}, "finish_reason": finish}
    return json.dumps({"choices": [choice], "usage": None}, ensure_ascii=False).encode()


def relayed(pieces: Sequence[bytes], *, keep_usage: bool = False) -> tuple[bytes, EventRelay]:
    relay = EventRelay(keep_usage=keep_usage)
    out = b"".join(relay.feed(piece) for piece in pieces)
    return out + relay.end(), relay


def data_of(stream: bytes) -> list[bytes]:
    return list(SseDecoder().feed(stream))


def cut(stream: bytes, at: Sequence[int]) -> list[bytes]:
    edges = sorted({0, len(stream), *(place % (len(stream) + 1) for place in at)})
    return [stream[start:end] for start, end in itertools.pairwise(edges)]


streams = st.lists(st.text(max_size=6), min_size=1, max_size=6).map(
    lambda texts: [*(event(text) for text in texts), event(finish="stop"), USAGE, b"[DONE]"]
)


@given(
    streams,
    st.lists(st.integers(0, 10_000), max_size=20),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.booleans(),
    st.booleans(),
)
def test_cuts_and_line_ends_change_nothing(events, cuts, line_end, comments, keep_usage) -> None:
    lines = [(b": c\n\n" if comments else b"") + b"data: %b\n\n" % one for one in events]
    stream = b"".join(lines).replace(b"\n", line_end)
    out, relay = relayed(cut(stream, cuts), keep_usage=keep_usage)
    assert data_of(out) == [one for one in events if keep_usage or one != USAGE]
    assert relay.usage == Usage(prompt_tokens=3, completion_tokens=4)
    assert relay.done


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_garbage_is_an_error_of_ours_and_nothing_else(pieces) -> None:
    with pytest.raises(BackendError):
        relayed(pieces)


@given(streams, st.integers(0, 10_000))
def test_a_stream_that_is_cut_is_never_taken_for_complete(events, at) -> None:
    complete = b"".join(b"data: %b\n\n" % one for one in events)
    needed = complete.index(b"stop")
    with pytest.raises(BackendError):
        relayed([complete[: at % needed]])


def test_what_is_cut_after_the_last_choice_is_ended_for_the_client() -> None:
    out, relay = relayed([b"data: %b\n\n" % event(finish="stop"), b"data: {"])
    assert out.endswith(b"data: [DONE]\n\n")
    assert relay.usage is None


def test_nothing_is_said_after_the_end() -> None:
    end = b"data: %b\n\ndata: [DONE]\n\n" % event(finish="stop")
    relay = EventRelay(keep_usage=False)
    assert relay.feed(end + b"data: {more}\n\n") == end
    assert relay.feed(b"data: {more}\n\n") == b""
    assert relay.end() == b""


def test_every_choice_has_to_end() -> None:
    with pytest.raises(BackendError, match="before the answer did"):
        relayed([b"data: %b\n\n" % one for one in (event(index=1), event(finish="stop"), b"[DONE]")])


@pytest.mark.parametrize("together", [True, False])
def test_an_error_comes_after_what_was_said_before_it(together: bool) -> None:
    first = b"data: %b\n\n" % event("Hi")
    error = b'data: {"error":{"message":"too many","code":"rate_limit_exceeded"}}\n\n'
    relay = EventRelay(keep_usage=False)
    pieces = [first + error] if together else [first, error]
    assert relay.feed(pieces[0]) == first
    with pytest.raises(Overloaded):
        relay.feed(pieces[1] if not together else first)


@pytest.mark.parametrize("error", [b"null", b'"odd"', b"{}", b"7"])
def test_an_error_of_any_shape_is_one_or_none(error: bytes) -> None:
    data = b'data: {"choices":[{"index":0,"finish_reason":"stop"}],"error":%b}\n\n' % error
    if error == b'"odd"':
        with pytest.raises(TundishError):
            relayed([data])
    else:
        assert relayed([data])[1].done


def test_an_event_without_an_end_is_not_collected_for_ever() -> None:
    relay = EventRelay(keep_usage=False)
    for _ in range(16):
        assert relay.feed(b"x" * 1_048_576) == b""
    with pytest.raises(BackendError, match="16777216"):
        relay.feed(b"x")
