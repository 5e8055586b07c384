"""A chat completion request: bytes → core.Request, or an InvalidRequest that names the field."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import msgspec

from tundish.core.errors import InvalidRequest
from tundish.core.json_value import JsonObject
from tundish.core.request import (
    JsonObjectFormat,
    JsonSchemaFormat,
    ReasoningEffort,
    Request,
    ResponseFormat,
    TextFormat,
)
from tundish.wire import json_body, keep_alive
from tundish.wire.chat_completions import messages, tools
from tundish.wire.sampling import MAX_TOP_LOGPROBS, SamplingFields, choices, sampling, whole_number
from tundish.wire.stream_options import StreamOptions

IGNORED_FIELDS = frozenset(
    [
        "metadata",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
        "verbosity",
    ]
)
"""Published fields that are accepted and change nothing: they speak to OpenAI's own operation, or hint at a style."""

_FORMAT_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class _JsonSchema(msgspec.Struct, kw_only=True):
    name: str
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class _ResponseFormat(msgspec.Struct, kw_only=True):
    type: str
    json_schema: _JsonSchema | None = None


class _Body(SamplingFields, kw_only=True):
    model: str
    messages: list[messages.MessageFields]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    reasoning_effort: str | None = None
    response_format: _ResponseFormat | None = None
    tools: list[tools.ToolFields] | None = None
    tool_choice: str | tools.ToolChoiceFields | None = None
    parallel_tool_calls: bool | None = None
    keep_alive: float | str | None = None
    # Refused by name when they are set: ignoring them would change what the client believes it gets.
    modalities: list[str] | None = None
    audio: Any = None
    prediction: Any = None
    web_search_options: Any = None
    moderation: Any = None
    functions: Any = None
    function_call: Any = None


_BODY = msgspec.json.Decoder(_Body)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ChatCompletionRequest:
    """What is asked, and how the answer is to be delivered."""

    request: Request
    stream: bool = False
    include_usage: bool = False
    """Whether a stream ends with a chunk of usage; a whole answer always has it."""


def decode_request(body: bytes) -> ChatCompletionRequest:
    """Understand a request wholly. Fields that OpenAI does not publish are ignored, null is the same as absent.

    `max_tokens` and `max_completion_tokens` mean the same; the smaller counts when both are sent.

    Raises:
        InvalidRequest: with the path of the field in `param` and what is expected there.
    """
    fields = json_body.decode(body, _BODY)
    _refuse_unsupported(fields)
    if not fields.model:
        raise InvalidRequest("'model' is empty. GET /v1/models lists the names.", param="model")
    offered = tools.decode_tools(fields.tools or ())
    request = Request(
        model=fields.model,
        messages=messages.decode_messages(fields.messages),
        tools=offered,
        tool_choice=tools.decode_choice(fields.tool_choice, offered),
        parallel_tool_calls=fields.parallel_tool_calls is not False,
        response_format=_response_format(fields.response_format),
        reasoning_effort=_reasoning_effort(fields.reasoning_effort),
        sampling=sampling(fields, max_tokens=_max_tokens(fields), top_logprobs=_top_logprobs(fields)),
        n=choices(fields),
        keep_alive_s=keep_alive.decode(fields.keep_alive),
    )
    options = fields.stream_options
    return ChatCompletionRequest(
        request=request,
        stream=bool(fields.stream),
        include_usage=options is not None and bool(options.include_usage),
    )


def _refuse_unsupported(fields: _Body) -> None:
    if fields.modalities is not None and fields.modalities != ["text"]:
        raise InvalidRequest("'modalities' can only be [\"text\"] here.", param="modalities")
    json_body.refuse_fields(
        {
            "audio": (fields.audio, "Answers are text; leave it out."),
            "prediction": (fields.prediction, "Leave it out: the answer is the same without it."),
            "web_search_options": (fields.web_search_options, "Search with a function of your own, sent in 'tools'."),
            "moderation": (fields.moderation, "Nothing is moderated here; do it before and after the call."),
            "functions": (fields.functions, "Send the functions in 'tools', which replaced it."),
            "function_call": (fields.function_call, "Send 'tool_choice', which replaced it."),
        }
    )


def _max_tokens(fields: _Body) -> int | None:
    given = [
        value
        for value in (
            whole_number("max_tokens", fields.max_tokens, 1, None),
            whole_number("max_completion_tokens", fields.max_completion_tokens, 1, None),
        )
        if value is not None
    ]
    return min(given, default=None)


def _top_logprobs(fields: _Body) -> int | None:
    count = whole_number("top_logprobs", fields.top_logprobs, 0, MAX_TOP_LOGPROBS)
    if fields.logprobs:
        return count or 0
    if count:
        raise InvalidRequest("'top_logprobs' needs 'logprobs' to be true.", param="top_logprobs")
    return None


def _reasoning_effort(value: str | None) -> ReasoningEffort | None:
    """What the model was trained for: a level that is quietly replaced by another is a worse answer, unexplained."""
    if value is None:
        return None
    try:
        return ReasoningEffort(value)
    except ValueError:
        levels = ", ".join(f"'{effort.value}'" for effort in ReasoningEffort)
        raise InvalidRequest(
            f"'reasoning_effort' must be one of {levels}, not {json_body.shown(value)}.", param="reasoning_effort"
        ) from None


def _response_format(fields: _ResponseFormat | None) -> ResponseFormat:
    if fields is None or fields.type == "text":
        return TextFormat()
    if fields.type == "json_object":
        return JsonObjectFormat()
    if fields.type != "json_schema":
        raise InvalidRequest(
            "'response_format.type' must be 'text', 'json_object' or 'json_schema', "
            f"not {json_body.shown(fields.type)}.",
            param="response_format.type",
        )
    if fields.json_schema is None:
        raise InvalidRequest(
            "'response_format.json_schema' is required with type 'json_schema'.", param="response_format.json_schema"
        )
    return _json_schema(fields.json_schema)


def _json_schema(fields: _JsonSchema) -> JsonSchemaFormat:
    if not _FORMAT_NAME.fullmatch(fields.name):
        raise InvalidRequest(
            "'response_format.json_schema.name' must be 1 to 64 letters, digits, '_' or '-', "
            f"not {json_body.shown(fields.name)}.",
            param="response_format.json_schema.name",
        )
    schema: JsonObject = fields.schema or {}
    json_body.check_nesting(schema, param="response_format.json_schema.schema")
    return JsonSchemaFormat(name=fields.name, description=fields.description, schema=schema, strict=bool(fields.strict))
