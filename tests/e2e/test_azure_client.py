"""The unmodified client for Azure OpenAI, moved to gpt-oss-nano by its endpoint and key alone."""

from __future__ import annotations

import json
from collections.abc import Iterator

import openai
import pytest

from .conftest import Served
from .test_openai_client import WEATHER, user

MODEL = "gpt-oss-nano"


@pytest.fixture
def client(served: Served) -> Iterator[openai.AzureOpenAI]:
    with openai.AzureOpenAI(
        azure_endpoint=served.url, api_key=served.key, api_version="2024-10-21", max_retries=0
    ) as made:
        yield made


def test_an_answer(client: openai.AzureOpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=[user("What is 2+2?")], temperature=0)
    assert "4" in (answer.choices[0].message.content or "")
    assert answer.model == MODEL
    assert answer.usage is not None


def test_a_client_that_is_bound_to_a_deployment(served: Served) -> None:
    with openai.AzureOpenAI(
        azure_endpoint=served.url, azure_deployment=MODEL, api_key=served.key, api_version="2025-04-01-preview"
    ) as bound:
        answer = bound.chat.completions.create(model="gpt-4.1", messages=[user("What is 2+2?")], temperature=0)
    assert "4" in (answer.choices[0].message.content or "")


def test_a_token_instead_of_a_key(served: Served) -> None:
    with openai.AzureOpenAI(
        azure_endpoint=served.url, azure_ad_token_provider=lambda: served.key, api_version="2024-10-21"
    ) as bearer:
        answer = bearer.chat.completions.create(model=MODEL, messages=[user("What is 2+2?")], temperature=0)
    assert "4" in (answer.choices[0].message.content or "")


def test_a_stream(client: openai.AzureOpenAI) -> None:
    text, usage = "", None
    for chunk in client.chat.completions.create(
        model=MODEL, messages=[user("What is 3+4?")], temperature=0, stream=True, stream_options={"include_usage": True}
    ):
        usage = chunk.usage or usage
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
    assert "7" in text
    assert usage is not None


@pytest.mark.parametrize("stream", [False, True])
def test_the_tools_round_trip(client: openai.AzureOpenAI, stream: bool) -> None:
    question = user("What's the weather like in Paris today?")
    if stream:
        with client.chat.completions.stream(model=MODEL, messages=[question], tools=[WEATHER], temperature=0) as events:
            first = events.get_final_completion().choices[0]
    else:
        first = client.chat.completions.create(
            model=MODEL, messages=[question], tools=[WEATHER], temperature=0
        ).choices[0]
    (call,) = first.message.tool_calls or []
    assert json.loads(call.function.arguments) == {"city": "Paris"}
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[
            question,
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": call.id,
                        "type": "function",
                        "function": {"name": call.function.name, "arguments": call.function.arguments},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": call.id, "content": '{"temperature": 18, "condition": "sunny"}'},
        ],
        tools=[WEATHER],
        temperature=0,
    ).choices[0]
    assert "18" in (answer.message.content or "")


def test_completions_and_models(client: openai.AzureOpenAI) -> None:
    assert client.completions.create(model=MODEL, prompt="Hello", max_tokens=3).choices[0].finish_reason
    assert MODEL in [model.id for model in client.models.list()]


@pytest.mark.parametrize("header", ["authorization", "api-key"])
def test_the_v1_path_of_azure(served: Served, header: str) -> None:
    headers = {} if header == "authorization" else {"Authorization": openai.omit, "api-key": served.key}
    with openai.OpenAI(base_url=f"{served.url}/openai/v1/", api_key=served.key) as client:
        answer = client.chat.completions.create(
            model=MODEL, messages=[user("What is 2+2?")], temperature=0, extra_headers=headers
        )
    assert "4" in (answer.choices[0].message.content or "")


def test_errors_are_azures(client: openai.AzureOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as absent:
        client.chat.completions.create(model="absent", messages=[user("Hello!")])
    assert absent.value.code == "DeploymentNotFound"
    with pytest.raises(openai.AuthenticationError) as refused:
        client.with_options(api_key="wrong-key").chat.completions.create(model=MODEL, messages=[user("Hello!")])
    assert refused.value.code == "401"
