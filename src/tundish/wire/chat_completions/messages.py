"""The conversation in a request: each message by its role, each tool result with the call it belongs to."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from tundish.core.errors import InvalidRequest
from tundish.core.request import (
    AssistantMessage,
    DeveloperMessage,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from tundish.wire.json_body import shown

# What a model has called may be replayed, also a name that no tool was offered under.
_CALLED_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,256}")


class _Part(msgspec.Struct, kw_only=True):
    type: str
    text: str | None = None
    refusal: str | None = None


class _CalledFunction(msgspec.Struct, kw_only=True):
    name: str
    arguments: str


class _ToolCall(msgspec.Struct, kw_only=True):
    id: str
    type: str | None = None
    function: _CalledFunction | None = None


class MessageFields(msgspec.Struct, kw_only=True):
    """An entry of `messages`: the fields of every role; those of other roles are ignored."""

    role: str
    content: str | list[_Part] | None = None
    name: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None
    function_call: Any = None
    audio: Any = None


def decode_messages(fields: Sequence[MessageFields]) -> tuple[Message, ...]:
    """The conversation.

    Raises:
        InvalidRequest: no message, an unknown role, content that is not text, a tool result without its call.
    """
    if not fields:
        raise InvalidRequest("'messages' is empty. Send at least one message.", param="messages")
    calls: set[str] = set()
    messages: list[Message] = []
    for index, message in enumerate(fields):
        path = f"messages[{index}]"
        decoder = _BY_ROLE.get(message.role)
        if decoder is None:
            raise _unknown_role(message.role, path)
        decoded = decoder(message, path)
        if isinstance(decoded, AssistantMessage):
            calls.update(call.call_id for call in decoded.tool_calls)
        elif isinstance(decoded, ToolMessage) and decoded.call_id not in calls:
            raise InvalidRequest(
                f"'{path}.tool_call_id' is {shown(decoded.call_id)}, which no earlier assistant message has in its "
                "'tool_calls'. Send the message that made the call, too.",
                param=f"{path}.tool_call_id",
            )
        messages.append(decoded)
    return tuple(messages)


def _unknown_role(role: str, path: str) -> InvalidRequest:
    if role == "function":
        return InvalidRequest(
            f"'{path}.role' is 'function', which is not supported here. Send the result with the role 'tool'.",
            param=f"{path}.role",
        )
    return InvalidRequest(
        f"'{path}.role' must be one of {', '.join(_BY_ROLE)}, not {shown(role)}.", param=f"{path}.role"
    )


def _system(fields: MessageFields, path: str) -> Message:
    return SystemMessage(text=_required_text(fields, path))


def _developer(fields: MessageFields, path: str) -> Message:
    return DeveloperMessage(text=_required_text(fields, path))


def _user(fields: MessageFields, path: str) -> Message:
    return UserMessage(text=_required_text(fields, path), name=fields.name)


def _tool(fields: MessageFields, path: str) -> Message:
    if not fields.tool_call_id:
        raise InvalidRequest(f"'{path}.tool_call_id' is required.", param=f"{path}.tool_call_id")
    return ToolMessage(call_id=fields.tool_call_id, text=_required_text(fields, path))


def _assistant(fields: MessageFields, path: str) -> Message:
    """Nothing in it is required: an answer that was cut while it reasoned has neither text nor calls."""
    if fields.function_call is not None:
        raise InvalidRequest(
            f"'{path}.function_call' is not supported here. Send 'tool_calls', which replaced it.",
            param=f"{path}.function_call",
        )
    if fields.audio is not None:
        raise InvalidRequest(f"'{path}.audio' is not supported here. Send the text.", param=f"{path}.audio")
    reasoning = fields.reasoning if fields.reasoning is not None else fields.reasoning_content
    text = _text(fields.content, path)
    return AssistantMessage(
        text=fields.refusal if text is None else text,
        reasoning=reasoning,
        tool_calls=_tool_calls(fields.tool_calls or (), f"{path}.tool_calls"),
    )


_BY_ROLE: Mapping[str, Callable[[MessageFields, str], Message]] = {
    "system": _system,
    "developer": _developer,
    "user": _user,
    "assistant": _assistant,
    "tool": _tool,
}


def _required_text(fields: MessageFields, path: str) -> str:
    text = _text(fields.content, path)
    if text is None:
        raise InvalidRequest(
            f"'{path}.content' is required: a string, or an array of text parts.", param=f"{path}.content"
        )
    return text


def _text(content: str | Sequence[_Part] | None, path: str) -> str | None:
    """Parts are joined by line breaks: clients cut texts where one thing ends and another begins."""
    if content is None or isinstance(content, str):
        return content
    return "\n".join(_part_text(part, f"{path}.content[{index}]") for index, part in enumerate(content))


def _part_text(part: _Part, path: str) -> str:
    if part.type not in ("text", "refusal"):
        raise InvalidRequest(
            f"'{path}.type' is {shown(part.type)}, which is not supported here. The models served here read text: "
            "send parts of type 'text'.",
            param=f"{path}.type",
        )
    text = part.text if part.type == "text" else part.refusal
    if text is None:
        raise InvalidRequest(f"'{path}.{part.type}' is required.", param=f"{path}.{part.type}")
    return text


def _tool_calls(fields: Sequence[_ToolCall], path: str) -> tuple[ToolCall, ...]:
    calls = tuple(_tool_call(call, f"{path}[{index}]") for index, call in enumerate(fields))
    if len({call.call_id for call in calls}) < len(calls):
        raise InvalidRequest(f"'{path}' has the same 'id' twice. Each call needs its own.", param=path)
    return calls


def _tool_call(fields: _ToolCall, path: str) -> ToolCall:
    if fields.type not in (None, "function"):
        raise InvalidRequest(
            f"'{path}.type' must be 'function'; {shown(fields.type)} is not supported here.", param=f"{path}.type"
        )
    if fields.function is None:
        raise InvalidRequest(f"'{path}.function' is required.", param=f"{path}.function")
    if not fields.id:
        raise InvalidRequest(f"'{path}.id' is empty. Send the id that the call came with.", param=f"{path}.id")
    if not _CALLED_NAME.fullmatch(fields.function.name):
        raise InvalidRequest(
            f"'{path}.function.name' must be 1 to 256 letters, digits, '_', '-' or '.', "
            f"not {shown(fields.function.name)}.",
            param=f"{path}.function.name",
        )
    return ToolCall(call_id=fields.id, name=fields.function.name, arguments=fields.function.arguments)
