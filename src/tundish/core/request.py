"""What a client asks for, in no wire format.

Every surface (chat completions, responses, …) is parsed into these types, every backend reads them.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import TypeAlias

from tundish.core.json_value import JsonObject


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SystemMessage:
    """Instructions by the API's caller. Harmony renders them as the developer's: its system message is its own."""

    text: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeveloperMessage:
    """Instructions by the API's caller, by its newer name."""

    text: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UserMessage:
    """What the user said."""

    text: str
    name: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call that the model made; `arguments` is the JSON text exactly as generated, which need not be valid."""

    call_id: str
    name: str
    arguments: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AssistantMessage:
    """One earlier turn of the model. Text beside tool calls is a preamble, text alone is the final answer."""

    text: str | None = None
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ToolMessage:
    """The result of the call `call_id`."""

    call_id: str
    text: str


Message: TypeAlias = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FunctionTool:
    """A function the model may call. `parameters` is a JSON Schema object; None means no parameters.

    `strict`: arguments are generated under a grammar of the schema.
    """

    name: str
    description: str | None = None
    parameters: JsonObject | None = None
    strict: bool = False


class ToolMode(enum.Enum):
    """How freely the model chooses among the tools."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NamedTool:
    """The model must call this function."""

    name: str


ToolChoice: TypeAlias = ToolMode | NamedTool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TextFormat:
    """Free text."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JsonObjectFormat:
    """Any JSON object."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JsonSchemaFormat:
    """JSON that satisfies `schema`, enforced while it is generated."""

    name: str
    schema: JsonObject
    description: str | None = None
    strict: bool = True


ResponseFormat: TypeAlias = TextFormat | JsonObjectFormat | JsonSchemaFormat


class ReasoningEffort(enum.Enum):
    """How long gpt-oss thinks before it answers."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are drawn. None means the backend's default for the model (gpt-oss: temperature 1, top_p 1)."""

    temperature: float | None = None
    """0 … 2; 0 is greedy."""
    top_p: float | None = None
    """0 … 1."""
    top_k: int | None = None
    """0 disables it."""
    min_p: float | None = None
    """0 … 1."""
    frequency_penalty: float = 0.0
    """-2 … 2."""
    presence_penalty: float = 0.0
    """-2 … 2."""
    logit_bias: Mapping[int, float] = dataclasses.field(default_factory=dict[int, float])
    """Token id → addend, -100 (never) … 100."""
    seed: int | None = None
    max_tokens: int | None = None
    """Tokens that may be generated, reasoning included; None is up to the context's end."""
    stop: tuple[str, ...] = ()
    """At most four strings; the visible text ends before the first that occurs."""
    top_logprobs: int | None = None
    """None: no log probabilities; 0 … 20: those of the drawn token and of that many alternatives."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A conversation to be continued by `n` independent answers."""

    model: str
    messages: tuple[Message, ...]
    tools: tuple[FunctionTool, ...] = ()
    tool_choice: ToolChoice = ToolMode.AUTO
    parallel_tool_calls: bool = True
    response_format: ResponseFormat = TextFormat()
    reasoning_effort: ReasoningEffort | None = None
    """None is the model's own default."""
    sampling: Sampling = Sampling()
    n: int = 1
    keep_alive_s: float | None = None
    """Seconds that a local model stays loaded after this, infinity for ever; None is up to its deployment."""
    answer_begun: str = ""
    """How the answer begins already: only the rest is generated. For backends that can (`Capabilities.continues`)."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """Raw text (or token ids) to be continued, with no conversation around it."""

    model: str
    prompt: str | tuple[int, ...]
    sampling: Sampling = Sampling()
    n: int = 1
    echo: bool = False
    suffix: str | None = None
    keep_alive_s: float | None = None
    """Seconds that a local model stays loaded after this, infinity for ever; None is up to its deployment."""
