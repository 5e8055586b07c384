"""What every `Backend` does: one suite over the fake, gpt-oss on two engines, a model's template, and other servers."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import re
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path

import pytest
import pytest_asyncio
from tests.contract.other_endpoint import CLOCK, CONTEXT, KEY, endless_tokens

from tundish.core.backend import Backend, Health
from tundish.core.errors import BackendStopped, InvalidRequest
from tundish.core.events import (
    ChoiceFinished,
    Finished,
    FinishReason,
    GenerationEvent,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from tundish.core.request import CompletionRequest, Request, Sampling, UserMessage
from tundish.engines.gpt_oss import GptOssBackend
from tundish.engines.llama_cpp.engine import EngineOptions, LlamaCppEngine
from tundish.engines.llama_cpp.template import TemplateBackend
from tundish.engines.scripted import Pause, ScriptedBackend, ScriptedEngine
from tundish.providers.remote import remote_backend
from tundish.providers.spec import ApiKey, RemoteSpec, fixed

pytestmark = pytest.mark.asyncio(loop_scope="module")  # one load for all of a backend's tests


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """A backend, and what can be expected of it."""

    backend: Backend
    generates: bool
    """Whether it is more than a replay: it counts choices and obeys limits."""
    remote: bool
    """Whether its requests pass another endpoint's own checks."""


def engine_of(path: Path, *, chat_template: bool) -> LlamaCppEngine:
    return LlamaCppEngine(
        EngineOptions(
            model_path=path,
            context_length=CONTEXT,
            slots=2,
            queue_limit=8,
            batch_tokens=128,
            threads=1,
            gpu_layers=0,
            prompt_cache_mib=0,
            chat_template=chat_template,
        )
    )


def endless_events() -> list[GenerationEvent | Pause]:
    song: list[GenerationEvent | Pause] = [TextDelta(" la"), Pause(seconds=0.001)]
    ending = [ChoiceFinished(FinishReason.STOP), Finished(Usage(prompt_tokens=1, completion_tokens=1000))]
    return [*song * 1000, *ending]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def other_url() -> AsyncIterator[str]:
    """Another program's endpoint: a process, whose model `m` sings."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.contract.other_endpoint", stdin=pipe, stdout=pipe, cwd=Path(__file__).parents[2]
    )
    assert process.stdin is not None
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    yield f"http://127.0.0.1:{port}"
    process.stdin.close()
    assert await process.wait() == 0


def remote(profile: str, base_url: str, **more: str) -> Backend:
    spec = RemoteSpec(
        profile=profile,
        base_url=base_url,
        model="m",
        auth=ApiKey(source=fixed(KEY)),
        context_length=CONTEXT,
        **more,  # pyright: ignore[reportArgumentType]
    )
    return remote_backend(spec)


REMOTE: Mapping[str, Callable[[str], Backend]] = {
    "openai_compatible": lambda url: remote("openai_compatible", f"{url}/v1"),
    "tundish": lambda url: remote("tundish", f"{url}/v1"),
    "azure": lambda url: remote("azure", url),
    "azure_deployment": lambda url: remote("azure", url, api_version="2024-10-21"),
}


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=["scripted", "gpt_oss_scripted", "gpt_oss_llama_cpp", "template", *REMOTE],
)
async def subject(
    request: pytest.FixtureRequest, tiny_gpt_oss: Path, chat_model: Path, other_url: str
) -> AsyncIterator[Subject]:
    made: dict[str, Callable[[], Backend]] = {
        "scripted": lambda: ScriptedBackend(endless_events()),
        "gpt_oss_scripted": lambda: GptOssBackend(
            ScriptedEngine(endless_tokens(), context_length=CONTEXT), clock=CLOCK
        ),
        "gpt_oss_llama_cpp": lambda: GptOssBackend(engine_of(tiny_gpt_oss, chat_template=False), clock=CLOCK),
        "template": lambda: TemplateBackend(engine_of(chat_model, chat_template=True)),
        **{name: functools.partial(make, other_url) for name, make in REMOTE.items()},
    }
    backend = made[request.param]()
    await backend.start()
    yield Subject(backend=backend, generates=request.param != "scripted", remote=request.param in REMOTE)
    await backend.stop()


def song(*, n: int = 1, max_tokens: int | None = None, text: str = "Sing!") -> Request:
    """A request that is answered for as long as it may be."""
    return Request(model="m", messages=(UserMessage(text=text),), sampling=Sampling(max_tokens=max_tokens, seed=1), n=n)


async def all_of(events: AsyncIterator[GenerationEvent]) -> list[GenerationEvent]:
    return [event async for event in events]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another process must do first."""
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not come to pass within 30 s")


async def until_idle(backend: Backend) -> None:
    await until(lambda: not backend.status().slots_busy)


def check_grammar(events: list[GenerationEvent], *, choices: int) -> None:
    """Deltas, then one end, for each choice; one `Finished`, last."""
    ended: set[int] = set()
    called: set[tuple[int, int]] = set()
    for event in events[:-1]:
        assert not isinstance(event, Finished)
        assert event.choice not in ended
        if isinstance(event, ChoiceFinished):
            ended.add(event.choice)
        elif isinstance(event, ToolCallStarted):
            called.add((event.choice, event.index))
        elif isinstance(event, ToolCallDelta):
            assert (event.choice, event.index) in called
        else:
            assert isinstance(event, TextDelta | ReasoningDelta)
            assert event.text
    assert isinstance(events[-1], Finished)
    assert ended == set(range(choices))


async def test_the_grammar_of_events(subject: Subject) -> None:
    events = await all_of(subject.backend.generate(song(max_tokens=20)))
    check_grammar(events, choices=1)
    await until_idle(subject.backend)


async def test_each_choice_is_answered(subject: Subject) -> None:
    if not subject.generates:
        pytest.skip("a replay has the choices that its script has")
    events = await all_of(subject.backend.generate(song(n=3, max_tokens=12)))
    check_grammar(events, choices=3)
    assert events[-1].usage.completion_tokens == 3 * 12
    await until_idle(subject.backend)


async def test_the_limit_is_obeyed_and_named(subject: Subject) -> None:
    if not subject.generates:
        pytest.skip("a replay knows no limit")
    events = await all_of(subject.backend.generate(song(max_tokens=7)))
    (end,) = [event for event in events if isinstance(event, ChoiceFinished)]
    assert end.reason is FinishReason.LENGTH
    usage = events[-1].usage
    assert usage.completion_tokens == 7
    assert usage.prompt_tokens > 0


async def test_a_prompt_that_does_not_fit_is_refused_with_both_numbers(subject: Subject) -> None:
    if not subject.generates:
        pytest.skip("a replay reads no prompt")
    with pytest.raises(InvalidRequest) as caught:
        await all_of(subject.backend.generate(song(text="word " * 2 * CONTEXT)))
    assert caught.value.code == "context_length_exceeded"
    # In words, which is how they come from another program.
    context_length, prompt_tokens = map(int, re.findall(r"\d+", caught.value.message))
    assert context_length == CONTEXT
    assert prompt_tokens > CONTEXT
    await until_idle(subject.backend)


async def test_raw_text_is_continued(subject: Subject) -> None:
    if not subject.backend.capabilities.completions:
        pytest.skip("it answers conversations only")
    request = CompletionRequest(model="m", prompt="la la", sampling=Sampling(max_tokens=6, seed=3), n=1)
    events = await all_of(subject.backend.complete(request))
    check_grammar(events, choices=1)
    assert all(isinstance(event, TextDelta | ChoiceFinished | Finished) for event in events)


async def test_an_echo_comes_first(subject: Subject) -> None:
    if subject.remote:
        pytest.skip("an endpoint takes no request for no token at all")
    if not subject.generates:
        pytest.skip("a replay reads no prompt")
    if not subject.backend.capabilities.completions:
        pytest.skip("it answers conversations only")
    request = CompletionRequest(model="m", prompt="la la", sampling=Sampling(max_tokens=0), echo=True)
    events = await all_of(subject.backend.complete(request))
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "la la"
    assert [event.reason for event in events if isinstance(event, ChoiceFinished)] == [FinishReason.LENGTH]
    assert events[-1].usage.completion_tokens == 0
    assert events[-1].usage.prompt_tokens > 0


async def test_closing_the_generator_frees_the_capacity(subject: Subject) -> None:
    async with aclosing(subject.backend.generate(song())) as events:
        await anext(events)
        assert subject.backend.status().slots_busy == 1
    await until_idle(subject.backend)
    check_grammar(await all_of(subject.backend.generate(song(max_tokens=3))), choices=1)


async def test_cancelling_the_task_frees_the_capacity(subject: Subject) -> None:
    task = asyncio.ensure_future(all_of(subject.backend.generate(song())))
    await until(lambda: subject.backend.status().slots_busy == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until_idle(subject.backend)


async def test_stopping_ends_what_runs_and_says_why_and_is_not_for_ever(subject: Subject) -> None:
    began = asyncio.Event()

    async def endless() -> None:
        async for _ in subject.backend.generate(song()):
            began.set()

    task = asyncio.ensure_future(endless())
    await began.wait()
    assert subject.backend.status().health is Health.READY
    await subject.backend.stop()
    with pytest.raises(BackendStopped):
        await task
    assert subject.backend.status().health is Health.STOPPED
    await subject.backend.start()
    assert subject.backend.status().health is Health.READY
    check_grammar(await all_of(subject.backend.generate(song(max_tokens=3))), choices=1)


async def test_many_at_once_all_come_to_an_end(subject: Subject) -> None:
    answers = await asyncio.gather(*(all_of(subject.backend.generate(song(max_tokens=10))) for _ in range(6)))
    for events in answers:
        check_grammar(events, choices=1)
    await until_idle(subject.backend)


async def test_capabilities_are_known_once_it_is_ready(subject: Subject) -> None:
    assert subject.backend.capabilities.context_length > 0
    assert subject.backend.status().health is Health.READY
