from __future__ import annotations

import pytest

from tundish.core.errors import UnsupportedSchema
from tundish.core.json_value import JsonObject
from tundish.engines.llama_cpp import chat_schema


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"format": {"type": "string"}, "multipleOf": {"type": "null"}}},
        {"type": "integer", "minimum": 1, "exclusiveMaximum": 9},
        {"type": "string", "pattern": "^a+$"},
        {"type": "string", "format": "date-time"},
        {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3},
        {"$ref": "#/$defs/a", "$defs": {"a": {"enum": [1, 2], "description": "one or two"}}},
        {
            "allOf": [{"type": "object", "properties": {"a": {"const": 1}}}, {"$ref": "#/$defs/b"}],
            "$defs": {"b": {"type": "object"}},
        },
        {"anyOf": [{"type": "null"}, {"type": "boolean"}]},
    ],
)
def test_what_is_enforced_is_let_through(schema: JsonObject) -> None:
    chat_schema.check(schema, param="response_format")


@pytest.mark.parametrize(
    ("schema", "where"),
    [
        ({"type": "object", "properties": {"a": {"type": "number", "maximum": 1}}}, "'maximum' at \\$.properties.a"),
        ({"minimum": 1}, "'minimum' at \\$"),
        ({"type": "array", "items": {"multipleOf": 2}}, "'multipleOf' at \\$.items"),
        ({"$defs": {"a": {"type": "string", "format": "email"}}, "$ref": "#/$defs/a"}, "'format' at \\$.\\$defs.a"),
        ({"oneOf": [{"type": "string", "pattern": "x$"}]}, "'pattern' at \\$.oneOf"),
        ({"type": "object", "additionalProperties": {"patternProperties": {}}}, "'patternProperties'"),
        ({"anyOf": [{"type": "null"}], "properties": {}}, "'anyOf' at \\$"),
        ({"not": {}}, "'not' at \\$"),
    ],
)
def test_what_would_be_passed_over_is_refused_by_name(schema: JsonObject, where: str) -> None:
    with pytest.raises(UnsupportedSchema, match=where) as caught:
        chat_schema.check(schema, param="response_format")
    assert caught.value.param == "response_format"
