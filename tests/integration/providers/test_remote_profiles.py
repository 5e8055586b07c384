"""What is really sent to each kind of provider: paths, headers, and bodies."""

from __future__ import annotations

import pytest

from tundish.core.errors import InvalidRequest
from tundish.core.request import (
    AssistantMessage,
    CompletionRequest,
    DeveloperMessage,
    FunctionTool,
    ReasoningEffort,
    Request,
    Sampling,
    UserMessage,
)
from tundish.providers.spec import ApiKey, Bearer, RemoteSpec, fixed

from .conftest import CHUNKS, asking, events, relay, streamed

KEY = ApiKey(source=fixed("k-1"))
TALK = (
    DeveloperMessage(text="Be brief."),
    UserMessage(text="Hi"),
    AssistantMessage(text="Hello", reasoning="They greet."),
    UserMessage(text="Again"),
)


@pytest.fixture
def spec(provider):
    provider.answer = streamed(events(*CHUNKS, b"[DONE]"))

    def made(profile: str, base: str = "/v1", **more) -> RemoteSpec:
        return RemoteSpec(**{"profile": profile, "base_url": provider.url + base, "model": "gpt", "auth": KEY} | more)

    return made


async def generate(backend, request: Request) -> None:
    async for _ in backend.generate(request):
        pass


async def test_azure_with_an_api_version_names_the_deployment_in_the_path(provider, started, spec) -> None:
    backend = await started(spec("azure", "", model="my gpt/4", api_version="2024-10-21"))
    await relay(backend, asking(stream=True, max_tokens=5))
    asked = provider.asked[0]
    assert asked.path == "/openai/deployments/my%20gpt%2F4/chat/completions?api-version=2024-10-21"
    assert asked.headers["api-key"] == "k-1"
    assert "authorization" not in asked.headers
    assert asked.json == {
        "model": "my gpt/4",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "max_completion_tokens": 5,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize("base", ["", "/", "/openai/v1", "/openai/v1/", "/openai"])
async def test_azure_without_one_uses_v1_however_its_url_is_copied(provider, started, spec, base: str) -> None:
    backend = await started(spec("azure", base))
    await relay(backend, asking(stream=True))
    assert provider.asked[0].path == "/openai/v1/chat/completions"
    assert provider.asked[0].json["model"] == "gpt"


async def test_a_project_of_azure_keeps_its_path(provider, started, spec) -> None:
    backend = await started(spec("azure", "/api/projects/p/openai/v1", auth=Bearer(source=fixed("t"))))
    await relay(backend, asking(stream=True))
    assert provider.asked[0].path == "/api/projects/p/openai/v1/chat/completions"
    assert provider.asked[0].headers["authorization"] == "Bearer t"
    assert "api-key" not in provider.asked[0].headers


@pytest.mark.parametrize(
    ("profile", "limit", "role", "reasoning"),
    [
        ("openai", "max_completion_tokens", "developer", None),
        ("azure", "max_completion_tokens", "developer", None),
        ("openai_compatible", "max_tokens", "developer", "reasoning"),
        ("vllm", "max_completion_tokens", "developer", "reasoning_content"),
        ("ollama", "max_tokens", "system", "reasoning"),
        ("llama_server", "max_tokens", "developer", "reasoning_content"),
        ("lm_studio", "max_tokens", "system", None),
        ("groq", "max_completion_tokens", "developer", "reasoning"),
        ("together", "max_tokens", "system", "reasoning"),
        ("openrouter", "max_tokens", "developer", "reasoning"),
        ("tundish", "max_completion_tokens", "developer", "reasoning"),
    ],
)
async def test_a_conversation_in_each_profile(provider, started, spec, profile, limit, role, reasoning) -> None:
    backend = await started(spec(profile))
    await generate(backend, Request(model="ours", messages=TALK, sampling=Sampling(max_tokens=9)))
    body = provider.asked[0].json
    assert {name for name in body if name.startswith("max_")} == {limit}
    assert body[limit] == 9
    assert body["stream_options"] == {"include_usage": True}
    assert [message["role"] for message in body["messages"]] == [role, "user", "assistant", "user"]
    told = {name: text for name, text in body["messages"][2].items() if name.startswith("reasoning")}
    assert told == ({} if reasoning is None else {reasoning: "They greet."})


async def test_the_effort_of_llama_server_is_a_variable_of_its_template(provider, started, spec) -> None:
    backend = await started(spec("llama_server"))
    await generate(backend, Request(model="m", messages=TALK[1:2], reasoning_effort=ReasoningEffort.HIGH))
    await relay(backend, asking(stream=True, reasoning_effort="low", chat_template_kwargs={"a": 1}))
    assert [asked.json["chat_template_kwargs"] for asked in provider.asked] == [
        {"reasoning_effort": "high"},
        {"a": 1, "reasoning_effort": "low"},
    ]
    assert all("reasoning_effort" not in asked.json for asked in provider.asked)


async def test_what_a_provider_cannot_do_is_refused_before_it_is_asked(provider, started, spec) -> None:
    backend = await started(spec("groq"))
    assert not backend.capabilities.logprobs
    with pytest.raises(InvalidRequest, match="Groq") as caught:
        await generate(backend, Request(model="m", messages=TALK, sampling=Sampling(top_logprobs=2)))
    assert caught.value.param == "logprobs"
    assert not backend.can_relay(asking(logprobs=True))
    assert backend.can_relay(asking(logprobs=False, n=1, top_logprobs=None))
    with pytest.raises(InvalidRequest):
        backend.relay(asking(n=2))
    assert not provider.asked


async def test_a_model_can_do_less_than_its_provider(started, spec) -> None:
    backend = await started(spec("openai", refuses=frozenset({"temperature", "tools"})))
    assert not backend.capabilities.tools
    tools = (FunctionTool(name="f"),)
    with pytest.raises(InvalidRequest) as caught:
        await generate(backend, Request(model="m", messages=TALK, tools=tools))
    assert caught.value.param == "tools"
    assert not backend.can_relay(asking(temperature=0.5))


async def test_fields_that_nobody_publishes_pass_where_they_are_the_providers_own(provider, started, spec) -> None:
    for profile in ("vllm", "openai"):
        backend = await started(spec(profile))
        await relay(backend, asking(stream=True, guided_regex="a+", temperature=0.5))
    assert provider.asked[0].json["guided_regex"] == "a+"
    assert "guided_regex" not in provider.asked[1].json
    assert all(asked.json["temperature"] == 0.5 for asked in provider.asked)


@pytest.mark.parametrize(
    ("profile", "message", "may"),
    [
        ("ollama", {"role": "developer", "content": "x"}, False),
        ("openai", {"role": "developer", "content": "x"}, True),
        ("openai", {"role": "assistant", "content": "x", "reasoning": "y"}, False),
        ("vllm", {"role": "assistant", "content": "x", "reasoning_content": "y"}, True),
        ("vllm", {"role": "assistant", "content": "x", "reasoning": "y"}, False),
        ("openai", {"role": "user", "content": 'say "reasoning"'}, True),
    ],
)
async def test_messages_travel_as_bytes_only_where_they_are_understood(started, spec, profile, message, may) -> None:
    backend = await started(spec(profile))
    assert backend.can_relay(asking(messages=[message])) is may


async def test_raw_text_goes_to_completions(provider, started, spec) -> None:
    provider.answer = streamed(
        events(
            b'{"choices":[{"index":0,"text":" la","finish_reason":null}]}',
            b'{"choices":[{"index":0,"text":"","finish_reason":"length"}],'
            b'"usage":{"prompt_tokens":2,"completion_tokens":1,"total_tokens":3}}',
            b"[DONE]",
        )
    )
    backend = await started(spec("vllm"))
    request = CompletionRequest(model="m", prompt=(1, 2), sampling=Sampling(max_tokens=1))
    told = [event async for event in backend.complete(request)]
    assert [getattr(event, "text", None) for event in told] == [" la", None, None]
    assert told[-1].usage.completion_tokens == 1
    assert provider.asked[0].path == "/v1/completions"
    assert provider.asked[0].json == {
        "model": "gpt",
        "prompt": [1, 2],
        "stream": True,
        "max_tokens": 1,
        "stream_options": {"include_usage": True},
    }


async def test_headers_of_the_deployment_are_sent(provider, started, spec) -> None:
    backend = await started(spec("openrouter", headers={"X-Title": "site"}))
    await relay(backend, asking(stream=True))
    assert provider.asked[0].headers["x-title"] == "site"
    assert provider.asked[0].headers["authorization"] == "Bearer k-1"


async def test_a_key_that_was_renewed_is_looked_up_and_the_request_sent_again(provider, started, spec) -> None:
    keys = ["old", "new"]
    looked: list[str] = []

    async def source() -> str:
        looked.append(keys[len(looked)])
        return looked[-1]

    good = streamed(events(*CHUNKS, b"[DONE]"))

    async def answer(reader, writer) -> None:
        if provider.asked[-1].headers["authorization"] == "Bearer new":
            await good(reader, writer)
        else:
            body = b'{"error":{"message":"Incorrect API key: old","code":"invalid_api_key"}}'
            writer.write(b"HTTP/1.1 401 No\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body))
            writer.write(body)

    provider.answer = answer
    backend = await started(spec("openai", auth=ApiKey(source=source)))
    for _ in range(2):
        await relay(backend, asking(stream=True))
    assert [asked.headers["authorization"] for asked in provider.asked] == ["Bearer old", "Bearer new", "Bearer new"]
    assert looked == keys
    assert backend.status().slots_busy == 0
