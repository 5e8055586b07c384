"""The functions that a request offers, and how freely the model may choose among them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from tundish.core.errors import InvalidRequest
from tundish.core.request import FunctionTool, NamedTool, ToolChoice, ToolMode
from tundish.wire.json_body import check_nesting, shown

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class _Function(msgspec.Struct, kw_only=True):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolFields(msgspec.Struct, kw_only=True):
    """An entry of `tools`."""

    type: str
    function: _Function | None = None


class _FunctionName(msgspec.Struct, kw_only=True):
    name: str


class ToolChoiceFields(msgspec.Struct, kw_only=True):
    """`tool_choice` as an object."""

    type: str
    function: _FunctionName | None = None


def decode_tools(fields: Sequence[ToolFields]) -> tuple[FunctionTool, ...]:
    """The functions that are offered.

    Raises:
        InvalidRequest: another kind of tool, a name that cannot be one, or one given twice.
    """
    tools = tuple(_decode_tool(tool, f"tools[{index}]") for index, tool in enumerate(fields))
    seen: set[str] = set()
    for index, tool in enumerate(tools):
        if tool.name in seen:
            raise InvalidRequest(
                f"Two tools are called '{tool.name}'. Give each a name of its own.",
                param=f"tools[{index}].function.name",
            )
        seen.add(tool.name)
    return tools


def _decode_tool(fields: ToolFields, path: str) -> FunctionTool:
    if fields.type != "function":
        raise InvalidRequest(
            f"'{path}.type' must be 'function'; tools of type {shown(fields.type)} are not supported here.",
            param=f"{path}.type",
        )
    function = fields.function
    if function is None:
        raise InvalidRequest(f"'{path}.function' is required.", param=f"{path}.function")
    if not _NAME.fullmatch(function.name):
        raise InvalidRequest(
            f"'{path}.function.name' must be 1 to 64 letters, digits, '_' or '-', not {shown(function.name)}.",
            param=f"{path}.function.name",
        )
    check_nesting(function.parameters, param=f"{path}.function.parameters")
    return FunctionTool(
        name=function.name,
        description=function.description,
        parameters=function.parameters,
        strict=bool(function.strict),
    )


def decode_choice(fields: str | ToolChoiceFields | None, tools: Sequence[FunctionTool]) -> ToolChoice:
    """How freely the model may choose among `tools`.

    Raises:
        InvalidRequest: an unknown mode, or a choice that these tools do not allow.
    """
    if fields is None:
        return ToolMode.AUTO
    if isinstance(fields, ToolChoiceFields):
        return _decode_named(fields, tools)
    try:
        mode = ToolMode(fields)
    except ValueError:
        raise InvalidRequest(
            f"'tool_choice' must be 'auto', 'none', 'required' or a named function, not {shown(fields)}.",
            param="tool_choice",
        ) from None
    if mode is ToolMode.REQUIRED and not tools:
        raise InvalidRequest("'tool_choice' is 'required', but there are no 'tools'.", param="tool_choice")
    return mode


def _decode_named(fields: ToolChoiceFields, tools: Sequence[FunctionTool]) -> NamedTool:
    if fields.type != "function":
        raise InvalidRequest(
            f"'tool_choice.type' must be 'function'; {shown(fields.type)} is not supported here. "
            "Send only the tools that may be called, and 'auto' or 'required'.",
            param="tool_choice.type",
        )
    if fields.function is None:
        raise InvalidRequest("'tool_choice.function' is required.", param="tool_choice.function")
    name = fields.function.name
    if all(tool.name != name for tool in tools):
        raise InvalidRequest(
            f"'tool_choice' names {shown(name)}, which is not among 'tools'.", param="tool_choice.function.name"
        )
    return NamedTool(name=name)
