"""What a model's header must be for llama.cpp to load it, or to refuse it in words.

llama.cpp checks many things with assertions, and a failed assertion ends the process. Each rule below keeps away a kind
of file that was seen to do so, or to read outside its memory. What llama.cpp refuses in words is left to it, but where
our words are clearer. The engine is a child process all the same: docs/decisions/001.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from tundish.catalog.gguf.format import ValueKind
from tundish.catalog.gguf.header import TensorInfo
from tundish.catalog.gguf.model import GgufModel
from tundish.catalog.gguf.rules_gpt_oss import check_gpt_oss

MAX_LAYERS = 512
MAX_EXPERTS = 1024
_MAX_CONTEXT = 2**31 - 1
_MAX_WIDTH = 2**24
_ROPE_SCALINGS = ("none", "linear", "yarn", "longrope")
_NOT_MODELS: Mapping[str, str] = {
    "adapter": "a LoRA adapter, which is used together with a model",
    "mmproj": "an image or audio projector, which is used together with a model",
    "clip": "an image or audio projector, which is used together with a model",
    "imatrix": "an importance matrix, which helps to quantise a model",
    "vocab": "a vocabulary without weights",
}
_MATRIX = re.compile(
    r"(^|[._])(token_embd|token_types|position_embd|output|attn_\w+|ffn_(gate|up|down)(_exps|_shexp)?|ffn_gate_inp)\.weight$"
)
_UNIFORM = frozenset(
    {"bert", "gemma2", "gemma3", "llama", "nomic-bert", "phi3", "qwen2", "qwen2moe", "qwen3", "qwen3moe"}
)
"""Architectures that are alike in every layer, with keys as long as values; llama.cpp asserts it."""
_WHOLLY_ROTATED = frozenset({"qwen2", "qwen2moe", "qwen3", "qwen3moe"})
"""Of those, the ones whose position embedding covers the whole key."""
_MATRIX_OF_INTEGERS = "tid2eid"
_INTEGERS = frozenset({"i8", "i16", "i32", "i64", "f64"})
_VECTOR_TYPES = frozenset({"f32", "f16", "bf16"})
_F32_ONLY = re.compile(r"(attn_sinks\.weight|ffn_gate_inp\.bias|_exps\.bias|exp_probs_b(\.bias)?)$")


def check(model: GgufModel) -> None:
    """Refuse what no engine may be shown.

    Raises:
        ModelFileInvalid: says what is wrong.
    """
    _check_is_model(model)
    _check_size(model)
    _check_attention(model)
    _check_experts(model)
    _check_numbers(model)
    _check_tokenizer(model)
    for tensor in model.tensors.values():
        _check_type(model, tensor)
    if model.architecture == "gpt-oss":
        check_gpt_oss(model)


def _check_is_model(model: GgufModel) -> None:
    kind = model.text("general.type") or "model"
    other = _NOT_MODELS.get(kind) or _NOT_MODELS.get(model.architecture)
    if other is not None:
        model.invalid(f"it is {other}. Give the model's own file.")
    if not model.tensors:
        model.invalid("it has no weights.")


def _check_size(model: GgufModel) -> None:
    layers = model.require("block_count", 1, MAX_LAYERS)
    model.require("context_length", 1, _MAX_CONTEXT)
    model.require("embedding_length", 1, _MAX_WIDTH)
    extra = model.integer("nextn_predict_layers") or 0
    if extra > layers:
        model.invalid(f"{model.key('nextn_predict_layers')} is {extra}, more than its {layers} layers.")
    for part in ("posnet", "convnext"):
        if (model.integer(f"{part}.block_count") or 0) > layers:
            model.invalid(f"{model.key(part)}.block_count is more than its {layers} layers.")
    blocks = {block for name in model.tensors if (block := model.block_of(name)) is not None}
    last = max(blocks, default=-1)
    # Layers that predict further tokens are sometimes counted and left out.
    if last < layers - extra - 1:
        model.invalid(
            f"{model.key('block_count')} is {layers}, but there are only weights for {last + 1} layers. "
            "It is damaged, or converted wrongly."
        )


def _check_attention(model: GgufModel) -> None:
    layers = model.require("block_count", 1, MAX_LAYERS)
    heads, kv_heads = model.integers("attention.head_count") or (), model.integers("attention.head_count_kv") or ()
    for name, counts in (("attention.head_count", heads), ("attention.head_count_kv", kv_heads)):
        if len(counts) not in (0, 1, layers):
            model.invalid(f"{model.key(name)} has {len(counts)} values for {layers} layers.")
        if any(count > _MAX_WIDTH for count in counts):
            model.invalid(f"{model.key(name)} is {max(counts)}. It is damaged.")
    for q, kv in zip(_for_each(heads, layers), _for_each(kv_heads, layers), strict=False):
        if q and kv and q % kv:
            model.invalid(f"it has {q} attention heads, which its {kv} key-value heads do not divide.")
    for name in ("attention.key_length", "attention.value_length"):
        length = model.integer(name)
        if length is not None and not 1 <= length <= _MAX_WIDTH:
            model.invalid(f"{model.key(name)} is {length}. It is damaged.")
    _check_rotation(model)
    if model.architecture in _UNIFORM:
        _check_uniform(model, layers)


def _check_rotation(model: GgufModel) -> None:
    name, rotated = model.key("rope.dimension_count"), model.integer("rope.dimension_count")
    if rotated is None:
        return
    # Elsewhere (latent attention) an unstated key is not simply a share of the width.
    length = _head_length(model, "key") if model.architecture in _UNIFORM else model.integer("attention.key_length")
    if not rotated and model.integer("ssm.state_size") is None:
        model.invalid(f"{name} is 0, on which llama.cpp would never stop to compute.")
    if rotated % 2 or (length and rotated > length):
        model.invalid(f"{name} is {rotated}; it must be even and no more than the length of a key, {length}.")
    if model.architecture in _WHOLLY_ROTATED and rotated != length:
        model.invalid(f"{name} is {rotated}; with {model.architecture} it must be the length of a key, {length}.")


def _head_length(model: GgufModel, which: str) -> int:
    """Of a key or value; 0 when nothing tells."""
    stated, heads = model.integer(f"attention.{which}_length"), model.integer("attention.head_count")
    width = model.integer("embedding_length") or 0
    return (width // heads if heads else 0) if stated is None else stated


def _check_uniform(model: GgufModel, layers: int) -> None:
    key_length, value_length = _head_length(model, "key"), _head_length(model, "value")
    if key_length != value_length:
        model.invalid(f"its keys have {key_length} and its values {value_length} numbers; they must have as many.")
    for name in ("attention.head_count", "attention.head_count_kv", "expert_used_count"):
        counts = model.integers(name) or ()
        if len(set(counts)) > 1:
            model.invalid(f"{model.key(name)} differs from layer to layer, which {model.architecture} cannot.")
    for layer in range(layers) if model.architecture == "phi3" else ():
        if f"blk.{layer}.attn_qkv.weight" not in model.tensors:
            model.invalid(f"it lacks the tensor 'blk.{layer}.attn_qkv.weight'. It is damaged, or converted wrongly.")


def _for_each(counts: tuple[int, ...], layers: int) -> tuple[int, ...]:
    return counts * layers if len(counts) == 1 else counts


def _check_experts(model: GgufModel) -> None:
    experts, used = model.integer("expert_count") or 0, model.integer("expert_used_count") or 0
    groups, groups_used = model.integer("expert_group_count") or 0, model.integer("expert_group_used_count") or 0
    key = model.key
    if experts > MAX_EXPERTS:
        model.invalid(f"{key('expert_count')} is {experts}; llama.cpp has room for {MAX_EXPERTS}.")
    if used > experts:
        model.invalid(f"{key('expert_used_count')} is {used}, more than its {experts} experts.")
    if experts and not min(model.integers("expert_used_count") or (0,)):
        model.invalid(f"it has {experts} experts, but {key('expert_used_count')} is not at least 1.")
    if groups and not experts:
        model.invalid(f"{key('expert_group_count')} is {groups}, but it has no experts.")
    if groups > 1 and (groups >= experts or experts % groups):
        model.invalid(f"{key('expert_group_count')} is {groups}, which does not divide its {experts} experts.")
    if groups > 1 and not 1 <= groups_used < groups:
        model.invalid(f"{key('expert_group_used_count')} is {groups_used}; it must be from 1 to {groups - 1}.")


def _check_numbers(model: GgufModel) -> None:
    prefix = model.key("")
    for key, value in model.metadata.items():
        if key.startswith(prefix) and isinstance(value, float) and math.isnan(value):
            model.invalid(f"{key} is not a number.")
    for name in ("attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon", "attention.group_norm_epsilon"):
        epsilon = model.number(name)
        if epsilon is not None and not 0 <= epsilon < 1:
            model.invalid(f"{model.key(name)} is {epsilon}; it must be from 0 to 1.")
    for name in ("rope.freq_base", "rope.freq_base_swa", "rope.scaling.factor", "rope.scale_linear"):
        value = model.number(name)
        if value is not None and not 0 <= value < math.inf:
            model.invalid(f"{model.key(name)} is {value}; it must be 0 or more.")
    scaling = model.text(model.key("rope.scaling.type"))
    if scaling is not None and scaling not in _ROPE_SCALINGS:
        model.invalid(f"{model.key('rope.scaling.type')} is {scaling!r}; llama.cpp knows {', '.join(_ROPE_SCALINGS)}.")


def _check_tokenizer(model: GgufModel) -> None:
    size = model.vocabulary_size
    for key, kind in (
        ("tokenizer.ggml.scores", ValueKind.FLOAT32),
        ("tokenizer.ggml.token_type", ValueKind.INT32),
    ):
        values = model.array(key)
        if values is None:
            continue
        if values.count and values.kind not in (kind, ValueKind.UINT32):
            model.invalid(f"{key} has values of kind {values.kind.name.lower()}, not {kind.name.lower()}.")
        if values.count < size:
            model.invalid(f"{key} has {values.count} values for {size} tokens.")
    merges = model.array("tokenizer.ggml.merges")
    if merges is not None and merges.count and merges.kind is not ValueKind.STRING:
        model.invalid("tokenizer.ggml.merges must be an array of texts.")


def _check_type(model: GgufModel, tensor: TensorInfo) -> None:
    kind = tensor.type.name
    if _F32_ONLY.search(tensor.name) and kind != "f32":
        model.invalid(f"the tensor {tensor.name!r} is stored as {kind}; llama.cpp computes it in f32 only.")
    if all(dim == 1 for dim in tensor.dims[1:]) and kind not in _VECTOR_TYPES and tensor.dims[:1] != (1,):
        model.invalid(f"the tensor {tensor.name!r} is a vector stored as {kind}; vectors are f32, f16 or bf16.")
    if kind in _INTEGERS and _MATRIX.search(tensor.name) and _MATRIX_OF_INTEGERS not in tensor.name:
        model.invalid(f"the tensor {tensor.name!r} is stored as {kind}, which weights never are.")
