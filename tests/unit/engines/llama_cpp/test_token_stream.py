from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tundish.core.errors import BackendError
from tundish.core.request import Sampling
from tundish.core.tokens import TokenDelta, TokenEvent, TokenRequest, TokensFinished, TokenStop
from tundish.engines.llama_cpp.token_stream import UNKNOWN_LOGPROB, TokenStream


def line(**fields: object) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def token(identity: int, predicted: int, index: int = 0, **more: object) -> bytes:
    return line(index=index, content="x", tokens=[identity], tokens_predicted=predicted, stop=False, **more)


def end(predicted: int, index: int = 0, stop_type: str = "eos") -> bytes:
    return line(
        index=index, tokens=[], tokens_predicted=predicted, stop=True, stop_type=stop_type, timings={"cache_n": 4}
    )


def progress() -> bytes:
    return line(index=0, tokens=[0], tokens_predicted=0, prompt_progress={"total": 9, "processed": 3})


async def read(
    body: bytes, *, choices: int = 1, first: int = 0, cuts: tuple[int, ...] = (), **request: object
) -> list[TokenEvent]:
    async def pieces() -> AsyncIterator[bytes]:
        edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
        for begin, finish in itertools.pairwise(edges):
            if begin < finish:
                yield body[begin:finish]

    async def tokenize(text: str) -> tuple[int, ...]:
        return tuple(text.encode())

    stream = TokenStream(TokenRequest(prompt=(1, 2, 3), **request), choices=choices, first=first, tokenize=tokenize)
    return [event async for event in stream.events(pieces())]


async def test_tokens_then_the_end() -> None:
    events = await read(progress() + token(8, 1) + token(9, 2) + end(2, stop_type="limit"))
    assert events == [TokenDelta((8,)), TokenDelta((9,)), TokensFinished(TokenStop.LENGTH, 3, 4, 2)]


@given(st.lists(st.integers(0, 10_000), max_size=20))
async def test_where_the_bytes_are_cut_does_not_matter(cuts: list[int]) -> None:
    body = token(8, 1) + token(9, 2, index=1) + end(1) + token(7, 2, index=1) + end(2, index=1) + b"data: [DONE]\n\n"
    assert await read(body, choices=2, cuts=tuple(cuts)) == await read(body, choices=2)


async def test_choices_are_numbered_from_the_rounds_first() -> None:
    events = await read(token(8, 1, index=1) + end(1, index=1) + end(0), choices=2, first=6)
    assert [event.choice for event in events] == [7, 7, 6]


async def test_withheld_ids_are_found_from_the_text() -> None:
    completing = line(index=0, content="é", tokens=[0xA9], tokens_predicted=2, stop=False)
    events = await read(completing + token(5, 3) + end(3))
    assert events[0] == TokenDelta((0xC3, 0xA9))
    assert events[1] == TokenDelta((5,))


async def test_what_was_withheld_has_an_unknown_probability() -> None:
    told = [{"id": 0xA9, "logprob": -1.5, "top_logprobs": [{"id": 0xA9, "logprob": -1.5}]}]
    completing = line(
        index=0, content="é", tokens=[0xA9], tokens_predicted=2, stop=False, completion_probabilities=told
    )
    (delta, _) = await read(completing + end(2), sampling=Sampling(top_logprobs=1))
    assert isinstance(delta, TokenDelta)
    assert [(entry.token, entry.logprob) for entry in delta.probabilities] == [(0xC3, UNKNOWN_LOGPROB), (0xA9, -1.5)]


async def test_a_stop_token_is_counted_by_llama_cpp_when_it_knows_it() -> None:
    events = await read(token(8, 1) + token(9, 2) + end(2), stop_tokens=frozenset({9}))
    assert events == [TokenDelta((8,)), TokenDelta((9,)), TokensFinished(TokenStop.END, 3, 4, 2)]


async def test_a_stop_token_at_the_limit_is_an_end() -> None:
    events = await read(token(8, 1) + token(9, 2) + end(2, stop_type="limit"), stop_tokens=frozenset({9}))
    assert events[-1] == TokensFinished(TokenStop.END, 3, 4, 2)


async def test_a_stop_token_that_llama_cpp_does_not_know_ends_the_choice() -> None:
    events = await read(token(8, 1) + token(9, 2) + token(8, 3), stop_tokens=frozenset({9}))
    assert events == [TokenDelta((8,)), TokenDelta((9,)), TokensFinished(TokenStop.END, 3, 0, 2)]


async def test_a_choice_that_ended_says_nothing_more() -> None:
    body = token(9, 1) + token(8, 2) + token(9, 1, index=1) + token(8, 3) + end(1, index=1)
    events = await read(body, choices=2, stop_tokens=frozenset({9}))
    assert [event.choice for event in events] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    "failing",
    [
        line(error={"code": 500, "message": "no memory left", "type": "server_error"}),
        b'error: {"code": 500, "message": "no memory left", "type": "server_error"}\n\n',
    ],
)
async def test_an_error_in_the_stream_is_told(failing: bytes) -> None:
    with pytest.raises(BackendError, match="no memory left"):
        await read(token(8, 1) + failing)


async def test_a_stream_that_stops_early_is_no_answer() -> None:
    with pytest.raises(BackendError, match="early"):
        await read(token(8, 1))
