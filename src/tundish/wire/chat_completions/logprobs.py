"""Log probabilities of a chat completion's tokens."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tundish.core.events import Alternative, TokenLogprob
from tundish.wire.logprob import finite


class _Alternative(msgspec.Struct, kw_only=True):
    token: str
    logprob: float
    bytes: list[int] | None = None


class _Token(msgspec.Struct, kw_only=True):
    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: list[_Alternative] | None = None


class LogprobsFields(msgspec.Struct, kw_only=True):
    """`choices[].logprobs`."""

    content: list[_Token] | None = None
    refusal: None = None


def encode_logprobs(tokens: Sequence[TokenLogprob]) -> LogprobsFields | None:
    """None when there are none, which is also how a response without them looks."""
    if not tokens:
        return None
    return LogprobsFields(
        content=[
            _Token(
                token=entry.token,
                logprob=finite(entry.logprob),
                bytes=list(entry.token_bytes),
                top_logprobs=[
                    _Alternative(token=other.token, logprob=finite(other.logprob), bytes=list(other.token_bytes))
                    for other in entry.top
                ],
            )
            for entry in tokens
        ]
    )


def decode_logprobs(fields: LogprobsFields | None) -> tuple[TokenLogprob, ...]:
    """What a server reported."""
    if fields is None:
        return ()
    return tuple(
        TokenLogprob(
            token=entry.token,
            token_bytes=_token_bytes(entry),
            logprob=entry.logprob,
            top=tuple(
                Alternative(token=other.token, token_bytes=_token_bytes(other), logprob=other.logprob)
                for other in entry.top_logprobs or ()
            ),
        )
        for entry in fields.content or ()
    )


def _token_bytes(entry: _Token | _Alternative) -> bytes:
    return entry.token.encode() if entry.bytes is None else bytes(byte & 0xFF for byte in entry.bytes)
