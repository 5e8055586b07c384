"""A receipt: the decision, then what happened."""

from __future__ import annotations

import msgspec


class Attempt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One try at one deployment."""

    deployment: str
    place: str
    outcome: str
    """`ok`, `cancelled`, or an error's code."""
    started_ms: int
    """After the request's arrival."""
    ended_ms: int
    first_token_ms: int | None = None
    bytes_sent: int = 0
    """Of the request, to that place: what left the building, if that place is outside."""
    detail: str = ""
    """The error's message, cut at 300 characters. No text of the prompt or the answer."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A leaf of the log. Holds no prompt and no answer, only salted digests of them."""

    request_id: str
    arrived_us: int
    """Unix time in microseconds."""
    surface: str
    """`chat_completions`, `completions`, …"""
    key_id: str
    project: str = ""
    route: str
    mode: str = ""
    data_class: str
    label_sources: tuple[str, ...] = ()
    policy_version: str
    table_version: str
    judged: msgspec.Raw = msgspec.Raw(b"[]")
    """The decision's judgements as JSON: encoded once for all requests that share them."""
    attempts: tuple[Attempt, ...] = ()
    deployment: str = ""
    """Who gave the answer (the last, when several did); empty when nobody did."""
    place: str = ""
    model: str = ""
    model_hash: str = ""
    """SHA-256 of the weights where they are ours to know."""
    outcome: str
    """`ok`, `cancelled` (the client left) or an error's code."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    cost_nano_usd: int | None = None
    """None: the price or the usage is unknown."""
    baseline_nano_usd: int | None = None
    """What the route's baseline deployment would have cost; None without one."""
    duration_ms: int
    first_token_ms: int | None = None
    bytes_out: int = 0
    """Of the answer, to the client."""
    request_digest: str
    """Hexadecimal HMAC-SHA-256 of the client's body under this receipt's salt."""
    answer_digest: str
    """Likewise of the body bytes that the client was given (of a stream: up to its end or cut)."""
    shadow_of: str = ""
    """The request that this one mirrors; its answer went to nobody."""
