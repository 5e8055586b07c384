"""What is asked of llama.cpp is what it does."""

from __future__ import annotations

import json
import random
import re
import sys
from pathlib import Path

import pytest

from tundish.core.errors import InvalidRequest
from tundish.core.request import Sampling
from tundish.core.tokens import TokenDelta, TokenRequest, TokensFinished, TokenStop
from tundish.engines.llama_cpp.engine import LlamaCppEngine
from tundish.engines.llama_cpp.token_stream import UNKNOWN_LOGPROB

from .conftest import StartEngine, all_of, bytes_of, options_for, saying, tokens_of

PROMPT = (1, 2, 3)


def grammar(rule: str) -> str:
    return f"%llguidance {{}}\nstart: {rule}"


async def test_tokens_that_end_within_a_character_are_not_lost(start_engine: StartEngine, chat_model: Path) -> None:
    engine = await start_engine(chat_model)
    text = "é, 漢字, 🙂"  # llama-server withholds the ids of all but each character's last token
    request = TokenRequest(
        prompt=PROMPT,
        grammar=grammar(json.dumps(text, ensure_ascii=False)),
        sampling=Sampling(top_logprobs=0, max_tokens=100),
    )
    events = await all_of(engine, request)
    drawn = tokens_of(events)
    assert bytes_of(drawn).decode() == text
    assert len(drawn) == len(text.encode()) + 1  # and the end
    assert events[-1].completion_tokens == len(drawn)
    for event in events:
        if isinstance(event, TokenDelta):
            assert [entry.token for entry in event.probabilities] == list(event.tokens)
            assert event.probabilities[-1].logprob > UNKNOWN_LOGPROB


async def test_a_grammar_binds_every_choice(start_engine: StartEngine, chat_model: Path) -> None:
    engine = await start_engine(chat_model)
    request = TokenRequest(
        prompt=PROMPT, grammar=grammar("/[0-9]{3}-[a-f]{2}/"), sampling=Sampling(seed=5, max_tokens=40), n=3
    )
    events = await all_of(engine, request)
    for choice in range(3):
        assert re.fullmatch(rb"[0-9]{3}-[a-f]{2}", bytes_of(tokens_of(events, choice)))
    assert all(event.stop is TokenStop.END for event in events if isinstance(event, TokensFinished))


@pytest.mark.parametrize(
    "given", [grammar("nowhere"), 'root ::= "a"', "", grammar('%json {"type": "nonsense"}')], ids=str.split
)
async def test_a_grammar_that_llama_cpp_would_ignore_is_refused(given: str, chat_model: Path) -> None:
    engine = LlamaCppEngine(options_for(chat_model))  # it need not even run
    with pytest.raises(InvalidRequest, match="grammar"):
        await all_of(engine, TokenRequest(prompt=PROMPT, grammar=given))


async def test_seeds_decide(start_engine: StartEngine, chat_model: Path) -> None:
    engine = await start_engine(chat_model, slots=2)

    async def drawn(seed: int | None, n: int = 1) -> list[list[int]]:
        request = TokenRequest(prompt=PROMPT, sampling=Sampling(seed=seed, max_tokens=8), n=n)
        events = await all_of(engine, request)
        return [tokens_of(events, choice) for choice in range(n)]

    (first,) = await drawn(11)
    assert await drawn(11) == [first]
    assert await drawn(12) != [first]
    many = await drawn(11, n=5)  # in three rounds of two
    assert len({tuple(tokens) for tokens in many}) == 5
    assert await drawn(2**32 - 1) == await drawn(2**32 - 1)  # llama.cpp takes this one for "none"
    assert await drawn(-3) == await drawn(-3)
    assert await drawn(None) != await drawn(None)


async def test_a_token_can_be_forbidden(start_engine: StartEngine, chat_model: Path) -> None:
    engine = await start_engine(chat_model)
    sampling = Sampling(temperature=0.0, max_tokens=5, logit_bias={5: 50.0, 6: 40.0})
    assert tokens_of(await all_of(engine, TokenRequest(prompt=PROMPT, sampling=sampling))) == [5] * 5
    sampling = Sampling(temperature=0.0, max_tokens=5, logit_bias={5: -100.0, 6: 40.0})
    assert tokens_of(await all_of(engine, TokenRequest(prompt=PROMPT, sampling=sampling))) == [6] * 5


async def test_a_penalty_counts_what_was_said(start_engine: StartEngine, chat_model: Path) -> None:
    engine = await start_engine(chat_model)
    bias = {5: 50.0, 6: 49.0}
    sampling = Sampling(temperature=0.0, max_tokens=2, logit_bias=bias, presence_penalty=2.0)
    assert tokens_of(await all_of(engine, TokenRequest(prompt=PROMPT, sampling=sampling))) == [5, 6]


async def test_probabilities_come_with_their_tokens(start_engine: StartEngine, chat_model: Path) -> None:
    engine = await start_engine(chat_model)
    request = TokenRequest(prompt=PROMPT, sampling=Sampling(seed=1, max_tokens=4, top_logprobs=3, temperature=0.0))
    deltas = [event for event in await all_of(engine, request) if isinstance(event, TokenDelta)]
    entries = [entry for delta in deltas for entry in delta.probabilities]
    assert [entry.token for entry in entries] == [token for delta in deltas for token in delta.tokens]
    for entry in entries:
        assert entry.top[0] == (entry.token, entry.logprob)  # greedy draws the likeliest
        assert len(entry.top) == 3
        assert entry.logprob < 0
    none = TokenRequest(prompt=PROMPT, sampling=Sampling(seed=1, max_tokens=4, top_logprobs=0))
    assert all(not entry.top for event in (await all_of(engine, none))[:-1] for entry in event.probabilities)


async def test_a_prefix_is_computed_once(start_engine: StartEngine, tiny_gpt_oss: Path) -> None:
    engine = await start_engine(tiny_gpt_oss, context_length=2048, batch_tokens=512)
    drawn = random.Random(1)  # half of the layers remember 128 tokens: it takes more than keeping them
    prefix = [drawn.randrange(190_000) for _ in range(1000)]

    async def cached(question: list[int]) -> int:
        request = TokenRequest(prompt=prefix + question, sampling=Sampling(max_tokens=2))
        return (await all_of(engine, request))[-1].cached_tokens

    assert await cached([5] * 40) == 0
    assert await cached([6] * 40) >= 990
    assert await cached([7] * 40) >= 990


async def test_a_stop_token_of_ours_ends_what_llama_cpp_would_go_on_with(
    start_engine: StartEngine, chat_model: Path
) -> None:
    engine = await start_engine(chat_model, context_length=4096)
    events = await all_of(engine, saying(5, stop_tokens=frozenset({5})))
    assert tokens_of(events) == [5]
    assert events[-1].stop is TokenStop.END
    assert events[-1].completion_tokens == 1


async def test_many_requests_in_turn_use_one_connection(start_engine: StartEngine, chat_model: Path) -> None:
    engine = await start_engine(chat_model)
    for _ in range(5):
        async for event in engine.generate(saying(5, count=3)):
            if isinstance(event, TokensFinished):
                break  # as harmony does: nothing that follows matters to it
        assert engine.status().slots_busy == 0
    assert engine.status().restarts == 0


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not for Windows")
def test_it_runs_on_uvloop(chat_model: Path) -> None:
    import uvloop

    async def scenario() -> None:
        engine = LlamaCppEngine(options_for(chat_model))
        await engine.start()
        assert tokens_of(await all_of(engine, saying(5, count=3))) == [5, 5, 5]
        async for _ in engine.generate(saying(5)):
            break
        await engine.stop()

    uvloop.run(scenario())
