"""Which JSON Schemas are enforced when llama-server writes the grammar: fewer than where we write it ourselves.

Its converter passes over what it does not know in silence. What it passes over is refused here by name; each refusal
was seen to be needed, with a model that says anything that the grammar lets it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from tundish.core.errors import UnsupportedSchema
from tundish.core.json_value import JsonObject, JsonValue
from tundish.harmony import json_schema

_IGNORED = frozenset(
    ["multipleOf", "patternProperties", "minProperties", "maxProperties", "additionalItems", "prefixItems"]
)
_BOUNDS = frozenset(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"])
_FORMATS = frozenset(["date", "date-time", "uuid"])
_ALONE = frozenset(["$ref", "anyOf", "oneOf", "allOf", "enum", "const"])
_BESIDE = frozenset(["type", "$defs", "definitions", "title", "description", "default", "examples"])
_MAPS = ("properties", "$defs", "definitions")
_LISTS = ("anyOf", "oneOf", "allOf")
_SINGLE = ("items", "additionalProperties")


def check(schema: JsonObject, *, param: str) -> None:
    """Refuse `schema` when anything in it would not be enforced.

    Raises:
        UnsupportedSchema: names the keyword and where it stands.
    """
    json_schema.check(schema, param=param)
    pending: list[tuple[str, JsonValue]] = [("$", schema)]
    while pending:
        path, node = pending.pop()
        if isinstance(node, Mapping):
            part = cast(JsonObject, node)
            keyword = _not_enforced(part)
            if keyword is not None:
                raise UnsupportedSchema(
                    f"The JSON Schema keyword '{keyword}' at {path[:200]} cannot be enforced with this model. "
                    "Leave it out and check it after parsing, or use gpt-oss, for which it is enforced.",
                    param=param,
                )
            pending.extend(_parts(part, path))


def _not_enforced(schema: JsonObject) -> str | None:
    for keyword, value in schema.items():
        if keyword in _IGNORED:
            return keyword
        if keyword in _BOUNDS and schema.get("type") != "integer":
            return keyword
        if keyword == "format" and value not in _FORMATS:
            return keyword
        if keyword == "pattern" and not (isinstance(value, str) and value.startswith("^") and value.endswith("$")):
            return keyword
        if keyword == "allOf" and not all(_is_object(part) for part in cast("Sequence[JsonValue]", value)):
            return keyword
    alone = _ALONE & schema.keys()
    if alone and (len(alone) > 1 or schema.keys() - alone - _BESIDE):
        # The converter takes the first of them that it looks for and never sees what stands beside it.
        return min(alone)
    return None


def _is_object(part: JsonValue) -> bool:
    return isinstance(part, Mapping) and ("$ref" in part or part.get("type") == "object")


def _parts(schema: JsonObject, path: str) -> Iterator[tuple[str, JsonValue]]:
    for keyword in _MAPS:
        value = schema.get(keyword)
        if isinstance(value, Mapping):
            yield from ((f"{path}.{keyword}.{name}", part) for name, part in cast(JsonObject, value).items())
    for keyword in _LISTS:
        value = schema.get(keyword)
        if isinstance(value, list | tuple):
            yield from ((f"{path}.{keyword}", part) for part in cast("Sequence[JsonValue]", value))
    for keyword in _SINGLE:
        if keyword in schema:
            yield f"{path}.{keyword}", schema[keyword]
