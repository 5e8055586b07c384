"""How a model is run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal, TypeAlias

KvType: TypeAlias = Literal["f16", "q8_0"]
"""How keys and values are kept in the cache: half precision, or 8 bits with a scale for each 32."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """How soon a dead child is replaced. A child that dies young is waited for twice as long as the one before."""

    first_s: float = 0.25
    limit_s: float = 30.0
    stable_after_s: float = 60.0
    """A child that lived this long died of something new."""
    deaths_allowed: int = 5
    """Young deaths in a row after which the model counts as failed: nobody waits for it, `limit_s` between tries."""

    def delay_s(self, deaths: int) -> float:
        """Seconds before the next start, after `deaths` young deaths in a row."""
        return min(self.limit_s, self.first_s * 2.0 ** min(max(deaths - 1, 0), 32))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """Every number is decided; catalog/fit.py computes them from the file and the machine."""

    model_path: Path
    context_length: int
    """Tokens of prompt and answer together that one request may have."""
    slots: int
    """Requests that generate at the same time."""
    queue_limit: int
    batch_tokens: int
    """Prompt tokens computed between two looks at what else there is to do: cancelled requests, other streams."""
    threads: int
    gpu_layers: int
    """-1: as many as fit."""
    prompt_cache_mib: int
    kv_tokens: int | None = None
    """Tokens of KV cache that the slots share. None is enough for all; with less, requests wait for their share."""
    kv_type: KvType = "f16"
    repack: bool = True
    """Whether weights are copied into this CPU's favourite order: faster prompts, slower loading, more memory."""
    chat_template: bool = False
    """Whether the model's own chat template is needed."""
    load_timeout_s: float = 900.0
    silence_timeout_s: float = 600.0
    """A child that says nothing of a request for this long, not even how far the prompt is, hangs and is replaced."""
    slot_folder: Path | None = None
    """Where KV states may be saved."""
    resident_bytes: int | None = None
    """Memory that the child has once it is loaded, to tell how far loading is; None is unknown."""
    restart: RestartPolicy = RestartPolicy()

    @property
    def kv_pool_tokens(self) -> int:
        """Tokens of KV cache that there are."""
        return self.slots * self.context_length if self.kv_tokens is None else max(self.kv_tokens, self.context_length)
