"""How much memory a model takes: what llama.cpp allocates for it, reckoned from the file's facts.

The formulas were checked against llama.cpp's own log and the resident size of its process; tests/integration/engines
does so again. They are upper bounds: what is never touched is counted, too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal, TypeAlias

from tundish.catalog.gguf.facts import GgufFacts

KvType: TypeAlias = Literal["f16", "q8_0"]

KV_BYTES: Mapping[KvType, tuple[int, int]] = {"f16": (1, 2), "q8_0": (32, 34)}
"""Numbers in a block, and its bytes."""

_CELLS_TOGETHER = 256
_PROCESS_BYTES = 56 * 2**20
"""Of an engine's process with an empty model."""
_BYTES_PER_TOKEN_NAME = 460
"""llama.cpp keeps the vocabulary in several tables."""
_CHECKPOINTS = 32
"""Copies that llama.cpp keeps of a slot's windowed or recurrent state, since it cannot be wound back."""
_REPACKED_TYPES: Mapping[str, frozenset[str]] = {
    "x86_64": frozenset({"q4_0", "q4_k", "iq4_nl", "mxfp4"}),
    "arm64": frozenset({"q4_0", "q4_k", "q5_k", "q6_k", "q8_0", "iq4_nl", "mxfp4"}),
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """The memory that a way of running a model takes, in bytes."""

    weights: int
    kv: int
    compute: int
    """Room for one batch of prompt tokens on its way through the layers."""
    engine: int
    """The process, the vocabulary, and what each slot keeps beside its cache."""
    repacked: int = 0
    """A second copy of some weights in an order that this CPU likes better."""
    prompt_cache: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.kv + self.compute + self.engine + self.repacked + self.prompt_cache


def need(facts: GgufFacts, *, context_length: int, slots: int, batch_tokens: int, kv_type: KvType) -> Need:
    """What the model takes with a cache for `slots` requests of `context_length` tokens each, all on the CPU."""
    cells = context_length * slots
    return Need(
        weights=facts.tensor_bytes.total,
        kv=kv_bytes(facts, cells=cells, slots=slots, batch_tokens=batch_tokens, kv_type=kv_type),
        compute=compute_bytes(facts, cells=cells, slots=slots, batch_tokens=batch_tokens),
        engine=engine_bytes(facts, slots=slots, kv_type=kv_type),
    )


def kv_bytes(facts: GgufFacts, *, cells: int, slots: int, batch_tokens: int, kv_type: KvType) -> int:
    """Keys and values of all slots; a layer with a window only keeps the window and what is being computed."""
    return sum(
        _layer_cells(window, cells, slots, batch_tokens) * _cell_bytes(facts, kv_heads, kv_type) * layers
        for (kv_heads, window), layers in _alike(facts).items()
    )


def _alike(facts: GgufFacts) -> Mapping[tuple[int, int | None], int]:
    counts: dict[tuple[int, int | None], int] = {}
    for layer in facts.layers:
        key = (layer.kv_heads, layer.window)
        counts[key] = counts.get(key, 0) + 1
    return counts


def _layer_cells(window: int | None, cells: int, slots: int, batch_tokens: int) -> int:
    kept = cells if window is None else min(cells, window * slots + batch_tokens)
    return -(-kept // _CELLS_TOGETHER) * _CELLS_TOGETHER


def _cell_bytes(facts: GgufFacts, kv_heads: int, kv_type: KvType) -> int:
    """Of one token in one layer."""
    together, size = KV_BYTES[kv_type]
    numbers = kv_heads * (facts.key_length + facts.value_length)
    return -(-numbers // together) * size


def can_quantise_kv(facts: GgufFacts) -> bool:
    """Whether keys and values can be kept in 8 bits: their lengths must be whole blocks."""
    together, _ = KV_BYTES["q8_0"]
    return facts.kv_head_count > 0 and not (facts.key_length % together or facts.value_length % together)


def compute_bytes(facts: GgufFacts, *, cells: int, slots: int, batch_tokens: int) -> int:
    """The attention mask (a half for each pair of cell and token), and the widest point of a layer."""
    windows = {layer.window for layer in facts.layers if layer.window is not None}
    # Without a cache, as in an encoder, tokens only look at their own batch.
    masked = _layer_cells(None, cells if facts.kv_head_count else batch_tokens, slots, batch_tokens)
    masked += sum(_layer_cells(window, cells, slots, batch_tokens) for window in windows)
    width = facts.feed_forward_length
    if facts.expert_count:
        expert_width = facts.expert_feed_forward_length or facts.feed_forward_length
        width = max(width, facts.expert_used_count * max(expert_width, facts.embedding_length))
    numbers = 4 * width + facts.embedding_length + 2 * facts.head_count * facts.key_length
    return batch_tokens * (2 * masked + 4 * numbers)


def engine_bytes(facts: GgufFacts, *, slots: int, kv_type: KvType) -> int:
    """What there is beside weights, cache and computation."""
    logits = 4 * facts.vocabulary_size
    checkpoint = facts.recurrent_state_bytes + sum(
        layer.window * _cell_bytes(facts, layer.kv_heads, kv_type) for layer in facts.layers if layer.window is not None
    )
    per_slot = logits + facts.recurrent_state_bytes + _CHECKPOINTS * checkpoint
    return _PROCESS_BYTES + _BYTES_PER_TOKEN_NAME * facts.vocabulary_size + slots * per_slot


def repacked_bytes(facts: GgufFacts, architecture: str) -> int:
    """What repacking adds: the CPU's favourite order is a copy, and the file's pages stay mapped beside it."""
    types = _REPACKED_TYPES.get(architecture, frozenset())
    return sum(size for kind, size in facts.repackable_bytes.items() if kind in types)
