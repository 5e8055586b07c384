"""What every `TokenEngine` does: one suite over the fake and over llama.cpp."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from tundish.core.backend import Health
from tundish.core.errors import BackendStopped, ContextLengthExceeded
from tundish.core.request import Sampling
from tundish.core.tokens import TokenDelta, TokenEngine, TokenEvent, TokenRequest, TokensFinished, TokenStop
from tundish.engines.llama_cpp.engine import EngineOptions, LlamaCppEngine
from tundish.engines.scripted import Pause, ScriptedEngine

CONTEXT = 512
SLOTS = 2
Make = Callable[..., Awaitable[TokenEngine]]


def saying(token: int, *, count: int | None = None, n: int = 1, **more: object) -> TokenRequest:
    """A request that an engine answers with `token`, again and again."""
    sampling = Sampling(max_tokens=count, temperature=0.0, logit_bias={token: 100.0})
    return TokenRequest(prompt=(1, 2, 3), sampling=sampling, n=n, **more)


@pytest.fixture(params=["scripted", "llama_cpp"])
async def make(request: pytest.FixtureRequest, chat_model: Path) -> AsyncIterator[Make]:
    """Makes a started engine; the fake is told which token each request will ask for."""
    made: list[TokenEngine] = []

    async def start(*tokens: int) -> TokenEngine:
        engine: TokenEngine
        if request.param == "scripted":
            scripts = [[token, Pause(seconds=0.001)] * 2000 for token in tokens or (7,)]
            engine = ScriptedEngine(*scripts, context_length=CONTEXT)
        else:
            engine = LlamaCppEngine(
                EngineOptions(
                    model_path=chat_model,
                    context_length=CONTEXT,
                    slots=SLOTS,
                    queue_limit=8,
                    batch_tokens=128,
                    threads=1,
                    gpu_layers=0,
                    prompt_cache_mib=0,
                )
            )
        await engine.start()
        made.append(engine)
        return engine

    yield start
    for engine in made:
        await engine.stop()


async def all_of(engine: TokenEngine, request: TokenRequest) -> list[TokenEvent]:
    return [event async for event in engine.generate(request)]


@asynccontextmanager
async def running(engine: TokenEngine, request: TokenRequest) -> AsyncIterator[list[TokenEvent]]:
    """A generation that has begun: its first event has come."""
    async with aclosing(engine.generate(request)) as events:
        yield [await anext(events)]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another process must do first."""
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not come to pass within 30 s")


async def until_idle(engine: TokenEngine) -> None:
    await until(lambda: not engine.status().slots_busy)


def tokens_of(events: list[TokenEvent], choice: int = 0) -> list[int]:
    deltas = [event for event in events if isinstance(event, TokenDelta) and event.choice == choice]
    return [token for delta in deltas for token in delta.tokens]


async def test_each_choice_ends_once_and_says_nothing_after(make: Make) -> None:
    engine = await make(7)
    events = await all_of(engine, saying(7, count=5, n=SLOTS + 1))
    ended: collections.Counter[int] = collections.Counter()
    for event in events:
        assert not ended[event.choice]
        ended[event.choice] += isinstance(event, TokensFinished)
    assert ended == dict.fromkeys(range(SLOTS + 1), 1)


async def test_the_limit_is_obeyed_and_counted(make: Make) -> None:
    engine = await make(7)
    events = await all_of(engine, saying(7, count=5))
    assert tokens_of(events) == [7] * 5
    assert events[-1] == TokensFinished(TokenStop.LENGTH, 3, events[-1].cached_tokens, 5)


async def test_a_limit_of_nothing_draws_nothing(make: Make) -> None:
    engine = await make(7)
    events = await all_of(engine, saying(7, count=0, n=2))
    assert [(event.stop, event.completion_tokens, event.choice) for event in events] == [
        (TokenStop.LENGTH, 0, 0),
        (TokenStop.LENGTH, 0, 1),
    ]


async def test_a_stop_token_ends_the_choice_and_is_reported(make: Make) -> None:
    engine = await make(7)
    events = await all_of(engine, saying(7, count=100, stop_tokens=frozenset({7})))
    assert tokens_of(events) == [7]
    assert isinstance(events[-1], TokensFinished)
    assert events[-1].stop is TokenStop.END
    await until_idle(engine)


async def test_a_prompt_that_does_not_fit_is_refused_with_both_numbers(make: Make) -> None:
    engine = await make(7)
    with pytest.raises(ContextLengthExceeded) as caught:
        await all_of(engine, TokenRequest(prompt=[1] * (CONTEXT + 88)))
    assert (caught.value.prompt_tokens, caught.value.context_length) == (CONTEXT + 88, CONTEXT)
    await until_idle(engine)


async def test_the_context_ends_the_answer(make: Make) -> None:
    engine = await make(7)
    request = TokenRequest(
        prompt=[1] * (CONTEXT - 4), sampling=Sampling(max_tokens=4, temperature=0.0, logit_bias={7: 100.0})
    )
    events = await all_of(engine, request)
    assert tokens_of(events) == [7] * 4
    assert events[-1].stop is TokenStop.LENGTH


async def test_closing_the_generator_frees_the_capacity(make: Make) -> None:
    engine = await make(7)
    async with running(engine, saying(7)):
        assert engine.status().slots_busy == 1
    await until_idle(engine)
    assert tokens_of(await all_of(engine, saying(7, count=2))) == [7, 7]
    assert engine.status().restarts == 0


async def test_cancelling_the_task_frees_the_capacity(make: Make) -> None:
    engine = await make(7)
    task = asyncio.ensure_future(all_of(engine, saying(7)))
    await until(lambda: engine.status().slots_busy == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until_idle(engine)
    assert engine.status().restarts == 0


async def test_generations_beside_each_other_do_not_mix(make: Make) -> None:
    wanted = [11, 12, 13, 14, 15, 16]
    engine = await make(*wanted)
    answers = await asyncio.gather(*(all_of(engine, saying(token, count=20)) for token in wanted))
    assert [tokens_of(answer) for answer in answers] == [[token] * 20 for token in wanted]
    await until_idle(engine)


async def test_stopping_ends_what_runs_and_says_why(make: Make) -> None:
    engine = await make(7)
    began = asyncio.Event()

    async def endless() -> None:
        async for _ in engine.generate(saying(7)):
            began.set()

    task = asyncio.ensure_future(endless())
    await began.wait()
    assert engine.status().health is Health.READY
    await engine.stop()
    with pytest.raises(BackendStopped):
        await task
    assert engine.status().health is Health.STOPPED
    with pytest.raises(BackendStopped):
        await all_of(engine, saying(7, count=1))


async def test_it_can_be_started_again(make: Make) -> None:
    engine = await make(7)
    await engine.stop()
    await engine.start()
    assert engine.status().health is Health.READY
    assert tokens_of(await all_of(engine, saying(7, count=3))) == [7] * 3
