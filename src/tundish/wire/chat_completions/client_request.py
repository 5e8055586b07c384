"""The client's half, asking: core.Request → the body of a chat completion request."""

from __future__ import annotations

from typing import assert_never

import msgspec

from tundish.core.json_value import JsonObject, JsonValue
from tundish.core.request import (
    AssistantMessage,
    DeveloperMessage,
    FunctionTool,
    JsonObjectFormat,
    JsonSchemaFormat,
    Message,
    NamedTool,
    Request,
    SystemMessage,
    TextFormat,
    ToolCall,
    ToolChoice,
    ToolMessage,
    UserMessage,
)
from tundish.wire import keep_alive
from tundish.wire.sampling import encode_sampling


def encode_request(request: Request, *, stream: bool = True, reasoning_name: str = "reasoning") -> bytes:
    """The body that asks for `request`; decoding it gives `request` again.

    `reasoning_name`: how the server calls the model's earlier reasoning (`reasoning`, `reasoning_content`).
    """
    body: dict[str, JsonValue] = {
        "model": request.model,
        "messages": [_message(message, reasoning_name) for message in request.messages],
        "stream": stream,
        **encode_sampling(request.sampling),
    }
    if request.reasoning_effort is not None:
        body["reasoning_effort"] = request.reasoning_effort.value
    if request.sampling.max_tokens is not None:
        body["max_completion_tokens"] = request.sampling.max_tokens
    if request.sampling.top_logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": request.sampling.top_logprobs}
    if stream:
        body["stream_options"] = {"include_usage": True}
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    if not request.parallel_tool_calls:
        body["parallel_tool_calls"] = False
    if request.tools or isinstance(request.tool_choice, NamedTool) or request.tool_choice.value != "auto":
        body["tool_choice"] = _tool_choice(request.tool_choice)
    if not isinstance(request.response_format, TextFormat):
        body["response_format"] = _response_format(request.response_format)
    if request.n != 1:
        body["n"] = request.n
    if request.keep_alive_s is not None:
        body["keep_alive"] = keep_alive.encode(request.keep_alive_s)
    return msgspec.json.encode(body)


def _message(message: Message, reasoning_name: str) -> JsonObject:
    match message:
        case SystemMessage():
            return {"role": "system", "content": message.text}
        case DeveloperMessage():
            return {"role": "developer", "content": message.text}
        case UserMessage():
            name: JsonObject = {} if message.name is None else {"name": message.name}
            return {"role": "user", "content": message.text, **name}
        case AssistantMessage():
            reasoning: JsonObject = {} if message.reasoning is None else {reasoning_name: message.reasoning}
            calls: JsonObject = (
                {"tool_calls": [_call(call) for call in message.tool_calls]} if message.tool_calls else {}
            )
            return {"role": "assistant", "content": message.text, **reasoning, **calls}
        case ToolMessage():
            return {"role": "tool", "tool_call_id": message.call_id, "content": message.text}
        case _:
            assert_never(message)


def _call(call: ToolCall) -> JsonObject:
    return {
        "id": call.call_id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def _tool(tool: FunctionTool) -> JsonObject:
    function: dict[str, JsonValue] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.parameters is not None:
        function["parameters"] = tool.parameters
    if tool.strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def _tool_choice(choice: ToolChoice) -> JsonValue:
    if isinstance(choice, NamedTool):
        return {"type": "function", "function": {"name": choice.name}}
    return choice.value


def _response_format(wanted: JsonObjectFormat | JsonSchemaFormat) -> JsonObject:
    if isinstance(wanted, JsonObjectFormat):
        return {"type": "json_object"}
    schema: dict[str, JsonValue] = {"name": wanted.name, "schema": wanted.schema, "strict": wanted.strict}
    if wanted.description is not None:
        schema["description"] = wanted.description
    return {"type": "json_schema", "json_schema": schema}
