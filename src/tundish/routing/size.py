"""How large a request is, as far as a decision cares."""

from __future__ import annotations

from tundish.routing.decision import Ask

_EXACT_BITS = 4
_PROMISED_ANSWER_TOKENS = 1_024


def rounded_up(tokens: int) -> int:
    """To the next of eight steps for each doubling: at most an eighth more, and exact up to 16.

    Estimates are of the rounded size, so that requests of about the same size share them.
    """
    if tokens <= 1 << _EXACT_BITS:
        return max(0, tokens)
    shift = (tokens - 1).bit_length() - _EXACT_BITS
    return -(-tokens >> shift) << shift


def context_need(ask: Ask) -> int:
    """Tokens of context that must be there: the prompt, and as much of the answer as can be relied on.

    That is what is expected, or up to 1 024 tokens of what was asked for. Clients often ask for as much as a model
    could ever say; that alone is no reason to refuse a deployment.
    """
    expected = max(1, ask.expected_output_tokens)
    if ask.max_output_tokens is None:
        return ask.prompt_tokens + expected
    return ask.prompt_tokens + min(ask.max_output_tokens, max(expected, _PROMISED_ANSWER_TOKENS))


def answer_tokens(ask: Ask) -> int:
    """Tokens that the answer will have, by expectation; what cost and time are estimated with."""
    if ask.max_output_tokens is None:
        return ask.expected_output_tokens
    return min(ask.expected_output_tokens, ask.max_output_tokens)
