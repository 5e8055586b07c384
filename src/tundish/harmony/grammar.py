"""What a turn must obey, as one llguidance grammar over all of it: reasoning is free, what was asked for is bound.

The grammar covers everything after `<|start|>assistant`. Markers are named by id, since llama.cpp declares four of them
to be ordinary text; for the same reason free text excludes `<|`, or a marker could slip in as its spelling. End tokens
are not in it: engines add them. A turn has one call at most, whatever `parallel_tool_calls` says: gpt-oss ends its turn
with `<|call|>`.

No grammar leaves this module that `constraint` has not approved.
"""

from __future__ import annotations

import dataclasses
import json

from tundish.core.errors import InvalidRequest, UnsupportedSchema
from tundish.core.json_value import JsonObject
from tundish.core.request import (
    FunctionTool,
    JsonObjectFormat,
    JsonSchemaFormat,
    NamedTool,
    Request,
    TextFormat,
    ToolMode,
)
from tundish.harmony import constraint, json_schema
from tundish.harmony.render import offered_tools
from tundish.harmony.tokens import CHANNEL, CONSTRAIN, END, MESSAGE, START
from tundish.harmony.vocabulary import O200K_HARMONY

_ANY_OBJECT: JsonObject = {"type": "object"}
_PROLOGUE = f"""\
%llguidance {{}}
start: thought* ending
thought: <[{CHANNEL}]> ("analysis" | "commentary") <[{MESSAGE}]> TEXT <[{END}]> <[{START}]> "assistant"
TEXT: /([^<]|<+[^<|])*<*/
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Ending:
    """One way for the turn to end."""

    name: str
    rules: str
    way_in: tuple[int, ...]
    """Tokens up to where the bound text begins."""
    schema: JsonObject | None
    param: str


def binds(request: Request) -> bool:
    """Whether `turn_grammar` has anything to do, which takes time."""
    return (
        not isinstance(request.response_format, TextFormat)
        or _must_call(request)
        or any(tool.strict for tool in offered_tools(request))
    )


def turn_grammar(request: Request) -> str | None:
    """The grammar that `request` asks for, or None when nothing is bound.

    Takes about half a second the first time in a process (`constraint.warm_up`).

    Raises:
        UnsupportedSchema: a schema that cannot be enforced.
        InvalidRequest: a tool must be called, and there is none.
    """
    if not binds(request):
        return None
    tools, must_call = _callable_tools(request), _must_call(request)
    if must_call and not tools:
        raise InvalidRequest("A tool must be called, but the request has no such tool.", param="tool_choice")
    endings = [] if must_call else [_final(_answer_schema(request))]
    endings += [_call(index, tool, must_call=must_call) for index, tool in enumerate(tools)]
    alternatives = " | ".join(ending.name for ending in endings)
    grammar = f"{_PROLOGUE}{''.join(ending.rules for ending in endings)}ending: {alternatives}\n"
    # One way into each schema will do: a thousand tools often have a handful of shapes.
    ways_in = {json.dumps(ending.schema): ending.way_in for ending in endings}
    problem = constraint.problem(grammar, list(ways_in.values()))
    if problem:
        raise _blame(endings, problem)
    return grammar


def _blame(endings: list[_Ending], problem: str) -> UnsupportedSchema:
    """The error for the first schema that is refused alone, or else for all of them together."""
    for ending in endings:
        if ending.schema is not None and (alone := problem if len(endings) == 1 else _problem_alone(ending.schema)):
            return UnsupportedSchema(f"The JSON Schema cannot be enforced: {alone}.", param=ending.param)
    return UnsupportedSchema(f"The JSON Schemas together cannot be enforced: {problem}.", param=endings[-1].param)


def _problem_alone(schema: JsonObject) -> str:
    return constraint.problem(f"%llguidance {{}}\nstart: {_json(schema)}\n", [()])


def _must_call(request: Request) -> bool:
    return isinstance(request.tool_choice, NamedTool) or request.tool_choice is ToolMode.REQUIRED


def _callable_tools(request: Request) -> list[FunctionTool]:
    offered = offered_tools(request)
    if isinstance(request.tool_choice, NamedTool):
        return [tool for tool in offered if tool.name == request.tool_choice.name]
    return list(offered)


def _answer_schema(request: Request) -> JsonObject | None:
    match request.response_format:
        case TextFormat():
            return None
        case JsonObjectFormat():
            return _ANY_OBJECT
        case JsonSchemaFormat():
            # Not strict means that a weaker guarantee would do; there is none that a program could rely on.
            json_schema.check(request.response_format.schema, param="response_format")
            return request.response_format.schema


def _final(schema: JsonObject | None) -> _Ending:
    channel = f'<[{CHANNEL}]> "final"'
    rules = (
        f"final: {channel} <[{MESSAGE}]> TEXT\n"
        if schema is None
        else f'final: {channel} (" " <[{CONSTRAIN}]> "json")? <[{MESSAGE}]> answer\nanswer: {_json(schema)}\n'
    )
    way_in = (CHANNEL, *O200K_HARMONY().encode("final"), MESSAGE)
    return _Ending(name="final", rules=rules, way_in=way_in, schema=schema, param="response_format")


def _call(index: int, tool: FunctionTool, *, must_call: bool) -> _Ending:
    recipient = f" to=functions.{tool.name}"
    schema = _arguments_schema(tool, must_call=must_call)
    encode = O200K_HARMONY().encode
    return _Ending(
        name=f"call_{index}",
        rules=(
            # gpt-oss writes the recipient in either place.
            f'call_{index}: (<[{CHANNEL}]> "commentary" {json.dumps(recipient)} '
            f'| {json.dumps(recipient)} <[{CHANNEL}]> "commentary") '
            f'" " <[{CONSTRAIN}]> "json" <[{MESSAGE}]> arguments_{index}\n'
            f"arguments_{index}: {_json(schema)}\n"
        ),
        way_in=(CHANNEL, *encode(f"commentary{recipient} "), CONSTRAIN, *encode("json"), MESSAGE),
        schema=schema,
        param=f"tools.{tool.name}.parameters",
    )


def _arguments_schema(tool: FunctionTool, *, must_call: bool) -> JsonObject:
    if tool.parameters is None:
        return {"type": "object", "additionalProperties": False}
    if tool.strict:
        json_schema.check(tool.parameters, param=f"tools.{tool.name}.parameters")
        return tool.parameters
    if must_call and _is_enforceable(tool.parameters):
        return tool.parameters
    return _ANY_OBJECT  # not strict: the schema is a description, any object is an answer


def _is_enforceable(schema: JsonObject) -> bool:
    try:
        json_schema.check(schema, param="tools")
    except UnsupportedSchema:
        return False
    return not _problem_alone(schema)


def _json(schema: JsonObject) -> str:
    # Compact JSON: with free whitespace a small model can go on with blanks for ever.
    return "%json " + json.dumps({**schema, "x-guidance": {"whitespace_flexible": False}})
