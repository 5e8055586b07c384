from __future__ import annotations

import json

import pytest

from tundish.core.request import (
    AssistantMessage,
    DeveloperMessage,
    FunctionTool,
    JsonSchemaFormat,
    Message,
    NamedTool,
    ReasoningEffort,
    Request,
    Sampling,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolMode,
    UserMessage,
)
from tundish.engines.llama_cpp import chat_wire

TOOLS = (FunctionTool(name="f", description="does"), FunctionTool(name="g", parameters={"type": "object"}))


def encoded(*messages: Message, effort: bool = False, **more: object) -> dict[str, object]:
    request = Request(model="m", messages=messages or (UserMessage(text="hi"),), **more)
    body = chat_wire.encode_chat(request, choices=1, first=0, context_length=100, reasoning_effort=effort)
    return json.loads(body)


def test_instructions_that_follow_each_other_become_one_system_message() -> None:
    body = encoded(SystemMessage(text="a"), DeveloperMessage(text="b"), UserMessage(text="c", name="Ada"))
    assert body["messages"] == [
        {"role": "system", "content": "a\n\nb"},
        {"role": "user", "content": "c", "name": "Ada"},
    ]


def test_turns_of_the_model_keep_reasoning_and_calls() -> None:
    call = ToolCall(call_id="1", name="f", arguments='{"a": 1}')
    body = encoded(
        AssistantMessage(text="t", reasoning="r", tool_calls=(call,)), ToolMessage(call_id="1", text="result")
    )
    assert body["messages"] == [
        {
            "role": "assistant",
            "content": "t",
            "reasoning_content": "r",
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
            ],
        },
        {"role": "tool", "tool_call_id": "1", "content": "result"},
    ]


@pytest.mark.parametrize("arguments", ["{bad", "", "[" * 100_000])
def test_arguments_that_were_generated_badly_are_a_json_string(arguments: str) -> None:
    body = encoded(AssistantMessage(tool_calls=(ToolCall(call_id="1", name="f", arguments=arguments),)))
    sent = body["messages"][0]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(sent) == arguments


def test_a_named_tool_is_offered_alone() -> None:
    body = encoded(tools=TOOLS, tool_choice=NamedTool(name="g"))
    assert [tool["function"]["name"] for tool in body["tools"]] == ["g"]
    assert body["tool_choice"] == "required"
    assert body["parallel_tool_calls"] is False


def test_tools_as_they_are() -> None:
    body = encoded(tools=TOOLS, tool_choice=ToolMode.NONE, parallel_tool_calls=True)
    assert body["tools"][0]["function"] == {"name": "f", "description": "does", "parameters": {"type": "object"}}
    assert body["tool_choice"] == "none"
    assert body["parallel_tool_calls"] is True


def test_the_effort_is_told_to_templates_that_read_it() -> None:
    assert "chat_template_kwargs" not in encoded(reasoning_effort=ReasoningEffort.LOW)
    assert "chat_template_kwargs" not in encoded(effort=True)
    body = encoded(reasoning_effort=ReasoningEffort.LOW, effort=True)
    assert body["chat_template_kwargs"] == {"reasoning_effort": "low"}


def test_stop_strings_are_not_for_llama_server() -> None:
    assert "stop" not in encoded(sampling=Sampling(stop=("x",)))


def test_a_schema_and_probabilities() -> None:
    schema = JsonSchemaFormat(name="n", schema={"type": "object"})
    body = encoded(response_format=schema, sampling=Sampling(top_logprobs=0, max_tokens=5))
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": {"type": "object"}},
    }
    assert (body["logprobs"], body["top_logprobs"], body["max_tokens"]) == (True, 1, 5)
