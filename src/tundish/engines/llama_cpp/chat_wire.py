"""What goes over the loopback when llama-server applies the model's own template: `/v1/chat/completions`, typed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence

import msgspec

from tundish.core.events import Alternative, TokenLogprob
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
    ToolMessage,
    UserMessage,
)
from tundish.engines.llama_cpp.wire import Failure, Progress, encode_sampling, error_of


class _Function(msgspec.Struct, frozen=True):
    name: str | None = None
    arguments: str | None = None


class ToolCallPiece(msgspec.Struct, frozen=True):
    """More of one call; the first piece has the id and the name."""

    index: int = 0
    id: str | None = None
    function: _Function = _Function()


class Delta(msgspec.Struct, frozen=True):
    """What is new in one choice."""

    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCallPiece] = []


class Likely(msgspec.Struct, frozen=True):
    """A token, its bytes and its natural log probability."""

    token: str
    logprob: float
    bytes: list[int] = []
    top_logprobs: list[Likely] = []


class Logprobs(msgspec.Struct, frozen=True):
    """Those of one chunk's tokens."""

    content: list[Likely] = []


class Choice(msgspec.Struct, frozen=True):
    """One choice in a chunk."""

    index: int = 0
    delta: Delta = Delta()
    text: str | None = None
    """Instead of a delta, in a completion of raw text."""
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class _PromptDetails(msgspec.Struct, frozen=True):
    cached_tokens: int = 0


class ChatUsage(msgspec.Struct, frozen=True):
    """Of one choice, in a chunk of its own."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _PromptDetails = _PromptDetails()


class Chunk(msgspec.Struct, frozen=True):
    """One line of the stream."""

    choices: list[Choice] = []
    usage: ChatUsage | None = None
    prompt_progress: Progress | None = None
    error: Failure | None = None


class TemplateCapabilities(msgspec.Struct, frozen=True):
    """What llama-server found out about a template by trying it."""

    supports_tools: bool = False
    supports_tool_calls: bool = False
    supports_reasoning_effort: bool = False
    supports_preserve_reasoning: bool = False


class Properties(msgspec.Struct, frozen=True):
    """The part of `/props` that matters."""

    chat_template_caps: TemplateCapabilities = TemplateCapabilities()


class _Text(msgspec.Struct, frozen=True):
    content: str


decode_text = msgspec.json.Decoder(_Text).decode
decode_chunk = msgspec.json.Decoder(Chunk).decode
decode_properties = msgspec.json.Decoder(Properties).decode


async def chunks(body: AsyncIterator[bytes]) -> AsyncGenerator[Chunk, None]:
    """The chunks in `body`.

    Raises:
        BackendError: the engine failed.
    """
    rest = b""
    async for data in body:
        lines = (rest + data if rest else data).split(b"\n")
        rest = lines.pop()
        for line in lines:
            if line.startswith(b"data: {"):
                chunk = decode_chunk(line[6:])
                if chunk.error is not None:
                    raise error_of(chunk.error)
                yield chunk


def encode_chat(request: Request, *, choices: int, first: int, context_length: int, reasoning_effort: bool) -> bytes:
    """The body that asks for `choices` of the request's choices, from number `first`.

    `reasoning_effort`: whether the template reads it.
    """
    sampling = request.sampling
    body: dict[str, object] = {
        "messages": _messages(request.messages),
        "n": choices,
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,
        "cache_prompt": True,
        "max_tokens": -1 if sampling.max_tokens is None else sampling.max_tokens,
        **encode_sampling(sampling, first, context_length),
        **_tools(request),
    }
    if sampling.top_logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": max(1, sampling.top_logprobs)}
    if reasoning_effort and request.reasoning_effort is not None:
        body["chat_template_kwargs"] = {"reasoning_effort": request.reasoning_effort.value}
    match request.response_format:
        case TextFormat():
            pass
        case JsonObjectFormat():
            body["response_format"] = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}
        case JsonSchemaFormat(name=name, schema=schema):
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": name, "schema": schema}}
    return msgspec.json.encode(body)


def token_logprobs(likely: Sequence[Likely], wanted: int) -> list[TokenLogprob]:
    """llama-server's probabilities as ours, with at most `wanted` alternatives."""
    return [
        TokenLogprob(
            token=entry.token,
            token_bytes=bytes(entry.bytes),
            logprob=entry.logprob,
            top=tuple(
                Alternative(token=top.token, token_bytes=bytes(top.bytes), logprob=top.logprob)
                for top in entry.top_logprobs[:wanted]
            ),
        )
        for entry in likely
    ]


def _messages(messages: Sequence[Message]) -> list[dict[str, object]]:
    """Templates know one system message, at the beginning: instructions that follow each other become one."""
    encoded: list[dict[str, object]] = []
    for message in messages:
        match message:
            case SystemMessage(text=text) | DeveloperMessage(text=text):
                if encoded and encoded[-1]["role"] == "system":
                    encoded[-1]["content"] = f"{encoded[-1]['content']}\n\n{text}"
                else:
                    encoded.append({"role": "system", "content": text})
            case UserMessage(text=text, name=name):
                named: dict[str, object] = {} if name is None else {"name": name}
                encoded.append({"role": "user", "content": text, **named})
            case AssistantMessage():
                encoded.append(_assistant(message))
            case ToolMessage(call_id=call_id, text=text):
                encoded.append({"role": "tool", "tool_call_id": call_id, "content": text})
    return encoded


def _assistant(message: AssistantMessage) -> dict[str, object]:
    encoded: dict[str, object] = {"role": "assistant", "content": message.text or ""}
    if message.reasoning is not None:
        encoded["reasoning_content"] = message.reasoning
    if message.tool_calls:
        encoded["tool_calls"] = [
            {
                "id": call.call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": _arguments(call)},
            }
            for call in message.tool_calls
        ]
    return encoded


def _arguments(call: ToolCall) -> str:
    """The arguments as JSON. llama-server refuses the whole conversation for a call that was once generated badly."""
    try:
        msgspec.json.decode(call.arguments)
    except (msgspec.DecodeError, RecursionError):
        return msgspec.json.encode(call.arguments).decode()
    return call.arguments


def _tools(request: Request) -> dict[str, object]:
    if not request.tools:
        return {}
    choice = request.tool_choice
    if isinstance(choice, NamedTool):
        # llama-server cannot be told a name: it is offered that tool alone.
        named = [tool for tool in request.tools if tool.name == choice.name]
        return {"tools": [_tool(tool) for tool in named], "tool_choice": "required", "parallel_tool_calls": False}
    return {
        "tools": [_tool(tool) for tool in request.tools],
        "tool_choice": choice.value,
        "parallel_tool_calls": request.parallel_tool_calls,
    }


def _tool(tool: FunctionTool) -> dict[str, object]:
    function: dict[str, object] = {"name": tool.name, "parameters": tool.parameters or {"type": "object"}}
    if tool.description is not None:
        function["description"] = tool.description
    return {"type": "function", "function": function}
