"""Slots, the queue before them and the KV cache under them; and what becomes of them when a client goes away."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from tundish.core.backend import Health
from tundish.core.errors import Overloaded
from tundish.core.tokens import TokenDelta

from .conftest import StartEngine, all_of, saying, tokens_of, until


async def test_sixty_four_at_once_on_four_slots(start_engine: StartEngine, chat_model: Path) -> None:
    engine = await start_engine(chat_model, queue_limit=16)
    tasks = [asyncio.ensure_future(all_of(engine, saying(5, count=8))) for _ in range(64)]
    await until(lambda: engine.status().slots_busy == 4)
    assert engine.status().queued <= 16
    results = await asyncio.gather(*tasks, return_exceptions=True)
    refused = [result for result in results if isinstance(result, BaseException)]
    assert len(refused) == 64 - 4 - 16
    assert all(isinstance(error, Overloaded) and error.retry_after_s > 0 for error in refused)
    assert all(tokens_of(result) == [5] * 8 for result in results if not isinstance(result, BaseException))
    await until(lambda: not engine.status().slots_busy)


async def test_nobody_starves(start_engine: StartEngine, chat_model: Path) -> None:
    engine = await start_engine(chat_model, slots=2, queue_limit=32)
    order: list[int] = []

    async def ask(number: int) -> None:
        async for event in engine.generate(saying(5, count=4, n=2 if number % 3 == 0 else 1)):
            if isinstance(event, TokenDelta) and number not in order:
                order.append(number)

    await asyncio.gather(*(ask(number) for number in range(24)))
    # First come, first served: only those that run together may change places.
    assert all(abs(place - number) <= 2 for place, number in enumerate(order))


async def test_a_full_kv_cache_makes_requests_wait_and_never_fail(start_engine: StartEngine, chat_model: Path) -> None:
    # Four slots, but memory for the whole context of one: together they would overflow it, and llama.cpp would end all.
    engine = await start_engine(chat_model, context_length=256, kv_tokens=256, queue_limit=16)
    answers = await asyncio.gather(*(all_of(engine, saying(5, prompt=60, count=60)) for _ in range(6)))
    assert all(tokens_of(answer) == [5] * 60 for answer in answers)
    long = await asyncio.gather(*(all_of(engine, saying(5, prompt=60)) for _ in range(3)))
    assert all(tokens_of(answer) == [5] * (256 - 60) for answer in long)
    assert tokens_of(await all_of(engine, saying(5, prompt=100, n=3, count=28)), choice=2) == [5] * 28


async def test_a_client_that_goes_in_the_middle_of_an_answer(start_engine: StartEngine, chat_model: Path) -> None:
    engine = await start_engine(chat_model, slots=1, context_length=4096)
    async with aclosing(engine.generate(saying(5))) as events:
        for _ in range(10):
            await anext(events)
        waiting = asyncio.ensure_future(all_of(engine, saying(6, count=3)))
        await until(lambda: engine.status().queued == 1)
    assert tokens_of(await waiting) == [6, 6, 6]
    await until(lambda: not engine.status().slots_busy)
    assert engine.status().restarts == 0


async def test_a_client_that_goes_while_it_waits(start_engine: StartEngine, chat_model: Path) -> None:
    engine = await start_engine(chat_model, slots=1)
    async with aclosing(engine.generate(saying(5))) as events:
        await anext(events)
        waiting = asyncio.ensure_future(all_of(engine, saying(6, count=3)))
        await until(lambda: engine.status().queued == 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert engine.status().queued == 0
        assert engine.status().slots_busy == 1


async def test_a_client_that_goes_in_the_middle_of_a_prompt(start_engine: StartEngine, slow_gpt_oss: Path) -> None:
    engine = await start_engine(slow_gpt_oss, context_length=16_384, slots=2, batch_tokens=32)
    async with aclosing(engine.generate(saying(5))) as other:
        await anext(other)  # somebody else is there: the child must not be replaced
        task = asyncio.ensure_future(all_of(engine, saying(6, prompt=16_000)))
        await until(lambda: engine.status().slots_busy == 2)
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: engine.status().slots_busy == 1)
        await anext(other)
    assert engine.status().restarts == 0


async def test_a_prompt_that_nothing_else_stops(start_engine: StartEngine, slow_gpt_oss: Path) -> None:
    # One batch of 16 000 tokens: llama.cpp looks up only when it is done.
    engine = await start_engine(slow_gpt_oss, context_length=16_384, slots=1, batch_tokens=16_384)
    task = asyncio.ensure_future(all_of(engine, saying(6, prompt=16_000)))
    await until(lambda: engine.status().slots_busy == 1)
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.status().slots_busy == 1  # it computes still, and that shows
    assert tokens_of(await all_of(engine, saying(5, count=2))) == [5, 5]
    assert engine.status().restarts == 1
    assert engine.status().health is Health.READY
