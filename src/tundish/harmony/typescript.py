"""Functions as gpt-oss was trained to read them: TypeScript in the developer message.

Where openai_harmony writes a type it also knows, the text is the same. Where it degrades to `any` ($ref, anyOf, oneOf
with null, const, numbers in enum, arrays without items) or garbles (several lines of description, nested objects), this
does better.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from tundish.core.json_value import JsonObject, JsonValue
from tundish.core.request import FunctionTool
from tundish.harmony.json_schema import nests_deeper_than

_SCALARS = {"string": "string", "number": "number", "integer": "number", "boolean": "boolean", "null": "null"}
_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*\Z")
_INDENT = "    "
MAX_DEPTH = 32
"""Deeper levels are written as `any`: no model reads them, and a hostile schema must not exhaust the stack."""
MAX_TYPES = 50_000
"""Of one request; the rest is `any`. Thirty definitions that each name the next one twice would be a billion types."""


def namespace(tools: Sequence[FunctionTool]) -> str:
    """The `functions` namespace that declares `tools`."""
    budget = _Budget(MAX_TYPES)
    declared = "\n\n".join(_declaration(tool, budget) for tool in tools)
    return f"## functions\n\nnamespace functions {{\n\n{declared}\n\n}} // namespace functions"


class _Budget:
    """How many types may still be written."""

    def __init__(self, types: int) -> None:
        self._types = types

    def spend(self) -> bool:
        """Whether one more may be."""
        self._types -= 1
        return self._types >= 0


def _declaration(tool: FunctionTool, budget: _Budget) -> str:
    lines = list(_comment(tool.description))
    if tool.parameters is None:
        return "\n".join([*lines, f"type {tool.name} = () => any;"])
    writer = _TypeWriter(tool.parameters, budget)
    properties = _object(tool.parameters.get("properties"))
    if properties is None and tool.parameters.get("type") != "object":
        argument = writer.type_of(tool.parameters, 0)
    else:
        argument = "{\n" + "".join(writer.fields(tool.parameters, "", 0)) + "}"
    return "\n".join([*writer.named_types(), *lines, f"type {tool.name} = (_: {argument}) => any;"])


class _TypeWriter:
    """Writes the types of one schema; a recursive `$ref` becomes a named type beside the function."""

    def __init__(self, root: JsonObject, budget: _Budget) -> None:
        self._root = root
        self._budget = budget
        self._open: list[str] = []
        self._recursive: dict[str, str] = {}

    def named_types(self) -> Iterator[str]:
        """A declaration for each type that refers to itself; grows while it is read."""
        written: set[str] = set()
        while pending := [ref for ref in self._recursive if ref not in written]:
            for ref in pending:
                written.add(ref)
                self._open = [ref]
                yield f"type {self._recursive[ref]} = {self.type_of(_resolve(self._root, ref), 0)};"
        self._open = []

    def fields(self, schema: JsonObject, indent: str, depth: int) -> Iterator[str]:
        """One `name: type,` line, with its comments, for each property."""
        required = schema.get("required")
        names: Sequence[JsonValue] = cast("Sequence[JsonValue]", required) if isinstance(required, list | tuple) else ()
        for name, value in (_object(schema.get("properties")) or {}).items():
            field = _object(value) or {}
            for line in (
                *_comment(_text(field.get("title")), gap="description" in field),
                *_comment(_text(field.get("description"))),
            ):
                yield f"{indent}{line}\n"
            for line in _examples(field.get("examples")):
                yield f"{indent}{line}\n"
            default = f" // default: {_literal(field['default'], bare=True)}" if "default" in field else ""
            shown = name if _IDENTIFIER.match(name) else json.dumps(name, ensure_ascii=False)
            optional = "" if name in names else "?"
            yield f"{indent}{shown}{optional}: {self.type_of(field, depth + 1, indent)},{default}\n"

    def type_of(self, schema: JsonObject, depth: int, indent: str = "") -> str:
        """The type expression of `schema`."""
        if depth > MAX_DEPTH or not self._budget.spend():
            return "any"
        text = self._plain_type(schema, depth, indent)
        if schema.get("nullable") is True and "null" not in text.split(" | "):
            return f"{text} | null"
        return text

    def _plain_type(self, schema: JsonObject, depth: int, indent: str) -> str:
        reference = _text(schema.get("$ref"))
        if reference is not None:
            return self._reference(reference, depth, indent)
        if "const" in schema:
            return _literal(schema["const"])
        options = schema.get("enum")
        if isinstance(options, list | tuple):
            return " | ".join(_literal(option) for option in cast("Sequence[JsonValue]", options)) or "never"
        for keyword, joint in (("anyOf", " | "), ("oneOf", " | "), ("allOf", " & ")):
            parts = schema.get(keyword)
            if isinstance(parts, list | tuple):
                return self._combined(cast("Sequence[JsonValue]", parts), joint, depth, indent)
        kinds = schema.get("type")
        if isinstance(kinds, list | tuple):
            types = [self._named(_text(kind), schema, depth, indent) for kind in cast("Sequence[JsonValue]", kinds)]
            return " | ".join(dict.fromkeys(types)) or "any"
        return self._named(_text(kinds), schema, depth, indent)

    def _named(self, kind: str | None, schema: JsonObject, depth: int, indent: str) -> str:
        if kind in _SCALARS:
            return _SCALARS[kind]
        if kind == "array":
            item = self.type_of(_object(schema.get("items")) or {}, depth + 1, indent)
            return f"({item})[]" if " | " in item or " & " in item else f"{item}[]"
        if kind == "object" or "properties" in schema:
            return self._object_type(schema, depth, indent)
        return "any"

    def _object_type(self, schema: JsonObject, depth: int, indent: str) -> str:
        fields = "".join(self.fields(schema, indent + _INDENT, depth))
        if fields:
            return "{\n" + fields + indent + "}"
        values = _object(schema.get("additionalProperties"))
        return f"{{ [key: string]: {self.type_of(values, depth + 1, indent)} }}" if values else "object"

    def _combined(self, parts: Sequence[JsonValue], joint: str, depth: int, indent: str) -> str:
        types = [self.type_of(_object(part) or {}, depth + 1, indent) for part in parts]
        return joint.join(dict.fromkeys(types)) or "any"

    def _reference(self, reference: str, depth: int, indent: str) -> str:
        if reference in self._open:
            return self._recursive.setdefault(reference, _type_name(reference))
        target = _resolve(self._root, reference)
        self._open.append(reference)
        text = self.type_of(target, depth + 1, indent)
        self._open.pop()
        return self._recursive.get(reference, text)


def _resolve(root: JsonObject, reference: str) -> JsonObject:
    """What a local JSON pointer (`#/$defs/Node`) points at; nothing known when it points nowhere."""
    node: JsonValue = root
    if not reference.startswith("#"):
        return {}
    for part in reference[1:].split("/")[1:]:
        node = (_object(node) or {}).get(part.replace("~1", "/").replace("~0", "~"))
    return _object(node) or {}


def _type_name(reference: str) -> str:
    name = re.sub(r"\W", "_", reference.rpartition("/")[2])
    return name if _IDENTIFIER.match(name) else f"T_{name or 'root'}"


def _comment(text: str | None, *, gap: bool = False) -> Iterator[str]:
    if text:
        yield from (f"// {line}".rstrip() for line in text.strip().split("\n"))
        if gap:
            yield "//"


def _examples(examples: JsonValue) -> Iterator[str]:
    if isinstance(examples, list | tuple) and examples:
        yield "// Examples:"
        yield from (f"// - {_literal(example)}" for example in cast("Sequence[JsonValue]", examples))


def _literal(value: JsonValue, *, bare: bool = False) -> str:
    if bare and isinstance(value, str):
        return value.replace("\n", "\\n")
    if nests_deeper_than(value, MAX_DEPTH):
        return "any"
    return json.dumps(value, ensure_ascii=False)


def _object(value: JsonValue) -> JsonObject | None:
    return cast(JsonObject, value) if isinstance(value, Mapping) else None


def _text(value: JsonValue) -> str | None:
    return value if isinstance(value, str) else None
