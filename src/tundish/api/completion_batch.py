"""Several prompts in one completions request: generated side by side, delivered as one answer."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
from collections.abc import AsyncGenerator, Callable, Sequence

from tundish.core.events import Finished, GenerationEvent, Usage
from tundish.core.request import CompletionRequest

_AT_ONCE = 4
"""More would fill the queue of a model with the prompts of a single client."""

Events = AsyncGenerator[GenerationEvent, None]


async def complete_all(
    requests: Sequence[CompletionRequest], complete: Callable[[CompletionRequest], Events]
) -> Events:
    """The events of every request, as they come: choice c of prompt p (of n each) is choice p·n + c, usage is the sum.

    The first that fails ends all of them. Closing this closes those that run.
    """
    waiting = collections.deque(enumerate(requests))
    running: dict[asyncio.Task[GenerationEvent | None], tuple[int, Events]] = {}
    usage = Usage(prompt_tokens=0, completion_tokens=0)
    try:
        while waiting or running:
            while waiting and len(running) < _AT_ONCE:
                position, request = waiting.popleft()
                events = complete(request)
                running[asyncio.create_task(_next(events))] = (position * request.n, events)
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                first_choice, events = running.pop(task)
                event = task.result()
                if event is None:
                    continue
                running[asyncio.create_task(_next(events))] = (first_choice, events)
                if isinstance(event, Finished):
                    usage = _sum(usage, event.usage)
                else:
                    yield dataclasses.replace(event, choice=first_choice + event.choice)
        yield Finished(usage)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.gather(*(events.aclose() for _, events in running.values()))


async def _next(events: Events) -> GenerationEvent | None:
    return await anext(events, None)


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        prompt_tokens=one.prompt_tokens + other.prompt_tokens,
        completion_tokens=one.completion_tokens + other.completion_tokens,
        cached_tokens=one.cached_tokens + other.cached_tokens,
        reasoning_tokens=one.reasoning_tokens + other.reasoning_tokens,
    )
