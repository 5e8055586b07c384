"""Server-sent events, as every proxy on the way may have cut and rewritten them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tundish.core.errors import BackendError
from tundish.wire import sse
from tundish.wire.sse import SseDecoder

payloads = st.binary(min_size=1, max_size=12).filter(lambda data: not set(data) & {10, 13})


def read(data: bytes, size: int, decoder: SseDecoder | None = None) -> list[bytes]:
    decoder = decoder or SseDecoder()
    return [event for start in range(0, len(data), size) for event in decoder.feed(data[start : start + size])]


@given(st.lists(payloads, max_size=5), st.sampled_from([b"\n", b"\r\n", b"\r"]), st.integers(1, 20))
def test_events_survive_every_line_end_and_every_cut(events: list[bytes], end: bytes, size: int) -> None:
    data = b"".join(sse.encode(event) for event in events).replace(b"\n", end)
    assert read(data, size) == events


def test_comments_fields_and_several_lines() -> None:
    data = (
        b"\xef\xbb\xbf: hi\n\nevent: x\nid: 7\nretry: 5\ndata:one\ndata: two\ndata:  three\nnonsense\n\n"
        + sse.PING
        + sse.DONE
    )
    for size in (1, 3, 1000):
        assert read(data, size) == [b"one\ntwo\n three", b"[DONE]"]


def test_an_unfinished_event_is_never_given() -> None:
    assert read(b"data: one\n\ndata: two\n", 100) == [b"one"]


@pytest.mark.parametrize("data", [b"data: " + b"x" * 200, b"data: xxxxxxxxxx\n" * 20])
def test_an_event_without_end_is_cut_off(data: bytes) -> None:
    with pytest.raises(BackendError, match="more than 100 bytes"):
        read(data, 1, SseDecoder(limit_bytes=100))
