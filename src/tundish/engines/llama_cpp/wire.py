"""What goes over the loopback: llama-server's `/completion`, in typed pieces."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tundish.core.errors import BackendError, ContextLengthExceeded, InvalidRequest, TundishError
from tundish.core.request import CompletionRequest, Sampling
from tundish.core.tokens import TokenProbability, TokenRequest

_NEVER = -100.0
_SEEDS = 2**32 - 4096
"""llama.cpp draws a seed of its own for 2**32 - 1, and counts upwards from the given one for further choices."""


class _Alternative(msgspec.Struct, frozen=True):
    id: int
    logprob: float


class _Probability(msgspec.Struct, frozen=True):
    id: int
    logprob: float
    top_logprobs: list[_Alternative] = []


class _Timings(msgspec.Struct, frozen=True):
    cache_n: int = 0


class Progress(msgspec.Struct, frozen=True):
    """How far the prompt is, in tokens."""

    total: int = 0
    cache: int = 0
    processed: int = 0


class Failure(msgspec.Struct, frozen=True):
    """llama-server's error object."""

    message: str = ""
    type: str = ""
    n_prompt_tokens: int = 0
    n_ctx: int = 0


class Event(msgspec.Struct, frozen=True):
    """One line of the stream."""

    index: int = 0
    id_slot: int = -1
    """Where it was computed; told at the end."""
    content: str = ""
    tokens: list[int] = []
    """Without those that end within a character: their text comes with the token that completes it, their ids never."""
    stop: bool = False
    stop_type: str = ""
    tokens_predicted: int = 0
    timings: _Timings = _Timings()
    completion_probabilities: list[_Probability] = []
    prompt_progress: Progress | None = None
    """Set in events that say only how far the prompt is; their `tokens` are not tokens."""
    error: Failure | None = None


class _FailureBody(msgspec.Struct, frozen=True):
    error: Failure


class Tokens(msgspec.Struct, frozen=True):
    """The answer of `/tokenize`."""

    tokens: list[int]


class Slot(msgspec.Struct, frozen=True):
    """One entry of `/slots`."""

    id: int
    is_processing: bool


class SlotAction(msgspec.Struct, frozen=True):
    """The answer to saving or restoring a slot: how many tokens it holds."""

    n_saved: int = 0
    n_restored: int = 0


decode_event = msgspec.json.Decoder(Event).decode
decode_tokens = msgspec.json.Decoder(Tokens).decode
decode_slots = msgspec.json.Decoder(list[Slot]).decode
decode_slot_action = msgspec.json.Decoder(SlotAction).decode

_RESPONSE_FIELDS = (
    "index",
    "id_slot",
    "tokens",
    "stop",
    "stop_type",
    "tokens_predicted",
    "timings",
    "completion_probabilities",
)
"""Of the last event, which else repeats the whole prompt and every setting."""


def encode_prefill(ids: Sequence[int], *, slot: int = -1, stream: bool = True) -> bytes:
    """The body that asks for `ids` to be computed and for nothing after them, in `slot` (-1: in any)."""
    return msgspec.json.encode(
        {
            "prompt": ids,
            "id_slot": slot,
            "n_predict": 0,
            "temperature": 0.0,
            "top_k": 1,
            "stream": stream,
            "return_progress": stream,
            "cache_prompt": True,
            "response_fields": _RESPONSE_FIELDS,
        }
    )


def encode_request(request: TokenRequest, *, choices: int, first: int, context_length: int, slot: int = -1) -> bytes:
    """The body that asks for `choices` of the request's choices, from number `first`, in `slot` (-1: in any)."""
    sampling = request.sampling
    body: dict[str, object] = {
        "prompt": request.prompt if isinstance(request.prompt, list) else list(request.prompt),
        "n": choices,
        "id_slot": slot,
        "stream": True,
        "return_tokens": True,
        "return_progress": True,  # a long prompt is not silent, and a client that goes is noticed after each batch
        "cache_prompt": True,
        "n_predict": -1 if sampling.max_tokens is None else sampling.max_tokens,
        "response_fields": _RESPONSE_FIELDS,
        **encode_sampling(sampling, first, context_length),
    }
    if sampling.top_logprobs is not None:
        body["n_probs"] = max(1, sampling.top_logprobs)
    if request.grammar is not None:
        body["grammar"] = request.grammar
    return msgspec.json.encode(body)


def encode_completion(request: CompletionRequest, *, choices: int, first: int, context_length: int) -> bytes:
    """The body that asks `/v1/completions` for `choices` of the request's choices, from number `first`."""
    sampling = request.sampling
    body: dict[str, object] = {
        "prompt": request.prompt,
        "n": choices,
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,
        "cache_prompt": True,
        "max_tokens": -1 if sampling.max_tokens is None else sampling.max_tokens,
        **encode_sampling(sampling, first, context_length),
    }
    if sampling.top_logprobs is not None:
        body["logprobs"] = max(1, sampling.top_logprobs)
    return msgspec.json.encode(body)


def encode_sampling(sampling: Sampling, first: int, context_length: int) -> dict[str, object]:
    """How tokens are drawn, in llama-server's names: each, since its defaults (top_k 40, top_p .95) are not ours."""
    greedy = sampling.temperature is not None and sampling.temperature <= 0
    fields: dict[str, object] = {
        "temperature": 1.0 if sampling.temperature is None else sampling.temperature,
        "top_p": 1.0 if sampling.top_p is None else sampling.top_p,
        # The likeliest token is the likeliest of one: with 200 000 tokens this saves a millisecond each time.
        "top_k": 1 if greedy else sampling.top_k or 0,
        "min_p": sampling.min_p or 0.0,
        "typical_p": 1.0,
        "repeat_penalty": 1.0,
        "seed": -1 if sampling.seed is None else (sampling.seed + first) % _SEEDS,
        "logit_bias": [[token, False if bias <= _NEVER else bias] for token, bias in sampling.logit_bias.items()],
    }
    if sampling.frequency_penalty or sampling.presence_penalty:
        fields["frequency_penalty"] = sampling.frequency_penalty
        fields["presence_penalty"] = sampling.presence_penalty
        fields["repeat_last_n"] = context_length  # the whole text so far
    return fields


def probabilities(event: Event, wanted: int | None) -> tuple[TokenProbability, ...]:
    """The log probabilities of an event's tokens, with at most `wanted` alternatives."""
    if wanted is None:
        return ()
    return tuple(
        TokenProbability(entry.id, entry.logprob, tuple((top.id, top.logprob) for top in entry.top_logprobs[:wanted]))
        for entry in event.completion_probabilities
    )


def failure(status: int, body: bytes) -> TundishError:
    """The error that a response other than 200 tells."""
    try:
        error = msgspec.json.decode(body, type=_FailureBody).error
    except msgspec.DecodeError:
        return BackendError(f"llama.cpp answered {status} without a reason.")
    return error_of(error, caller_is_wrong=status == 400)


def error_of(error: Failure, *, caller_is_wrong: bool = False) -> TundishError:
    """llama-server's error as ours."""
    if error.type == "exceed_context_size_error":
        return ContextLengthExceeded(prompt_tokens=error.n_prompt_tokens, context_length=error.n_ctx)
    reason = error.message or error.type or "it gave no reason"
    if caller_is_wrong:
        return InvalidRequest(f"The model's engine refuses the request: {reason}")
    return BackendError(f"The model's engine failed: {reason}")
