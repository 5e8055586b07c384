"""The grammar of a turn, driven token by token and without a model: what it lets through and what it does not."""

from __future__ import annotations

import itertools
from typing import Any

import llguidance
import pytest

from tundish.core.errors import BackendError, InvalidRequest, UnsupportedSchema
from tundish.core.request import (
    FunctionTool,
    JsonObjectFormat,
    JsonSchemaFormat,
    NamedTool,
    Request,
    TextFormat,
    ToolMode,
)
from tundish.harmony.constraint import ConstraintFollower
from tundish.harmony.grammar import binds, turn_grammar

from .conftest import Ids

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city"],
    "additionalProperties": False,
}
ANSWER = JsonSchemaFormat(
    name="answer",
    schema={
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    },
)
LOOSE = FunctionTool(name="get_weather", parameters=CITY)
STRICT = FunctionTool(name="get_weather", parameters=CITY, strict=True)
OTHER = FunctionTool(name="get-time", parameters=None)

THINK = "<|channel|>analysis<|message|>Let me {think}: <b> < | é 👩‍👩‍👧<|end|><|start|>assistant"
PREAMBLE = "<|channel|>commentary<|message|>One moment.<|end|><|start|>assistant"


def call(arguments: str, name: str = "get_weather") -> str:
    return f"<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>{arguments}<|call|>"


def call_by_role(arguments: str, name: str = "get_weather") -> str:
    return f" to=functions.{name}<|channel|>commentary <|constrain|>json<|message|>{arguments}<|call|>"


def final(text: str) -> str:
    return f"<|channel|>final<|message|>{text}<|return|>"


def request(**options: Any) -> Request:
    return Request(model="m", messages=(), **options)


def allows(asked: Request, tokens: list[int]) -> bool:
    grammar = turn_grammar(asked)
    assert grammar is not None
    follower = ConstraintFollower(grammar)
    try:
        follower.feed(tokens)
        follower.finish()
    except BackendError:
        return False
    return True


@pytest.mark.parametrize(
    "asked",
    [
        request(),
        request(tools=(LOOSE,)),
        request(tools=(STRICT,), tool_choice=ToolMode.NONE),
        request(response_format=TextFormat()),
    ],
)
def test_what_is_not_bound_has_no_grammar(asked: Request) -> None:
    assert not binds(asked)
    assert turn_grammar(asked) is None


@pytest.mark.parametrize(
    ("turn", "allowed"),
    [
        (final('{"n":4}'), True),
        (THINK + final('{"n":4}'), True),
        (THINK + PREAMBLE + THINK + final('{"n":4}'), True),
        ('<|channel|>final <|constrain|>json<|message|>{"n":4}<|return|>', True),
        (final('{"n":"4"}'), False),
        (final('{"n":4'), False),
        (final("{}"), False),
        (final('{"n": 4}'), False),  # compact: free whitespace never has to end
        (final('{"n":4} '), False),
        (final("four"), False),
        (THINK + "<|channel|>analysis<|message|>endless", False),
        (call("{}"), False),
        ("four", False),
        ("", False),
    ],
)
def test_a_schema_binds_the_answer_and_leaves_the_analysis_free(ids: Ids, turn: str, allowed: bool) -> None:
    assert allows(request(response_format=ANSWER), ids(turn)) is allowed


@pytest.mark.parametrize(
    ("turn", "allowed"),
    [(final("{}"), True), (final('{"a":[1,{"b":null}]}'), True), (final("[]"), False), (final("1"), False)],
)
def test_a_json_object_is_any_object(ids: Ids, turn: str, allowed: bool) -> None:
    assert allows(request(response_format=JsonObjectFormat()), ids(turn)) is allowed


def test_not_strict_is_enforced_all_the_same(ids: Ids) -> None:
    """OpenAI lets a schema that is not strict be missed; a program has no use for that, and whoever asks gets more."""
    asked = request(response_format=JsonSchemaFormat(name="x", schema=ANSWER.schema, strict=False))
    assert allows(asked, ids(final('{"n":4}')))
    assert not allows(asked, ids(final("{}")))
    with pytest.raises(UnsupportedSchema, match="'not'"):
        turn_grammar(request(response_format=JsonSchemaFormat(name="x", schema={"not": {}}, strict=False)))


@pytest.mark.parametrize(
    ("turn", "allowed"),
    [
        (call('{"city":"Bonn"}'), True),
        (call_by_role('{"city":"Bonn","days":3}'), True),
        (THINK + PREAMBLE + call('{"city":"Bonn"}'), True),
        (THINK + final("Free text, with < and {."), True),
        (call("{}"), False),
        (call('{"city":"Bonn","days":0}'), False),
        (call('{"city":"Bonn","mood":"x"}'), False),
        (call('{"city":"Bonn"}', "get_wether"), False),
        (final("Text that ends in <"), True),
    ],
)
def test_strict_arguments(ids: Ids, turn: str, allowed: bool) -> None:
    assert allows(request(tools=(STRICT,)), ids(turn)) is allowed


def test_beside_a_strict_tool_the_others_stay_loose(ids: Ids) -> None:
    asked = request(tools=(STRICT, FunctionTool(name="loose", parameters=CITY), OTHER))
    assert allows(asked, ids(call('{"anything":[1]}', "loose")))
    assert not allows(asked, ids(call("[1]", "loose")))
    assert allows(asked, ids(call("{}", "get-time")))
    assert not allows(asked, ids(call('{"a":1}', "get-time")))


@pytest.mark.parametrize("choice", [ToolMode.REQUIRED, NamedTool(name="get_weather")])
@pytest.mark.parametrize("tool", [LOOSE, STRICT])
def test_a_tool_that_must_be_called_is_called_by_its_schema(ids: Ids, choice: Any, tool: FunctionTool) -> None:
    asked = request(tools=(OTHER, tool), tool_choice=choice)
    assert allows(asked, ids(THINK + PREAMBLE + call('{"city":"Bonn"}')))
    assert allows(asked, ids(call_by_role('{"city":"Bonn"}')))
    assert not allows(asked, ids(call("{}")))
    assert not allows(asked, ids(THINK + final("No.")))
    assert allows(asked, ids(call("{}", "get-time"))) is (choice is ToolMode.REQUIRED)


def test_a_loose_schema_that_cannot_be_enforced_is_a_description(ids: Ids) -> None:
    tool = FunctionTool(name="f", parameters={"type": "object", "not": {}})
    asked = request(tools=(tool,), tool_choice=ToolMode.REQUIRED)
    assert allows(asked, ids(call('{"a":1}', "f")))
    assert not allows(asked, ids(call("1", "f")))


def test_a_response_format_and_tools_together(ids: Ids) -> None:
    asked = request(tools=(LOOSE,), response_format=ANSWER)
    assert allows(asked, ids(THINK + final('{"n":1}')))
    assert allows(asked, ids(THINK + call('{"any":"object"}')))
    assert not allows(asked, ids(THINK + final("text")))
    assert not allows(asked, ids(THINK + call("text")))


@pytest.mark.parametrize("parallel", [True, False])
def test_a_turn_has_one_call(ids: Ids, parallel: bool) -> None:
    """gpt-oss ends its turn with the call; several calls come in several turns, whatever is allowed."""
    asked = request(tools=(STRICT,), parallel_tool_calls=parallel)
    one = '<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city":"a"}'
    assert allows(asked, ids(one + "<|call|>"))
    assert not allows(asked, ids(f"{one}<|end|><|start|>assistant{one}<|call|>"))


def test_markers_are_text_inside_a_json_string_only(ids: Ids) -> None:
    """llama.cpp has four of them as ordinary text."""
    asked = request(response_format=JsonObjectFormat())
    assert allows(asked, ids('<|channel|>final<|message|>{"a":"<|channel|><|start|>"}<|return|>'))
    assert not allows(asked, ids('<|channel|>final<|message|>{"a":"<|end|>"}<|return|>'))
    assert not allows(asked, ids('<|channel|>final<|message|>{<|channel|>"a":1}<|return|>'))
    assert not allows(
        asked, ids("<|channel|>analysis<|message|>a<|constrain|>b<|end|><|start|>assistant" + final("{}"))
    )


def test_a_marker_cannot_slip_into_free_text_as_its_spelling(ids: Ids) -> None:
    asked = request(response_format=JsonObjectFormat())
    answer = ids("<|end|><|start|>assistant" + final("{}"))
    for opening, slip in (("a <", "|end|>"), ("a <<", "|end|>"), ("<", "<|channel|>"), ("a <<<", "<|start|>")):
        thought = [*ids("<|channel|>analysis<|message|>"), *ids(opening)]
        assert allows(asked, [*thought, *answer])
        assert not allows(asked, [*thought, *ids(slip), *answer])


def test_a_tool_must_be_there_to_be_called() -> None:
    for options in ({"tool_choice": ToolMode.REQUIRED}, {"tools": (LOOSE,), "tool_choice": NamedTool(name="nope")}):
        with pytest.raises(InvalidRequest, match="no such tool") as caught:
            turn_grammar(request(**options))
        assert caught.value.param == "tool_choice"


def test_the_schema_to_blame_is_named() -> None:
    wrong = FunctionTool(
        name="wrong", parameters={"type": "object", "properties": {"x": {"type": "strin"}}}, strict=True
    )
    with pytest.raises(UnsupportedSchema, match="Invalid type: strin") as caught:
        turn_grammar(request(tools=(STRICT, wrong), response_format=ANSWER))
    assert caught.value.param == "tools.wrong.parameters"
    hopeless = FunctionTool(name="hopeless", parameters={"not": {}}, strict=True)
    with pytest.raises(UnsupportedSchema, match="'not'") as caught:
        turn_grammar(request(tools=(STRICT, hopeless)))
    assert caught.value.param == "tools.hopeless.parameters"


@pytest.mark.parametrize("name", ["a", "a-b", "A_1", "x" * 64, "get.it", 'q"uote', "ünï"])
def test_any_name_can_be_written_into_a_grammar(ids: Ids, name: str) -> None:
    asked = request(tools=(FunctionTool(name=name),), tool_choice=ToolMode.REQUIRED)
    assert allows(asked, ids(call("{}", name)))


def test_a_thousand_tools(ids: Ids) -> None:
    tools = tuple(FunctionTool(name=f"tool_{index}", parameters=CITY, strict=True) for index in range(1_000))
    asked = request(tools=tools, tool_choice=ToolMode.REQUIRED)
    assert allows(asked, ids(call('{"city":"Bonn"}', "tool_999")))
    assert not allows(asked, ids(call('{"city":"Bonn"}', "tool_1000")))


FORMATS = [TextFormat(), JsonObjectFormat(), ANSWER]
TOOLS = [(), (LOOSE,), (STRICT,), (STRICT, OTHER)]
CHOICES = [ToolMode.AUTO, ToolMode.NONE, ToolMode.REQUIRED, NamedTool(name="get_weather")]


@pytest.mark.parametrize(("answer", "tools", "choice"), [*itertools.product(FORMATS, TOOLS, CHOICES)])
def test_llguidance_accepts_every_grammar(answer: Any, tools: Any, choice: Any) -> None:
    asked = request(response_format=answer, tools=tools, tool_choice=choice)
    if not tools and choice not in (ToolMode.AUTO, ToolMode.NONE):
        with pytest.raises(InvalidRequest):
            turn_grammar(asked)
        return
    grammar = turn_grammar(asked)
    assert (grammar is not None) is binds(asked)
    if grammar is not None:
        assert llguidance.LLMatcher.validate_grammar(grammar) == ""
