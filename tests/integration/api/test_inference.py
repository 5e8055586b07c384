"""The unmodified OpenAI client against the API: whole answers, streams, and every way in which they can fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import openai
import pytest

from tundish.core.errors import (
    BackendDied,
    BackendStopped,
    BackendTimeout,
    ContextLengthExceeded,
    Overloaded,
    TundishError,
)
from tundish.core.events import (
    ChoiceFinished,
    Finished,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from tundish.core.request import CompletionRequest, Request, UserMessage
from tundish.engines.scripted import Pause

from .conftest import ANSWER, KEY, Serve

MESSAGES = [{"role": "user", "content": "Hi"}]
USAGE = Usage(prompt_tokens=7, completion_tokens=2, cached_tokens=3, reasoning_tokens=1)
FOREVER = Pause(seconds=float("inf"))


def chat(**fields: object) -> bytes:
    return json.dumps({"model": "m", "messages": MESSAGES, **fields}).encode()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another task is about to do."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the backend counts, it tells nobody
            await asyncio.sleep(0.005)


async def test_a_whole_answer(serve: Serve) -> None:
    async with serve() as endpoint, endpoint.openai() as client:
        answer = await client.chat.completions.create(model="m", messages=MESSAGES)
        assert answer.choices[0].message.content == "Hello there"
        assert answer.usage is not None
        assert answer.usage.total_tokens == 9
        assert endpoint.backend.requests == [Request(model="m", messages=(UserMessage(text="Hi"),))]


async def test_a_stream(serve: Serve) -> None:
    script = [
        ReasoningDelta("hm"),
        ToolCallStarted(0, "call_1", "f"),
        ToolCallDelta(0, '{"a":'),
        ToolCallDelta(0, "1}"),
        ChoiceFinished(FinishReason.TOOL_CALLS),
        Finished(USAGE),
    ]
    async with serve(script) as endpoint, endpoint.openai() as client:
        async with client.chat.completions.stream(
            model="m", messages=MESSAGES, stream_options={"include_usage": True}
        ) as stream:
            async for _ in stream:
                pass
            final = await stream.get_final_completion()
        (call,) = final.choices[0].message.tool_calls or []
        assert (call.id, call.function.name, call.function.arguments) == ("call_1", "f", '{"a":1}')
        assert final.choices[0].finish_reason == "tool_calls"
        assert final.usage is not None
        assert final.usage.prompt_tokens_details is not None
        assert final.usage.prompt_tokens_details.cached_tokens == 3


async def test_the_first_event_arrives_while_the_second_is_awaited(serve: Serve) -> None:
    async with serve([TextDelta("Hello"), FOREVER]) as endpoint, endpoint.openai() as client:
        stream = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        texts = []
        async for chunk in stream:
            texts.append(chunk.choices[0].delta.content)
            if len(texts) == 2:
                break
        assert texts == ["", "Hello"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (ContextLengthExceeded(prompt_tokens=5000, context_length=4096), 400, openai.BadRequestError),
        (Overloaded("Busy.", retry_after_s=1.5), 429, openai.RateLimitError),
        (BackendDied("The engine died."), 502, openai.InternalServerError),
        (BackendTimeout("No token."), 504, openai.InternalServerError),
        (TundishError("Odd."), 500, openai.InternalServerError),
    ],
)
async def test_an_error_before_the_first_event_is_a_status(
    serve: Serve, error: TundishError, status: int, kind: type[openai.APIStatusError], stream: bool
) -> None:
    async with serve([error]) as endpoint, endpoint.openai() as client:
        with pytest.raises(kind) as caught:
            await client.chat.completions.create(model="m", messages=MESSAGES, stream=stream)
        assert caught.value.status_code == status
        assert caught.value.code == error.code
        assert error.message in caught.value.message
        assert caught.value.request_id
        if isinstance(error, Overloaded):
            assert caught.value.response.headers["retry-after"] == "2"
            assert caught.value.response.headers["retry-after-ms"] == "1500"


async def test_an_error_later_is_an_event_and_not_a_finished_stream(serve: Serve) -> None:
    script = [TextDelta("Hel"), BackendStopped("The endpoint is shutting down.")]
    async with serve(script) as endpoint:
        answered = await endpoint.send("POST", "/v1/chat/completions", chat(stream=True))
        assert answered.status == 200
        events = answered.body.decode().split("\n\n")
        assert events[-1] == ""
        assert json.loads(events[-2].removeprefix("data: ")) == {
            "error": {
                "message": "The endpoint is shutting down.",
                "type": "server_error",
                "param": None,
                "code": "server_shutting_down",
            }
        }
        async with endpoint.openai() as client:
            stream = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
            with pytest.raises(openai.APIError, match="shutting down"):
                async for _ in stream:
                    pass


async def test_an_error_in_the_middle_of_a_whole_answer_is_a_status(serve: Serve) -> None:
    async with serve([TextDelta("Hel"), BackendDied("The engine died.")]) as endpoint:
        answered = await endpoint.send("POST", "/v1/chat/completions", chat())
        assert answered.status == 502
        assert json.loads(answered.body)["error"]["code"] == "backend_died"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_goes_frees_the_backend(serve: Serve, stream: bool) -> None:
    async with serve([TextDelta("Hello"), FOREVER]) as endpoint:
        reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
        body = chat(stream=stream)
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\napi-key: {KEY}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        if stream:
            assert b"Hello" in await reader.readuntil(b"Hello")
        await until(lambda: endpoint.backend.active == 1)
        writer.close()
        await until(lambda: endpoint.backend.active == 0)
        assert 'tundish_requests_total{model="m",outcome="cancelled"} 1.0' in await endpoint.scrape()
        await writer.wait_closed()


async def test_a_silent_stream_is_kept_alive_and_clients_do_not_notice(serve: Serve) -> None:
    script = [Pause(seconds=0.25), *ANSWER[:1], Pause(seconds=0.25), *ANSWER[1:]]
    async with serve(script, ping_after_s=0.06) as endpoint:
        answered = await endpoint.send("POST", "/v1/chat/completions", chat(stream=True))
        before, _, after = answered.body.partition(b"Hello")
        assert before.startswith(b": ping\n\n: ping\n\n")
        assert b": ping\n\n" in after
        async with endpoint.openai() as client:
            stream = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
            texts = [chunk.choices[0].delta.content async for chunk in stream]
        assert texts == ["", "Hello", " there", None]


async def test_after_a_sign_of_life_an_error_is_an_event(serve: Serve) -> None:
    script = [Pause(seconds=0.15), BackendDied("The engine died.")]
    async with serve(script, ping_after_s=0.05) as endpoint:
        answered = await endpoint.send("POST", "/v1/chat/completions", chat(stream=True))
        assert answered.status == 200
        assert b'data: {"error":{"message":"The engine died."' in answered.body
        assert b"[DONE]" not in answered.body


async def test_a_slow_reader_holds_the_generation_back(serve: Serve) -> None:
    script = [*(TextDelta("x" * 1000) for _ in range(20_000)), *ANSWER[2:]]
    async with serve(script) as endpoint:
        async with endpoint.http.stream(
            "POST",
            "/v1/chat/completions",
            headers={"api-key": KEY, "content-type": "application/json"},
            body=chat(stream=True),
        ) as response:
            await until(lambda: endpoint.backend.active == 1)
            await asyncio.sleep(0.3)  # long enough to write 20 MB, had nobody held it back
            assert endpoint.backend.active == 1
            size = 0
            async for piece in response.body():
                size += len(piece)
        assert size > 20_000_000
        await until(lambda: endpoint.backend.active == 0)


async def test_a_large_body_is_answered(serve: Serve) -> None:
    async with serve() as endpoint:
        text = "word " * 2_000_000
        answered = await endpoint.send(
            "POST", "/v1/chat/completions", chat(messages=[{"role": "user", "content": text}])
        )
        assert answered.status == 200
        assert endpoint.backend.requests == [Request(model="m", messages=(UserMessage(text=text),))]


async def test_completions(serve: Serve) -> None:
    async with serve() as endpoint, endpoint.openai() as client:
        whole = await client.completions.create(model="m", prompt=["a", "b"], max_tokens=3)
        assert [choice.text for choice in whole.choices] == ["Hello there"] * 2
        assert whole.usage is not None
        assert whole.usage.total_tokens == 18
        stream = await client.completions.create(model="m", prompt="a", stream=True)
        assert "".join([chunk.choices[0].text async for chunk in stream]) == "Hello there"
        last = endpoint.backend.requests[-1]
        assert isinstance(last, CompletionRequest)
        assert last.prompt == "a"


async def test_models(serve: Serve) -> None:
    async with serve() as endpoint, endpoint.openai() as client:
        (model,) = [model async for model in client.models.list()]
        assert model.id == "m"
        assert model.model_extra == {"context_length": 4096}
        assert (await client.models.retrieve("m")).id == "m"
        with pytest.raises(openai.NotFoundError, match="Known models: m"):
            await client.models.retrieve("org/other")
        with pytest.raises(openai.NotFoundError, match="Known models: m"):
            await client.chat.completions.create(model="other", messages=MESSAGES)


async def test_many_at_once(serve: Serve) -> None:
    script = [TextDelta("Hello"), Pause(seconds=0.05), *ANSWER[1:]]
    async with serve(script) as endpoint:
        answers = await asyncio.gather(
            *(endpoint.send("POST", "/v1/chat/completions", chat(stream=index % 2 == 0)) for index in range(64))
        )
        assert all(answered.status == 200 for answered in answers)
        assert all(b"there" in answered.body for answered in answers)
        assert 'tundish_requests_total{model="m",outcome="ok"} 64.0' in await endpoint.scrape()
