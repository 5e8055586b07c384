"""The unmodified OpenAI client holds real conversations with gpt-oss-nano."""

from __future__ import annotations

import json
from collections.abc import Iterator

import openai
import pytest
from pydantic import BaseModel

from .conftest import Served

MODEL = "gpt-oss-nano"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather in a given city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "The city"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


@pytest.fixture
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=served.base_url, api_key=served.key, max_retries=0) as made:
        yield made


def ask(client: openai.OpenAI, *messages: dict[str, str], **options: object):
    return client.chat.completions.create(model=MODEL, messages=list(messages), temperature=0, **options)


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def test_hello(client: openai.OpenAI) -> None:
    choice = ask(client, user("Hello!")).choices[0]
    assert choice.finish_reason == "stop"
    assert choice.message.content
    assert "<|" not in choice.message.content


def test_arithmetic_with_reasoning(client: openai.OpenAI) -> None:
    answer = ask(client, user("What is 2+2?"))
    message = answer.choices[0].message
    assert "4" in (message.content or "")
    assert message.model_extra is not None
    assert message.model_extra["reasoning"] == message.model_extra["reasoning_content"]
    assert message.model_extra["reasoning"]
    assert answer.usage is not None
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_name_is_remembered(client: openai.OpenAI) -> None:
    first = ask(client, user("My name is Ada.")).choices[0].message.content or ""
    answer = ask(client, user("My name is Ada."), {"role": "assistant", "content": first}, user("What is my name?"))
    assert "Ada" in (answer.choices[0].message.content or "")


def test_a_stream_says_the_same_and_ends_with_usage(client: openai.OpenAI) -> None:
    whole = ask(client, user("What is 3+4?")).choices[0].message
    text, reasoning, usage = "", "", None
    stream = ask(client, user("What is 3+4?"), stream=True, stream_options={"include_usage": True})
    for chunk in stream:
        if chunk.usage is not None:
            usage = chunk.usage
            assert chunk.choices == []
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reasoning += (choice.delta.model_extra or {}).get("reasoning") or ""
    assert text == whole.content
    assert reasoning == whole.model_extra["reasoning"]  # type: ignore[index]
    assert usage is not None


def test_the_stream_helper(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model=MODEL, messages=[user("Hello!")], temperature=0) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert "content.delta" in kinds
    assert final.choices[0].message.content


class CalendarEvent(BaseModel):
    name: str
    date: str
    participants: list[str]


def test_the_parse_helper(client: openai.OpenAI) -> None:
    completion = client.chat.completions.parse(
        model=MODEL,
        messages=[
            {"role": "system", "content": "Extract the event information."},
            user("Alice and Bob are going to a science fair on Friday."),
        ],
        response_format=CalendarEvent,
        temperature=0,
    )
    event = completion.choices[0].message.parsed
    assert event is not None
    assert "science fair" in event.name.lower()
    assert event.date == "Friday"
    assert event.participants == ["Alice", "Bob"]


def test_the_tools_round_trip(client: openai.OpenAI) -> None:
    question = user("What's the weather like in Paris today?")
    first = ask(client, question, tools=[WEATHER]).choices[0]
    assert first.finish_reason == "tool_calls"
    (call,) = first.message.tool_calls or []
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Paris"}
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[
            question,
            first.message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": '{"temperature": 18, "condition": "sunny"}'},
        ],
        tools=[WEATHER],
        temperature=0,
    ).choices[0]
    assert answer.finish_reason == "stop"
    assert "18" in (answer.message.content or "")


def test_tool_arguments_stream_as_deltas(client: openai.OpenAI) -> None:
    stream = ask(client, user("What's the weather like in Oslo?"), tools=[WEATHER], stream=True)
    names, pieces = [], []
    for chunk in stream:
        for choice in chunk.choices:
            for call in choice.delta.tool_calls or []:
                if call.function and call.function.name:
                    names.append(call.function.name)
                if call.function and call.function.arguments:
                    pieces.append(call.function.arguments)
    assert names == ["get_weather"]
    assert len(pieces) > 1
    assert json.loads("".join(pieces)) == {"city": "Oslo"}


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_a_call_can_be_forced_whatever_was_said(client: openai.OpenAI, choice: object) -> None:
    strict = {"type": "function", "function": {**WEATHER["function"], "strict": True}}  # type: ignore[dict-item]
    message = ask(client, user("Hello!"), tools=[strict], tool_choice=choice, max_tokens=200).choices[0].message
    (call,) = message.tool_calls or []
    assert set(json.loads(call.function.arguments)) == {"city"}


def test_none_means_no_call(client: openai.OpenAI) -> None:
    message = ask(client, user("What's the weather in Paris?"), tools=[WEATHER], tool_choice="none").choices[0].message
    assert not message.tool_calls
    assert message.content


def test_several_choices_and_log_probabilities(client: openai.OpenAI) -> None:
    answer = ask(client, user("Hello!"), n=3, logprobs=True, top_logprobs=2)
    assert sorted(choice.index for choice in answer.choices) == [0, 1, 2]
    for choice in answer.choices:
        assert choice.logprobs is not None
        assert "".join(entry.token for entry in choice.logprobs.content or []) == choice.message.content
        assert all(len(entry.top_logprobs) == 2 for entry in choice.logprobs.content or [])


def test_a_seed_repeats_an_answer(client: openai.OpenAI) -> None:
    def draw() -> str | None:
        return (
            client.chat.completions.create(model=MODEL, messages=[user("Tell me a joke")], seed=7, temperature=1.5)
            .choices[0]
            .message.content
        )

    assert draw() == draw()


def test_a_stop_string_ends_the_answer_before_itself(client: openai.OpenAI) -> None:
    whole = ask(client, user("Hello!")).choices[0].message.content or ""
    word = whole.split()[2]
    choice = ask(client, user("Hello!"), stop=[word]).choices[0]
    assert choice.finish_reason == "stop"
    assert choice.message.content == whole[: whole.index(word)]


def test_few_tokens_end_in_length_and_leak_no_markers(client: openai.OpenAI) -> None:
    whole = ask(client, user("What is 12+7?"))
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage is not None
    for limit in range(1, whole.usage.completion_tokens):
        choice = ask(client, user("What is 12+7?"), max_completion_tokens=limit).choices[0]
        assert choice.finish_reason == "length"
        assert "<|" not in (choice.message.content or "")
        assert (whole.choices[0].message.content or "").startswith(choice.message.content or "")


def test_completions_continue_text(client: openai.OpenAI) -> None:
    answer = client.completions.create(model=MODEL, prompt="Hello", max_tokens=4, temperature=0)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 4


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL


def test_errors_are_the_clients_own(served: Served, client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match=MODEL):
        client.chat.completions.create(model="gpt-9", messages=[user("Hello!")])
    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.chat.completions.create(model=MODEL, messages=[user("Hello!")], temperature=9)
    with pytest.raises(openai.BadRequestError, match=r"context length is \d+ tokens.*has \d+ tokens") as caught:
        ask(client, user("word " * 200_000))
    assert caught.value.code == "context_length_exceeded"
    with (
        openai.OpenAI(base_url=served.base_url, api_key="wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()


async def test_many_at_once_are_all_answered(served: Served) -> None:
    import asyncio

    async with openai.AsyncOpenAI(base_url=served.base_url, api_key=served.key, max_retries=0) as client:
        answers = await asyncio.gather(
            *(
                client.chat.completions.create(model=MODEL, messages=[user(f"What is {i}+1?")], temperature=0)  # type: ignore[list-item]
                for i in range(16)
            )
        )
    assert all(answer.choices[0].message.content for answer in answers)
