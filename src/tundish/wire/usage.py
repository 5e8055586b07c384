"""Token counts as both completions formats write them."""

from __future__ import annotations

import msgspec

from tundish.core.events import Usage


class _PromptDetails(msgspec.Struct, kw_only=True):
    cached_tokens: int | None = None


class _CompletionDetails(msgspec.Struct, kw_only=True):
    reasoning_tokens: int | None = None


class UsageFields(msgspec.Struct, kw_only=True):
    """OpenAI's `usage`; other servers leave the details out."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


def encode_usage(usage: Usage) -> UsageFields:
    """`usage` for a response."""
    return UsageFields(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
        prompt_tokens_details=_PromptDetails(cached_tokens=usage.cached_tokens),
        completion_tokens_details=_CompletionDetails(reasoning_tokens=usage.reasoning_tokens),
    )


def decode_usage(fields: UsageFields | None) -> Usage:
    """What a server reported; zeros for what it did not."""
    if fields is None:
        return Usage(prompt_tokens=0, completion_tokens=0)
    prompt, completion = fields.prompt_tokens_details, fields.completion_tokens_details
    return Usage(
        prompt_tokens=fields.prompt_tokens,
        completion_tokens=fields.completion_tokens,
        cached_tokens=(prompt.cached_tokens or 0) if prompt else 0,
        reasoning_tokens=(completion.reasoning_tokens or 0) if completion else 0,
    )
