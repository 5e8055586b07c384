"""Each keyword that is accepted is enforced, each that is not is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tundish.core.errors import BackendError, UnsupportedSchema
from tundish.core.request import JsonSchemaFormat, Request
from tundish.harmony import json_schema
from tundish.harmony.constraint import ConstraintFollower
from tundish.harmony.grammar import turn_grammar
from tundish.harmony.vocabulary import O200K_HARMONY


def obeys(schema: dict[str, Any], answer: str) -> bool:
    """Whether a turn with this answer satisfies the grammar of a request with this schema."""
    request = Request(model="m", messages=(), response_format=JsonSchemaFormat(name="x", schema=schema))
    grammar = turn_grammar(request)
    assert grammar is not None
    follower = ConstraintFollower(grammar)
    try:
        follower.feed([200005, 17196, 200008, *O200K_HARMONY().encode(answer), 200002])
    except BackendError:
        return False
    return True


def obj(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


NUMBER, STRING = {"type": "integer"}, {"type": "string"}
TREE = {"$ref": "#/$defs/n", "$defs": {"n": obj(c={"$ref": "#/$defs/n"})}}

# Keyword, schema, an answer that obeys, one that does not.
ENFORCED: list[tuple[str, dict[str, Any], Any, Any]] = [
    ("type", {"type": "integer"}, 1, 1.5),
    ("type", {"type": ["integer", "null"]}, None, "a"),
    ("enum", {"enum": [1, "a", None, {"x": 1}]}, {"x": 1}, 2),
    ("const", {"const": {"a": [1, "x"]}}, {"a": [1, "x"]}, {"a": [1, "y"]}),
    ("anyOf", {"anyOf": [NUMBER, STRING]}, "a", True),
    ("oneOf", {"oneOf": [NUMBER, STRING]}, "a", True),
    ("allOf", {"allOf": [{"type": "integer", "minimum": 2}, {"maximum": 5}]}, 3, 7),
    ("$ref", TREE, {"c": {"c": {}}}, {"d": {}}),
    ("$defs", TREE, {"c": {}}, {"c": 1}),
    ("definitions", {"$ref": "#/definitions/n", "definitions": {"n": NUMBER}}, 1, "a"),
    ("properties", {"type": "object", "properties": {"a": NUMBER}}, {"a": 1}, {"a": "s"}),
    ("required", {"type": "object", "properties": {"a": NUMBER}, "required": ["a"]}, {"a": 1}, {}),
    ("additionalProperties", {"type": "object", "additionalProperties": NUMBER}, {"y": 1}, {"y": "s"}),
    ("additionalProperties", obj(a=NUMBER), {"a": 1}, {"b": 1}),
    ("patternProperties", {"type": "object", "patternProperties": {"^x": NUMBER}}, {"x1": 1}, {"x1": "s"}),
    ("minProperties", {"type": "object", "minProperties": 1}, {"a": 1}, {}),
    ("maxProperties", {"type": "object", "maxProperties": 1}, {"a": 1}, {"a": 1, "b": 2}),
    ("items", {"type": "array", "items": NUMBER}, [1, 2], [1, "a"]),
    ("prefixItems", {"type": "array", "prefixItems": [NUMBER, STRING], "items": False}, [1, "a"], ["a", 1]),
    ("additionalItems", {"type": "array", "items": [NUMBER], "additionalItems": False}, [1], [1, 2]),
    ("minItems", {"type": "array", "items": NUMBER, "minItems": 2}, [1, 2], [1]),
    ("maxItems", {"type": "array", "items": NUMBER, "maxItems": 1}, [1], [1, 2]),
    ("minLength", {"type": "string", "minLength": 3}, "äbc", "äb"),
    ("maxLength", {"type": "string", "maxLength": 3}, "äbc", "abcd"),
    ("pattern", {"type": "string", "pattern": "^a+$"}, "aa", "ab"),
    ("pattern", {"type": "string", "pattern": "a+"}, "bab", "bb"),
    ("minimum", {"type": "integer", "minimum": 3}, 3, 2),
    ("maximum", {"type": "number", "maximum": 1.25}, 1.25, 1.26),
    ("exclusiveMinimum", {"type": "integer", "exclusiveMinimum": 3}, 4, 3),
    ("exclusiveMaximum", {"type": "number", "exclusiveMaximum": 3}, 2.9, 3),
    ("multipleOf", {"type": "integer", "multipleOf": 5}, 10, 7),
    ("multipleOf", {"type": "number", "multipleOf": 0.5}, 1.5, 0.3),
    ("format", {"type": "string", "format": "date"}, "2024-02-28", "2024-13-45"),
    ("format", {"type": "string", "format": "date-time"}, "2024-01-01T00:00:00Z", "2024-01-01"),
    ("format", {"type": "string", "format": "time"}, "10:00:00Z", "10"),
    ("format", {"type": "string", "format": "duration"}, "P1D", "1 day"),
    ("format", {"type": "string", "format": "email"}, "a@b.co", "a"),
    ("format", {"type": "string", "format": "hostname"}, "a.b", "a b"),
    ("format", {"type": "string", "format": "ipv4"}, "1.2.3.4", "300.1.1.1"),
    ("format", {"type": "string", "format": "ipv6"}, "::1", "g::"),
    ("format", {"type": "string", "format": "uuid"}, "123e4567-e89b-12d3-a456-426614174000", "123"),
]


@pytest.mark.parametrize(("keyword", "schema", "good", "bad"), ENFORCED)
def test_what_is_accepted_is_enforced(keyword: str, schema: dict[str, Any], good: Any, bad: Any) -> None:
    assert keyword in json.dumps(schema)
    assert obeys(schema, json.dumps(good, separators=(",", ":"), ensure_ascii=False))
    assert not obeys(schema, json.dumps(bad, separators=(",", ":"), ensure_ascii=False))


def test_every_accepted_keyword_is_shown_above() -> None:
    assert {keyword for keyword, *_ in ENFORCED} == json_schema._ENFORCED
    assert {schema["format"] for keyword, schema, *_ in ENFORCED if keyword == "format"} == json_schema._FORMATS


@pytest.mark.parametrize("keyword", sorted(json_schema._ANNOTATIONS - {"$schema", "$id", "$anchor"}))
def test_annotations_bind_nothing(keyword: str) -> None:
    assert obeys({"type": "integer", keyword: "x"}, "1")


def test_the_schema_may_name_itself() -> None:
    assert obeys(
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://a/b", **obj(a=NUMBER)}, "{}"
    )
    assert obeys({"$ref": "#here", "$defs": {"n": {"$anchor": "here", "type": "integer"}}}, "1")


def check(schema: Any) -> None:
    json_schema.check(schema, param="response_format")


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"not": NUMBER}, "'not' at $ cannot be enforced: say what is allowed instead."),
        (
            {"uniqueItems": True},
            "'uniqueItems' at $ cannot be enforced: it cannot be enforced token by token: check it",
        ),
        ({"if": {}, "then": {}}, "'if' at $ cannot be enforced: use \"anyOf\""),
        ({"nullable": True}, '\'nullable\' at $ cannot be enforced: write "type": ["…", "null"] instead'),
        ({"contains": NUMBER}, "'contains' at $ cannot be enforced: leave it out and check it after parsing."),
        ({"dependentRequired": {}}, "'dependentRequired' at $"),
        ({"propertyNames": {}}, "'propertyNames' at $"),
        ({"$dynamicRef": "#x"}, "'$dynamicRef' at $"),
        ({"contentEncoding": "base64"}, "'contentEncoding' at $"),
        ({"x-guidance": {"lenient": True}}, "'x-guidance' at $"),
        ({"format": "phone"}, "'format' at $ cannot be enforced: known formats are date, date-time, duration, email,"),
        ({"type": "string", "format": "unknown"}, "'format' at $"),  # llguidance would enforce nothing
        ({"type": "string", "format": "uri"}, "'format' at $"),  # only newer llguidances know it
        ({"prefixItems": [NUMBER], "additionalItems": False}, 'write "items" beside "prefixItems" instead'),
        ({"$ref": "https://example.org/x"}, "'$ref' at $ cannot be enforced: only references within the schema"),
        ({"$ref": 3}, "'$ref' at $"),
        ({"pattern": "a" * 2001}, "'pattern' at $ cannot be enforced: a pattern may have 2000 characters."),
        (obj(a={"type": "array", "items": {"anyOf": [{}, {"not": {}}]}}), "'not' at $.properties.a.items.anyOf[1]"),
        ({"$defs": {"n": {"not": {}}}}, "'not' at $.$defs.n"),
        ({"patternProperties": {"^a": {"not": {}}}}, "'not' at $.patternProperties.^a"),
        ({"additionalProperties": {"not": {}}}, "'not' at $.additionalProperties"),
        ({"allOf": [1]}, "At $.allOf[0] a schema (an object, true or false) is expected."),
        ({"properties": {"a": "string"}}, "At $.properties.a a schema"),
        ([], "At $ a schema"),
        ({"type": "array", "maxItems": 1_000_000}, "together may add up to 20000 (passed at $)"),
        (obj(a={"minItems": 11_000}, b={"maxProperties": 11_000}), "together may add up to 20000 (passed at $.prop"),
        ({"enum": list(range(20_001))}, "together may add up to 20000 (passed at $)"),
        ({"multipleOf": 1_000_003}, "'multipleOf' at $ cannot be enforced: all 'multipleOf' together"),
        ({"allOf": [{"multipleOf": 997}, {"multipleOf": 1009}]}, "'multipleOf' at $.allOf"),
        ({"multipleOf": 1e300}, "'multipleOf' at $"),
        ({"multipleOf": 1.2345678901}, "'multipleOf' at $"),
    ],
)
def test_what_cannot_be_enforced_is_refused_by_name(schema: Any, message: str) -> None:
    with pytest.raises(UnsupportedSchema) as caught:
        check(schema)
    assert message in str(caught.value)
    assert caught.value.param == "response_format"
    assert caught.value.code == "unsupported_schema"


def test_extensions_of_others_and_formats_of_numbers_bind_nothing() -> None:
    check({"type": "integer", "format": "int32", "x-order": 3})


@pytest.mark.parametrize("multiple", [1, 0.01, 1000, 2.5, 0, -1, True, "3", 1e-9])
def test_round_multiples_are_accepted_and_nonsense_is_left_to_the_grammar(multiple: Any) -> None:
    check({"multipleOf": multiple})


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = dict(NUMBER)
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


def test_depth_and_size_are_bounded() -> None:
    check(nested(64))
    with pytest.raises(UnsupportedSchema, match="deeper than 64 levels"):
        check(nested(65))
    with pytest.raises(UnsupportedSchema, match="deeper than 100 levels of JSON"):
        check(nested(100_000))
    constant: Any = 1
    for _ in range(100_000):
        constant = [constant]
    with pytest.raises(UnsupportedSchema, match="deeper than 100 levels of JSON"):
        check({"const": constant})
    with pytest.raises(UnsupportedSchema, match="more than 5000 parts"):
        check({"properties": {str(index): {} for index in range(5_001)}})


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "strin"}, "Invalid type: strin"),
        ({"$ref": "#/$defs/n"}, "Pointer '/$defs/n' does not exist"),
        ({"$ref": "#"}, "no JSON satisfies it"),
        ({"type": "string", "pattern": "("}, "a pattern is not understood: unclosed group"),
        ({"type": "string", "pattern": "(?=a)b"}, "a pattern is not understood: look-around"),
        ({"type": "string", "pattern": r"^(a)\1$"}, "a pattern is not understood: backreferences"),
        ({"type": "string", "format": "date", "maxLength": 3}, "no text satisfies its pattern, format and lengths"),
        ({"type": "string", "pattern": "^" + "a?" * 600 + "a" * 600 + "$"}, "its patterns are too complex"),
        ({"oneOf": [NUMBER, {"const": 3}]}, "the cases of 'oneOf' overlap; use 'anyOf'"),
        ({"enum": []}, "Unsatisfiable schema: anyOf is empty"),
        ({"enum": ["\ud800"]}, "unexpected end of hex escape"),
        ({"type": "integer", "minimum": 3, "maximum": 1}, "minimum (3) is greater than maximum (1)"),
        ({"type": "array", "minItems": 3, "maxItems": 1}, "minItems (3) is greater than maxItems (1)"),
        ({"type": "object", "required": ["a"], **obj(b=NUMBER)}, "required property 'a' is unsatisfiable"),
        ({"type": "object", "required": "a"}, "Expected array for 'required'"),
        ({"properties": {"a": NUMBER}, "minProperties": 1}, "min/maxProperties only supported when"),
        (obj(**{f"p{index}": STRING for index in range(800)}), "too many optional properties"),
        ({"type": "integer", "multipleOf": "3"}, "multipleOf"),
    ],
)
def test_what_the_grammar_refuses_is_said_in_a_sentence(schema: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnsupportedSchema) as caught:
        obeys(schema, "")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


BRANCHING = {
    "$ref": "#/$defs/d0",
    "$defs": {
        f"d{level}": {
            "anyOf": [
                obj(a={"$ref": f"#/$defs/d{level + 1}"}),
                {"type": "array", "items": {"$ref": f"#/$defs/d{level + 1}"}},
            ]
        }
        for level in range(30)
    }
    | {"d30": NUMBER},
}


@pytest.mark.parametrize(
    "schema",
    [
        {"enum": [f"word number {index}" for index in range(10_000)]},
        {"type": "string", "maxLength": 2_000_000_000},
        {"type": "array", "items": NUMBER, "maxItems": 9_000},
        {"type": "string", "pattern": "^(a|b)*a(a|b){200}$"},
        {"type": "string", "pattern": "^((a{1,100}){1,100}){1,100}$"},
        {"type": "integer", "multipleOf": 9_973},
        BRANCHING,
    ],
)
def test_large_schemas_compile(schema: dict[str, Any]) -> None:
    """A hang here is the failure."""
    assert not obeys(schema, "")
