from __future__ import annotations

import json

import pytest

from tundish.core.errors import BackendError, ContextLengthExceeded, InvalidRequest
from tundish.core.request import Sampling
from tundish.core.tokens import TokenRequest
from tundish.engines.llama_cpp import wire

DEFAULT = Sampling()


def encoded(sampling: Sampling = DEFAULT, *, first: int = 0, **more: object) -> dict[str, object]:
    request = TokenRequest(prompt=(1, 2), sampling=sampling, **more)
    return json.loads(wire.encode_request(request, choices=2, first=first, context_length=512))


def test_the_defaults_are_gpt_oss_and_not_llama_cpps() -> None:
    body = encoded()
    assert (body["temperature"], body["top_p"], body["top_k"], body["min_p"]) == (1.0, 1.0, 0, 0.0)
    assert body["seed"] == -1
    assert body["n_predict"] == -1
    assert body["n"] == 2
    assert "n_probs" not in body
    assert "grammar" not in body


def test_greedy_is_the_likeliest_of_one() -> None:
    assert encoded(Sampling(temperature=0.0, top_k=40))["top_k"] == 1
    assert encoded(Sampling(temperature=0.5, top_k=40))["top_k"] == 40


@pytest.mark.parametrize("seed", [0, 1, -1, 2**31, 2**32 - 1, 2**32 - 2, 2**63])
def test_no_seed_becomes_the_one_that_means_none(seed: int) -> None:
    for first in (0, 1, 127):
        sent = encoded(Sampling(seed=seed), first=first)["seed"]
        assert isinstance(sent, int)
        assert 0 <= sent < 2**32 - 1 - 128


def test_later_choices_have_later_seeds() -> None:
    assert encoded(Sampling(seed=5), first=4)["seed"] == 9


def test_never_is_never() -> None:
    assert encoded(Sampling(logit_bias={7: -100.0, 8: 2.5}))["logit_bias"] == [[7, False], [8, 2.5]]


def test_penalties_look_at_everything() -> None:
    assert "repeat_last_n" not in encoded()
    assert encoded(Sampling(frequency_penalty=0.5))["repeat_last_n"] == 512


def test_probabilities_are_asked_for_when_wanted() -> None:
    assert encoded(Sampling(top_logprobs=0))["n_probs"] == 1
    assert encoded(Sampling(top_logprobs=5))["n_probs"] == 5


def test_overflow_has_both_numbers() -> None:
    body = {"error": {"type": "exceed_context_size_error", "message": "too long", "n_prompt_tokens": 9, "n_ctx": 8}}
    error = wire.failure(400, json.dumps(body).encode())
    assert isinstance(error, ContextLengthExceeded)
    assert (error.prompt_tokens, error.context_length) == (9, 8)


def test_who_is_wrong_follows_the_status() -> None:
    body = b'{"error":{"message":"no such field","type":"x"}}'
    assert isinstance(wire.failure(400, body), InvalidRequest)
    error = wire.failure(500, body)
    assert isinstance(error, BackendError)
    assert "no such field" in error.message
    assert "503" in wire.failure(503, b"<html>").message
