"""The fields of a request that say how tokens are drawn; chat completions and completions share them."""

from __future__ import annotations

import msgspec

from tundish.core.errors import InvalidRequest
from tundish.core.json_value import JsonObject, JsonValue
from tundish.core.request import Sampling
from tundish.wire.json_body import shown

MAX_CHOICES = 128
MAX_STOP_STRINGS = 4
MAX_TOP_LOGPROBS = 20
_MAX_TOKEN_ID = 2**31 - 1
_SEEDS = (-(2**63), 2**63 - 1)


class SamplingFields(msgspec.Struct, kw_only=True):
    """As published by OpenAI, and `top_k` and `min_p` by the names that every local server gives them."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[int, float] | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    n: int | None = None


def sampling(fields: SamplingFields, *, max_tokens: int | None, top_logprobs: int | None) -> Sampling:
    """How to draw, each number within its published range.

    Raises:
        InvalidRequest: for the first that is not.
    """
    return Sampling(
        temperature=number("temperature", fields.temperature, 0, 2),
        top_p=number("top_p", fields.top_p, 0, 1),
        top_k=_top_k(fields.top_k),
        min_p=number("min_p", fields.min_p, 0, 1),
        frequency_penalty=number("frequency_penalty", fields.frequency_penalty, -2, 2) or 0.0,
        presence_penalty=number("presence_penalty", fields.presence_penalty, -2, 2) or 0.0,
        logit_bias=_logit_bias(fields.logit_bias),
        seed=whole_number("seed", fields.seed, *_SEEDS),
        max_tokens=max_tokens,
        stop=_stop(fields.stop),
        top_logprobs=top_logprobs,
    )


def encode_sampling(wanted: Sampling) -> JsonObject:
    """The shared fields of a request that asks for `wanted`; what is at its default is left out."""
    fields: dict[str, JsonValue] = {
        "temperature": wanted.temperature,
        "top_p": wanted.top_p,
        "top_k": wanted.top_k,
        "min_p": wanted.min_p,
        "frequency_penalty": wanted.frequency_penalty or None,
        "presence_penalty": wanted.presence_penalty or None,
        "logit_bias": {str(token): bias for token, bias in wanted.logit_bias.items()} or None,
        "seed": wanted.seed,
        "stop": wanted.stop or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def choices(fields: SamplingFields) -> int:
    """How many independent answers are wanted.

    Raises:
        InvalidRequest: none, or too many.
    """
    return whole_number("n", fields.n, 1, MAX_CHOICES) or 1


def whole_number(name: str, value: int | None, low: int, high: int | None) -> int | None:
    """`value` when it is within bounds, None when it is absent.

    Raises:
        InvalidRequest: it is out of bounds.
    """
    if value is None or (low <= value and (high is None or value <= high)):
        return value
    bounds = f"at least {low}" if high is None else f"from {low} to {high}"
    raise InvalidRequest(f"'{name}' must be {bounds}, not {shown(value)}.", param=name)


def number(name: str, value: float | None, low: float, high: float) -> float | None:
    """`value` when it is within bounds, None when it is absent.

    Raises:
        InvalidRequest: it is out of bounds.
    """
    if value is None or low <= value <= high:
        return value
    raise InvalidRequest(f"'{name}' must be from {low} to {high}, not {shown(value)}.", param=name)


def _top_k(value: int | None) -> int | None:
    return whole_number("top_k", 0 if value == -1 else value, 0, None)  # -1 is how vLLM's clients disable it


def _logit_bias(value: dict[int, float] | None) -> dict[int, float]:
    for token, bias in (value or {}).items():
        if not 0 <= token <= _MAX_TOKEN_ID:
            raise InvalidRequest(f"'logit_bias' has {shown(token)}, which is no token id.", param="logit_bias")
        number(f"logit_bias.{token}", bias, -100, 100)
    return value or {}


def _stop(value: str | list[str] | None) -> tuple[str, ...]:
    strings = (value,) if isinstance(value, str) else tuple(value or ())
    if len(strings) > MAX_STOP_STRINGS:
        raise InvalidRequest(f"'stop' takes at most {MAX_STOP_STRINGS} strings, not {len(strings)}.", param="stop")
    if "" in strings:
        raise InvalidRequest("'stop' has an empty string, which would end every answer at once.", param="stop")
    return strings
