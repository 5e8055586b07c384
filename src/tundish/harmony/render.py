"""A conversation as the token ids that gpt-oss was trained to continue.

The format is OpenAI's harmony; openai_harmony is the reference where it is right, tests/unit/harmony/test_reference.py
says where and why this differs. Content is encoded as ordinary text always: no text that a client sends can become a
special token.
"""

from __future__ import annotations

import array
import dataclasses
import datetime
import json
import sys
from collections.abc import Iterable, Sequence

from tundish.core.errors import InvalidRequest
from tundish.core.request import (
    AssistantMessage,
    DeveloperMessage,
    FunctionTool,
    JsonObjectFormat,
    JsonSchemaFormat,
    Message,
    ReasoningEffort,
    Request,
    ResponseFormat,
    SystemMessage,
    TextFormat,
    ToolCall,
    ToolMessage,
    ToolMode,
    UserMessage,
)
from tundish.harmony import json_schema, typescript
from tundish.harmony.bounded_cache import BoundedCache
from tundish.harmony.tokens import CALL, CHANNEL, CONSTRAIN, END, MESSAGE, START
from tundish.harmony.vocabulary import O200K_HARMONY

_IDENTITY = "You are ChatGPT, a large language model trained by OpenAI.\nKnowledge cutoff: 2024-06"
_CHANNELS = "# Valid channels: analysis, commentary, final. Channel must be included for every message."
_TOOLS_CHANNEL = "\nCalls to these tools must go to the commentary channel: 'functions'."
_recurring: BoundedCache[str, array.array[int]] = BoundedCache(16 * 1024 * 1024)
"""Ids of what an application sends with each request: instructions, tools, names. What people say is not remembered."""


@dataclasses.dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids, of which the first `prefix_tokens` come before what anybody said: instructions and tools."""

    tokens: list[int]
    prefix_tokens: int


def render(request: Request, *, today: datetime.date) -> list[int]:
    """The token ids of `render_prompt`."""
    return render_prompt(request, today=today).tokens


def render_prompt(request: Request, *, today: datetime.date) -> Prompt:
    """The prompt for `request`, ending where the assistant's turn begins (`<|start|>assistant`), or within its answer
    when that has begun.

    Raises:
        InvalidRequest: a tool result whose call is not in the conversation, a schema that is nested without end.
    """
    tools = offered_tools(request)
    out: list[int] = []
    _message(out, "system", _recur(_system_text(request, today, has_functions=bool(tools))))
    developer = _developer_text(request, tools)
    if developer:
        _message(out, "developer", _recur(developer))
    prefix_tokens = len(out)
    _history(out, request.messages)
    out.append(START)
    out += _recur("assistant")
    if request.answer_begun:
        out += answer_header()
        out += O200K_HARMONY().encode(request.answer_begun)
    return Prompt(out, prefix_tokens)


def answer_header() -> Sequence[int]:
    """What comes between `<|start|>assistant` and the text of an answer."""
    return (CHANNEL, *_recur("final"), MESSAGE)


def offered_tools(request: Request) -> Sequence[FunctionTool]:
    """The tools that the model is told of: none when it must not call any."""
    return () if request.tool_choice is ToolMode.NONE else request.tools


def _system_text(request: Request, today: datetime.date, *, has_functions: bool) -> str:
    effort = request.reasoning_effort or ReasoningEffort.MEDIUM
    return (
        f"{_IDENTITY}\nCurrent date: {today.isoformat()}\n\nReasoning: {effort.value}\n\n"
        f"{_CHANNELS}{_TOOLS_CHANNEL if has_functions else ''}"
    )


def _developer_text(request: Request, tools: Sequence[FunctionTool]) -> str:
    instructions = "\n\n".join(
        message.text
        for message in request.messages
        if isinstance(message, SystemMessage | DeveloperMessage) and message.text
    )
    sections = (
        f"# Instructions\n\n{instructions}" if instructions else "",
        f"# Tools\n\n{typescript.namespace(tools)}" if tools else "",
        _response_format(request.response_format),
    )
    return "\n\n".join(section for section in sections if section)


def _response_format(response_format: ResponseFormat) -> str:
    match response_format:
        case TextFormat():
            return ""
        case JsonObjectFormat():
            name, description, schema = "json_object", "Answer with a JSON object.", '{"type":"object"}'
        case JsonSchemaFormat():
            name, description = response_format.name, response_format.description
            json_schema.check_nesting(response_format.schema, param="response_format")
            schema = json.dumps(response_format.schema, ensure_ascii=False, separators=(",", ":"))
    comment = "".join(f"// {line}\n" for line in description.split("\n")) if description else ""
    return f"# Response Formats\n\n## {name}\n\n{comment}{schema}"


def _history(out: list[int], messages: Sequence[Message]) -> None:
    last_final = max(
        (index for index, message in enumerate(messages) if _is_final(message)),
        default=-1,
    )
    names: dict[str, str] = {}
    for index, message in enumerate(messages):
        match message:
            case SystemMessage() | DeveloperMessage():
                pass  # part of the developer message, which comes first
            case UserMessage():
                _message(out, "user", _encode(message.text))
            case AssistantMessage():
                _assistant(out, message, keep_reasoning=index > last_final)
                names.update((call.call_id, call.name) for call in message.tool_calls)
            case ToolMessage():
                _tool_result(out, message, names)


def _is_final(message: Message) -> bool:
    return isinstance(message, AssistantMessage) and not message.tool_calls and bool(message.text)


def _assistant(out: list[int], message: AssistantMessage, *, keep_reasoning: bool) -> None:
    # Chain of thought belongs to the turn it was thought in: kept through a tool loop, dropped once there is an answer.
    if message.reasoning and keep_reasoning:
        _message(out, "assistant", _encode(message.reasoning), channel="analysis")
    if message.text:
        _message(out, "assistant", _encode(message.text), channel="commentary" if message.tool_calls else "final")
    for call in message.tool_calls:
        _tool_call(out, call)


def _tool_call(out: list[int], call: ToolCall) -> None:
    out.append(START)
    out += _recur(f"assistant to=functions.{call.name}")
    out.append(CHANNEL)
    out += _recur("commentary ")
    out.append(CONSTRAIN)
    out += _recur("json")
    out.append(MESSAGE)
    out += _encode(call.arguments)
    out.append(CALL)


def _tool_result(out: list[int], message: ToolMessage, names: dict[str, str]) -> None:
    name = names.get(message.call_id)
    if name is None:
        raise InvalidRequest(
            f"The tool result for call '{message.call_id}' has no call before it. Send the assistant message that made "
            "the call, with its tool_calls, before the result.",
            param="messages",
        )
    _message(out, f"functions.{name} to=assistant", _encode(message.text), channel="commentary")


def _message(out: list[int], role: str, content: Iterable[int], *, channel: str | None = None) -> None:
    out.append(START)
    out += _recur(role)
    if channel is not None:
        out.append(CHANNEL)
        out += _recur(channel)
    out.append(MESSAGE)
    out += content
    out.append(END)


def _encode(text: str) -> list[int]:
    return O200K_HARMONY().encode(text)


def _recur(text: str) -> Iterable[int]:
    """Encode what comes again with every turn; ids take four bytes each here."""
    known = _recurring.get(text)
    if known is None:
        known = array.array("I", _encode(text))
        _recurring.put(text, known, sys.getsizeof(text) + sys.getsizeof(known))
    return known
