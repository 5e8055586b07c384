"""JSON bodies as typed structs; whatever is wrong with one is an InvalidRequest that names the field."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from tundish.core.errors import InvalidRequest
from tundish.core.json_value import JsonValue

T = TypeVar("T")

MAX_NESTING = 256
"""Levels of objects and arrays in a schema; what is deeper would exhaust the stack of whoever walks it."""

_AT_PATH = re.compile(r"^(?P<problem>.*) - at `(?P<key>key` in `)?\$\.?(?P<path>[^`]*)`$", re.DOTALL)
_EXPECTED = re.compile(r"^Expected `(?P<expected>[^`]*)`, got `(?P<actual>[^`]*)`$")
_MISSING = re.compile(r"^Object missing required field `(?P<field>[^`]*)`$")
_NAMES = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "an array",
    "object": "an object",
    "null": "null",
}


def decode(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """What `body` holds.

    Raises:
        InvalidRequest: not JSON, not UTF-8, nested too deeply, or a field of the wrong type; `param` is its path.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _wrong_field(str(error)) from None
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The body is not valid UTF-8: {error.reason}. Encode the JSON as UTF-8.") from None
    except msgspec.DecodeError as error:
        raise InvalidRequest(_malformed(body, str(error))) from None
    except RecursionError:
        raise InvalidRequest("The body nests objects or arrays too deeply. Flatten it.") from None


def check_nesting(value: JsonValue, *, param: str) -> None:
    """Refuse what nests deeper than `MAX_NESTING`.

    Raises:
        InvalidRequest: it does.
    """
    if not _fits(value, MAX_NESTING):
        raise InvalidRequest(f"'{param}' nests deeper than {MAX_NESTING} levels. Flatten it.", param=param)


def _fits(value: JsonValue, levels: int) -> bool:
    if isinstance(value, dict):
        parts: Iterable[JsonValue] = value.values()
    elif isinstance(value, list):
        parts = value
    else:
        return True
    return levels > 0 and all(_fits(part, levels - 1) for part in parts if isinstance(part, (dict, list)))


def _malformed(body: bytes, problem: str) -> str:
    if not body.strip():
        return "The body is empty. Send a JSON object."
    if problem == "Input data was truncated":
        half_a_pair = ", or a \\u escape is half of a surrogate pair" if b"\\ud" in body.lower() else ""
        return f"The body is not valid JSON: it ends too early{half_a_pair}."
    return f"The body is not valid JSON: {problem.removeprefix('JSON is malformed: ')}."


def _wrong_field(message: str) -> InvalidRequest:
    located = _AT_PATH.match(message)
    problem, path = (located["problem"], located["path"]) if located else (message, "")
    if missing := _MISSING.match(problem):
        field = f"{path}.{missing['field']}" if path else missing["field"]
        return InvalidRequest(f"'{field}' is required.", param=field)
    subject = f"'{path}'" if path else "The body"
    if located and located["key"]:
        subject = f"Each key of {subject}"
    if expected := _EXPECTED.match(problem):
        wanted, actual = _described(expected["expected"]), _described(expected["actual"])
        return InvalidRequest(f"{subject} must be {wanted}, not {actual}.", param=path or None)
    return InvalidRequest(f"{subject} cannot be used: {problem}.", param=path or None)


def _described(types: str) -> str:
    """`str | array | null` → `a string, an array or null`."""
    names = [_NAMES.get(name, name) for name in types.split(" | ")]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def shown(value: object, limit: int = 40) -> str:
    """A value for a message: short, whatever a client has sent."""
    if isinstance(value, int) and abs(value) >= 10**limit:
        return "a number of that size"
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def refuse_fields(fields: Mapping[str, tuple[object, str]]) -> None:
    """Refuse the fields that a client has set and that would otherwise be ignored to its surprise.

    Args:
        fields: name → its value (None is absent) and what to do instead.

    Raises:
        InvalidRequest: for the first that is set.
    """
    for name, (value, advice) in fields.items():
        if value is not None:
            raise InvalidRequest(f"'{name}' is not supported here. {advice}", param=name, code="unsupported_parameter")
