"""A completions request: bytes → one core.CompletionRequest for each prompt."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import cast

import msgspec

from tundish.core.errors import InvalidRequest
from tundish.core.request import CompletionRequest
from tundish.wire import json_body, keep_alive
from tundish.wire.sampling import MAX_CHOICES, MAX_TOP_LOGPROBS, SamplingFields, choices, sampling, whole_number
from tundish.wire.stream_options import StreamOptions

IGNORED_FIELDS = frozenset(["user"])
"""Published fields that are accepted and change nothing."""

_DEFAULT_MAX_TOKENS = 16
"""OpenAI's own."""


class _Body(SamplingFields, kw_only=True):
    model: str
    prompt: str | list[str | int | list[int]] | None = None
    suffix: str | None = None
    max_tokens: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logprobs: int | None = None
    echo: bool | None = None
    best_of: int | None = None
    keep_alive: float | str | None = None


_BODY = msgspec.json.Decoder(_Body)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CompletionsRequest:
    """What is asked, one request for each prompt, and how the answer is to be delivered."""

    requests: tuple[CompletionRequest, ...]
    stream: bool = False
    include_usage: bool = False


def decode_request(body: bytes) -> CompletionsRequest:
    """Understand a request wholly.

    Raises:
        InvalidRequest: with the path of the field in `param` and what is expected there.
    """
    fields = json_body.decode(body, _BODY)
    if not fields.model:
        raise InvalidRequest("'model' is empty. GET /v1/models lists the names.", param="model")
    n = choices(fields)
    if fields.best_of is not None and fields.best_of > n:
        raise InvalidRequest("'best_of' above 'n' is not supported here. Ask for 'n' and choose.", param="best_of")
    top_logprobs = whole_number("logprobs", fields.logprobs, 0, MAX_TOP_LOGPROBS)
    if fields.echo and top_logprobs is not None:
        raise InvalidRequest("'logprobs' of a prompt that is echoed are not known here. Leave one out.", param="echo")
    prompts = _prompts(fields.prompt)
    if len(prompts) * n > MAX_CHOICES:
        raise InvalidRequest(
            f"{len(prompts)} prompts with 'n' of {n} are more than {MAX_CHOICES} answers. Send several requests.",
            param="prompt",
        )
    max_tokens = whole_number("max_tokens", fields.max_tokens, 1, None) or _DEFAULT_MAX_TOKENS
    drawn = sampling(fields, max_tokens=max_tokens, top_logprobs=top_logprobs)
    keep_alive_s = keep_alive.decode(fields.keep_alive)
    options = fields.stream_options
    return CompletionsRequest(
        requests=tuple(
            CompletionRequest(
                model=fields.model,
                prompt=prompt,
                sampling=drawn,
                n=n,
                echo=bool(fields.echo),
                suffix=fields.suffix or None,
                keep_alive_s=keep_alive_s,
            )
            for prompt in prompts
        ),
        stream=bool(fields.stream),
        include_usage=options is not None and bool(options.include_usage),
    )


def _prompts(prompt: str | list[str | int | list[int]] | None) -> Sequence[str | tuple[int, ...]]:
    """A string, strings, token ids, or arrays of token ids; no prompt is the beginning of a text."""
    if prompt is None or isinstance(prompt, str):
        return [prompt or ""]
    if not prompt:
        raise InvalidRequest("'prompt' is an empty array. Send at least one prompt.", param="prompt")
    kinds = {type(part) for part in prompt}
    if kinds == {str}:
        return cast("list[str]", prompt)
    if kinds == {int}:
        return [_tokens(cast("list[int]", prompt))]
    if kinds == {list}:
        return [_tokens(part) for part in cast("list[list[int]]", prompt)]
    raise InvalidRequest("'prompt' mixes strings, token ids and arrays. Send one kind.", param="prompt")


def _tokens(ids: Sequence[int]) -> tuple[int, ...]:
    wrong = next((token for token in ids if not 0 <= token < 2**31), None)
    if wrong is not None:
        raise InvalidRequest(f"'prompt' has {json_body.shown(wrong)}, which is no token id.", param="prompt")
    return tuple(ids)
