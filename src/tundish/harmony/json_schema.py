"""Which JSON Schemas can be enforced while a model generates. What cannot is refused by name, never ignored."""

from __future__ import annotations

import decimal
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from tundish.core.errors import UnsupportedSchema
from tundish.core.json_value import JsonObject, JsonValue

MAX_DEPTH = 64
MAX_SCHEMAS = 5_000
MAX_NESTING = 100
"""Levels of JSON, a schema's constants and examples included: everything that writes or reads it recurses."""
MAX_COUNT = 20_000
"""Of all `minItems`, `maxItems` and their like and of all `enum` values together: a grammar has rules for each, and a
million took 39 seconds."""
MAX_PATTERN_CHARACTERS = 2_000
MAX_MULTIPLE = 10_000
"""Of the least common multiple of all `multipleOf`, their decimal points left out: an automaton has a state for each
remainder, and a prime of seven digits kept llguidance busy for ten seconds."""

# llguidance enforces these (tests/unit/harmony/test_json_schema.py shows each).
_ENFORCED = frozenset(
    [
        "type",
        "enum",
        "const",
        "anyOf",
        "oneOf",
        "allOf",
        "$ref",
        "$defs",
        "definitions",
        "properties",
        "required",
        "additionalProperties",
        "patternProperties",
        "minProperties",
        "maxProperties",
        "items",
        "prefixItems",
        "additionalItems",
        "minItems",
        "maxItems",
        "minLength",
        "maxLength",
        "pattern",
        "format",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
    ]
)
_ANNOTATIONS = frozenset(
    [
        "title",
        "description",
        "default",
        "examples",
        "example",
        "deprecated",
        "readOnly",
        "writeOnly",
        "$schema",
        "$id",
        "$comment",
        "$anchor",
    ]
)
_FORMATS = frozenset(["date", "date-time", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"])
"""OpenAI's list, too. Newer llguidances know `uri`, the one in llama.cpp does not."""
_COUNTS = ("minItems", "maxItems", "minProperties", "maxProperties")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_MAPS = ("properties", "patternProperties", "$defs", "definitions")
_SINGLE = ("items", "additionalProperties", "additionalItems")
_INSTEAD = {
    "nullable": 'write "type": ["…", "null"] instead',
    "not": "say what is allowed instead",
    "uniqueItems": "it cannot be enforced token by token: check it after parsing",
    "if": 'use "anyOf" with one schema for each case',
}


def check(schema: JsonValue, *, param: str) -> None:
    """Refuse `schema` when anything in it could not be enforced.

    Args:
        schema: the JSON Schema, as parsed.
        param: the request's field, for the error.

    Raises:
        UnsupportedSchema: names the keyword and where it stands.
    """
    check_nesting(schema, param=param)
    pending: list[tuple[str, JsonValue, int]] = [("$", schema, 0)]
    seen, multiple, counted = 0, 1, 0
    while pending:
        path, node, depth = pending.pop()
        seen += 1
        if depth > MAX_DEPTH or seen > MAX_SCHEMAS:
            raise UnsupportedSchema(
                f"The schema nests deeper than {MAX_DEPTH} levels or has more than {MAX_SCHEMAS} parts "
                f"(at {path[:200]}). Simplify it.",
                param=param,
            )
        if isinstance(node, bool):
            continue
        if not isinstance(node, Mapping):
            raise UnsupportedSchema(f"At {path[:200]} a schema (an object, true or false) is expected.", param=param)
        _check_keywords(cast(JsonObject, node), path, param)
        multiple = math.lcm(multiple, _digits(node.get("multipleOf")))
        if multiple > MAX_MULTIPLE:
            raise UnsupportedSchema(
                f"'multipleOf' at {path[:200]} cannot be enforced: all 'multipleOf' together may have a least common "
                f"multiple of {MAX_MULTIPLE}. Use a rounder number, or check it after parsing.",
                param=param,
            )
        counted += _counted(cast(JsonObject, node))
        if counted > MAX_COUNT:
            raise UnsupportedSchema(
                f"The schema cannot be enforced: its {', '.join(_COUNTS)} and 'enum' values together may add up to "
                f"{MAX_COUNT} (passed at {path[:200]}). Leave out the large ones.",
                param=param,
            )
        pending.extend((where, part, depth + 1) for where, part in _parts(cast(JsonObject, node), path))


def check_nesting(value: JsonValue, *, param: str) -> None:
    """Refuse JSON that is nested too deeply to be written out.

    Raises:
        UnsupportedSchema: deeper than `MAX_NESTING` levels.
    """
    if nests_deeper_than(value, MAX_NESTING):
        raise UnsupportedSchema(f"The schema nests deeper than {MAX_NESTING} levels of JSON. Simplify it.", param=param)


def nests_deeper_than(value: JsonValue, levels: int) -> bool:
    """Whether `value` has more than `levels` levels; takes no stack itself."""
    pending: list[tuple[JsonValue, int]] = [(value, 0)]
    while pending:
        node, level = pending.pop()
        if isinstance(node, str) or not isinstance(node, Mapping | Sequence):
            continue
        if level >= levels:
            return True
        parts = cast(JsonObject, node).values() if isinstance(node, Mapping) else cast("Sequence[JsonValue]", node)
        pending.extend((part, level + 1) for part in parts)
    return False


def _counted(schema: JsonObject) -> int:
    options = schema.get("enum")
    values = len(options) if isinstance(options, list | tuple) else 0
    return values + sum(count for keyword in _COUNTS if isinstance(count := schema.get(keyword), int) and count > 0)


def _digits(multiple_of: JsonValue) -> int:
    """2.5 → 25, 300 → 300: the whole number that an automaton counts in; 1 when there is none."""
    if isinstance(multiple_of, bool) or not isinstance(multiple_of, int | float) or not 0 < multiple_of < math.inf:
        return 1
    number = decimal.Decimal(str(multiple_of))
    while number != int(number):
        number *= 10
    return int(number)


def _check_keywords(schema: JsonObject, path: str, param: str) -> None:
    for keyword, value in schema.items():
        if keyword in _ANNOTATIONS or (keyword.startswith("x-") and keyword != "x-guidance"):
            continue
        hint = None if keyword in _ENFORCED else _INSTEAD.get(keyword, "leave it out and check it after parsing")
        hint = hint or _objection(schema, keyword, value)
        if hint:
            raise UnsupportedSchema(
                f"The JSON Schema keyword '{keyword[:100]}' at {path[:200]} cannot be enforced: {hint}.",
                param=param,
            )


def _objection(schema: JsonObject, keyword: str, value: JsonValue) -> str | None:
    """Why this use of an enforced keyword is not enforced; llguidance would pass over some of them in silence."""
    if keyword == "format" and value not in _FORMATS and schema.get("type", "string") == "string":
        return f"known formats are {', '.join(sorted(_FORMATS))}"
    if keyword == "additionalItems" and not isinstance(schema.get("items"), list | tuple):
        return 'write "items" beside "prefixItems" instead'
    if keyword == "pattern" and isinstance(value, str) and len(value) > MAX_PATTERN_CHARACTERS:
        return f"a pattern may have {MAX_PATTERN_CHARACTERS} characters"
    if keyword == "$ref" and not (isinstance(value, str) and value.startswith("#")):
        return 'only references within the schema, as "#/$defs/name", are followed'
    return None


def _parts(schema: JsonObject, path: str) -> Iterator[tuple[str, JsonValue]]:
    for keyword in _LISTS:
        value = schema.get(keyword)
        if isinstance(value, list | tuple):
            for index, part in enumerate(cast("Sequence[JsonValue]", value)):
                yield f"{path}.{keyword}[{index}]", part
    for keyword in _MAPS:
        value = schema.get(keyword)
        if isinstance(value, Mapping):
            for name, part in cast(JsonObject, value).items():
                yield f"{path}.{keyword}.{name}", part
    for keyword in _SINGLE:
        value = schema.get(keyword)
        if isinstance(value, list | tuple):  # draft 4's form of prefixItems
            for index, part in enumerate(cast("Sequence[JsonValue]", value)):
                yield f"{path}.{keyword}[{index}]", part
        elif value is not None:
            yield f"{path}.{keyword}", value
