"""What a gpt-oss must be: each tensor there, in the shape that the hyperparameters say."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from tundish.catalog.gguf.model import GgufModel

_Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Sizes:
    """The hyperparameters, after llama.cpp's own defaults."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head: int
    experts: int
    expert_width: int
    vocabulary: int


def check_gpt_oss(model: GgufModel) -> None:
    """Refuse a gpt-oss that is not whole.

    Raises:
        ModelFileInvalid: says which number or tensor is wrong.
    """
    sizes = _sizes(model)
    for name, shape in _outer_tensors(sizes).items():
        _check_tensor(model, name, shape)
    for layer in range(sizes.layers):
        for alternatives in _layer_tensors(sizes):
            _check_any(model, f"blk.{layer}.", alternatives)
        for name, shape in _optional_tensors(sizes).items():
            if f"blk.{layer}.{name}" in model.tensors:
                _check_tensor(model, f"blk.{layer}.{name}", shape)
    for name in model.tensors:
        block = model.block_of(name)
        if block is not None and block >= sizes.layers:
            model.invalid(f"it has the tensor {name!r}, but {model.key('block_count')} is {sizes.layers}.")


def _sizes(model: GgufModel) -> _Sizes:
    most = 2**20
    heads = model.require("attention.head_count", 1, most)
    kv_heads = model.integer("attention.head_count_kv")
    head = model.require("attention.key_length", 1, most)
    if head % 2 or model.require("attention.value_length", 1, most) != head:
        model.invalid("its keys and values must have the same, even length (attention.key_length and value_length).")
    if model.integer("rope.dimension_count") not in (None, head):
        model.invalid(f"{model.key('rope.dimension_count')} must be the length of its keys, {head}.")
    if not model.vocabulary_size:
        model.invalid("it has no vocabulary (tokenizer.ggml.tokens).")
    model.require("attention.sliding_window", 0, 2**31 - 1)
    return _Sizes(
        layers=model.require("block_count", 1, most),
        hidden=model.require("embedding_length", 1, most),
        heads=heads,
        kv_heads=heads if kv_heads is None else model.require("attention.head_count_kv", 1, heads),
        head=head,
        experts=model.require("expert_count", 1, most),
        expert_width=model.require("expert_feed_forward_length", 1, most),
        vocabulary=model.vocabulary_size,
    )


def _outer_tensors(sizes: _Sizes) -> Mapping[str, _Shape]:
    return {
        "token_embd.weight": (sizes.hidden, sizes.vocabulary),
        "output_norm.weight": (sizes.hidden,),
        "output.weight": (sizes.hidden, sizes.vocabulary),
    }


def _layer_tensors(sizes: _Sizes) -> tuple[tuple[Mapping[str, _Shape], ...], ...]:
    """What each layer needs: of each group, all tensors of one of its alternatives (separate or fused)."""
    hidden, experts, width = sizes.hidden, sizes.experts, sizes.expert_width
    q_rows, kv_rows = sizes.heads * sizes.head, sizes.kv_heads * sizes.head
    return (
        ({"attn_norm.weight": (hidden,)},),
        ({"post_attention_norm.weight": (hidden,)},),
        (
            {"attn_q.weight": (hidden, q_rows), "attn_k.weight": (hidden, kv_rows), "attn_v.weight": (hidden, kv_rows)},
            {"attn_qkv.weight": (hidden, q_rows + 2 * kv_rows)},
        ),
        ({"attn_output.weight": (q_rows, hidden)},),
        ({"attn_sinks.weight": (sizes.heads,)},),
        ({"ffn_gate_inp.weight": (hidden, experts)},),
        (
            {"ffn_gate_exps.weight": (hidden, width, experts), "ffn_up_exps.weight": (hidden, width, experts)},
            {"ffn_gate_up_exps.weight": (hidden, 2 * width, experts)},
        ),
        ({"ffn_down_exps.weight": (width, hidden, experts)},),
    )


def _optional_tensors(sizes: _Sizes) -> Mapping[str, _Shape]:
    q_rows, kv_rows = sizes.heads * sizes.head, sizes.kv_heads * sizes.head
    return {
        "attn_q.bias": (q_rows,),
        "attn_k.bias": (kv_rows,),
        "attn_v.bias": (kv_rows,),
        "attn_qkv.bias": (q_rows + 2 * kv_rows,),
        "attn_output.bias": (sizes.hidden,),
        "ffn_gate_inp.bias": (sizes.experts,),
        "ffn_gate_exps.bias": (sizes.expert_width, sizes.experts),
        "ffn_up_exps.bias": (sizes.expert_width, sizes.experts),
        "ffn_gate_up_exps.bias": (2 * sizes.expert_width, sizes.experts),
        "ffn_down_exps.bias": (sizes.hidden, sizes.experts),
    }


def _check_any(model: GgufModel, block: str, alternatives: tuple[Mapping[str, _Shape], ...]) -> None:
    for tensors in alternatives:
        if all(block + name in model.tensors for name in tensors):
            for name, shape in tensors.items():
                _check_tensor(model, block + name, shape)
            return
    missing = next(block + name for name in alternatives[0] if block + name not in model.tensors)
    model.invalid(f"it lacks the tensor {missing!r}. It is damaged, or converted wrongly.")


def _check_tensor(model: GgufModel, name: str, shape: _Shape) -> None:
    tensor = model.tensors.get(name)
    if tensor is None:
        model.invalid(f"it lacks the tensor {name!r}. It is damaged, or converted wrongly.")
    if _without_ones(tensor.dims) != _without_ones(shape):
        model.invalid(f"the tensor {name!r} has the shape {list(tensor.dims)}; its hyperparameters say {list(shape)}.")


def _without_ones(shape: _Shape) -> _Shape:
    while len(shape) > 1 and shape[-1] == 1:
        shape = shape[:-1]
    return shape
