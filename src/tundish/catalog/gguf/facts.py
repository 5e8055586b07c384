"""What a GGUF file holds: read and checked in Python before any engine sees it.

`read(path)` takes about 0.2 s for a vocabulary of 200 000 tokens, whatever the size of the weights. Where it returns,
llama.cpp loads the file or refuses it in words; it does not abort on it.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path

from tundish.catalog.gguf import rules
from tundish.catalog.gguf.format import FILE_TYPES
from tundish.catalog.gguf.model import GgufModel, read_model

_WINDOW_PERIODS: Mapping[str, int] = {
    "gpt-oss": 2,
    "gemma2": 2,
    "gemma3": 6,
    "gemma3n": 5,
    "cohere2": 4,
    "exaone4": 4,
    "llama4": 4,
    "olmo2": 4,
    "smallthinker": 4,
}
"""Of so many layers, all but one look back no further than the sliding window, where the file does not say which."""

_ENCODERS = frozenset(
    {
        "bert",
        "eurobert",
        "jina-bert-v2",
        "jina-bert-v3",
        "modern-bert",
        "neo-bert",
        "nomic-bert",
        "nomic-bert-moe",
        "t5encoder",
        "gemma-embedding",
        "llama-embed",
    }
)
"""Architectures that only make embeddings."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LayerFacts:
    """What one layer keeps in memory for each token."""

    kv_heads: int
    """0: a layer without attention; it keeps a state of fixed size instead."""
    window: int | None
    """Tokens that it looks back; None is all of them."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TensorBytes:
    """Where the weights' bytes are."""

    experts: int
    attention: int
    feed_forward: int
    embedding: int
    output: int
    other: int

    @property
    def total(self) -> int:
        """All weights."""
        return sum((self.experts, self.attention, self.feed_forward, self.embedding, self.output, self.other))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GgufFacts:
    """A model as its file describes it. Lengths are in tokens, widths in numbers, sizes in bytes."""

    parts: tuple[Path, ...]
    """The file, or all of a split one; llama.cpp is given the first."""
    architecture: str
    name: str
    quantisation: str
    """Of most of the weights: `mxfp4`, `q4_k_m`."""
    context_length: int
    """The longest that the model was made for."""
    block_count: int
    layers: tuple[LayerFacts, ...]
    embedding_length: int
    head_count: int
    key_length: int
    value_length: int
    recurrent_state_bytes: int
    """For each sequence, whatever its length; 0 without recurrent layers."""
    vocabulary_size: int
    feed_forward_length: int
    expert_count: int
    expert_used_count: int
    expert_feed_forward_length: int
    parameters: int
    active_parameters: int
    """Used for one token; fewer than all where there are experts."""
    file_bytes: int
    tensor_bytes: TensorBytes
    repackable_bytes: Mapping[str, int]
    """Of the matrices in the layers, by type: what llama.cpp may hold a second time in another order."""
    has_chat_template: bool
    is_embedding_model: bool

    @property
    def path(self) -> Path:
        """What an engine is given."""
        return self.parts[0]

    @property
    def is_gpt_oss(self) -> bool:
        """Whether it speaks harmony."""
        return self.architecture == "gpt-oss"

    @property
    def kv_head_count(self) -> int:
        """The most that a layer has."""
        return max((layer.kv_heads for layer in self.layers), default=0)

    @property
    def sliding_window(self) -> int | None:
        """Tokens that the layers with a window look back; None when no layer has one."""
        return max((layer.window for layer in self.layers if layer.window is not None), default=None)

    @property
    def windowed_layers(self) -> int:
        """Layers with a window."""
        return sum(layer.window is not None for layer in self.layers)


def read(path: Path) -> GgufFacts:
    """Read and check the model at `path`: a GGUF file, or the first part of a split one.

    Raises:
        ModelFileInvalid: it is damaged, foreign, cut short or hostile; says how, and what to do.
    """
    model = read_model(path)
    rules.check(model)
    return _facts(model)


def _facts(model: GgufModel) -> GgufFacts:
    layers = model.integer("block_count") or 0
    heads = model.integer("attention.head_count") or 0
    width = model.integer("embedding_length") or 0
    head_length = width // heads if heads else 0
    key_length, value_length = model.integer("attention.key_length"), model.integer("attention.value_length")
    return GgufFacts(
        parts=model.parts,
        architecture=model.architecture,
        name=model.text("general.name") or model.path.stem,
        quantisation=_quantisation(model),
        context_length=model.integer("context_length") or 0,
        block_count=layers,
        layers=_layers(model, layers, heads),
        embedding_length=width,
        head_count=heads,
        key_length=head_length if key_length is None else key_length,
        value_length=head_length if value_length is None else value_length,
        recurrent_state_bytes=_recurrent_state_bytes(model, layers),
        vocabulary_size=model.vocabulary_size or model.integer("vocab_size") or 0,
        feed_forward_length=model.integer("feed_forward_length") or 0,
        expert_count=model.integer("expert_count") or 0,
        expert_used_count=model.integer("expert_used_count") or 0,
        expert_feed_forward_length=model.integer("expert_feed_forward_length") or 0,
        parameters=sum(math.prod(tensor.dims) for tensor in model.tensors.values()),
        active_parameters=_active_parameters(model),
        file_bytes=model.file_bytes,
        tensor_bytes=_tensor_bytes(model),
        repackable_bytes=_repackable_bytes(model),
        has_chat_template=bool(model.text("tokenizer.chat_template")),
        is_embedding_model=model.architecture in _ENCODERS or bool(model.integer("pooling_type")),
    )


def _layers(model: GgufModel, count: int, heads: int) -> tuple[LayerFacts, ...]:
    kv_heads = model.integers("attention.head_count_kv") or (heads,)
    if len(kv_heads) == 1:
        # A hybrid that states one number for all has attention only in every so-manieth layer.
        every = model.integer("full_attention_interval") or 1
        kv_heads = tuple(kv_heads[0] if (layer + 1) % every == 0 else 0 for layer in range(count))
    if model.architecture in _ENCODERS:
        kv_heads = (0,) * count
    window = model.integer("attention.sliding_window") or None
    windowed = _windowed(model, count)
    return tuple(
        LayerFacts(kv_heads=kv_heads[layer], window=window if windowed[layer] else None) for layer in range(count)
    )


def _windowed(model: GgufModel, count: int) -> tuple[bool, ...]:
    """Which layers have a sliding window. Where nothing tells, none: that is the most memory, never too little."""
    pattern = model.integers("attention.sliding_window_pattern") or ()
    if len(pattern) == count and count > 1:
        return tuple(bool(value) for value in pattern)
    period = pattern[0] if len(pattern) == 1 else _WINDOW_PERIODS.get(model.architecture, 0)
    return tuple(period > 0 and layer % period < period - 1 for layer in range(count))


def _recurrent_state_bytes(model: GgufModel, layers: int) -> int:
    inner, state = model.integer("ssm.inner_size") or 0, model.integer("ssm.state_size") or 0
    kernel, groups = model.integer("ssm.conv_kernel") or 0, model.integer("ssm.group_count") or 0
    heads = model.integer("wkv.head_size") or 0
    width = model.integer("embedding_length") or 0
    mamba = inner * state + max(kernel - 1, 0) * (inner + 2 * groups * state)
    rwkv = width * heads + 2 * width if heads else 0
    return 4 * layers * (mamba + rwkv)


def _active_parameters(model: GgufModel) -> int:
    """The numbers that one token is multiplied with: of the experts only those used, of the embeddings one row."""
    used, experts = model.integer("expert_used_count") or 0, model.integer("expert_count") or 0
    active = 0
    for tensor in model.tensors.values():
        count = math.prod(tensor.dims)
        kind = _tensor_kind(tensor.name)
        if kind == "experts" and experts:
            count = count * used // experts
        # Without an output matrix the embeddings serve as one.
        active += 0 if kind == "embedding" and "output.weight" in model.tensors else count
    return active


def _quantisation(model: GgufModel) -> str:
    stated = model.metadata.get("general.file_type")
    by_type = collections.Counter(_repackable_bytes(model))
    for tensor in () if by_type else model.tensors.values():
        by_type[tensor.type.name] += tensor.size_bytes
    main = by_type.most_common(1)[0][0]
    label = FILE_TYPES.get(stated) if isinstance(stated, int) else None
    # The label is the finer word (q4_k_m), but it is often left over from another file.
    return label if label is not None and label.startswith(main) else main


def _tensor_bytes(model: GgufModel) -> TensorBytes:
    sizes = collections.Counter[str]()
    for tensor in model.tensors.values():
        sizes[_tensor_kind(tensor.name)] += tensor.size_bytes
    return TensorBytes(
        experts=sizes["experts"],
        attention=sizes["attention"],
        feed_forward=sizes["feed_forward"],
        embedding=sizes["embedding"],
        output=sizes["output"],
        other=sizes["other"],
    )


def _tensor_kind(name: str) -> str:
    if "_exps" in name:
        return "experts"
    if ".attn_" in name:
        return "attention"
    if ".ffn_" in name:
        return "feed_forward"
    if name.startswith("token_embd"):
        return "embedding"
    return "output" if name.startswith("output") else "other"


def _repackable_bytes(model: GgufModel) -> Mapping[str, int]:
    sizes = collections.Counter[str]()
    for tensor in model.tensors.values():
        if model.block_of(tensor.name) is not None and len(tensor.dims) > 1:
            sizes[tensor.type.name] += tensor.size_bytes
    return dict(sizes)
