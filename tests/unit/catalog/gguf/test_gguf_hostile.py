"""Headers that lie. Most of them end the process that loads them, if they reach llama.cpp."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from tundish.catalog import gguf
from tundish.core.errors import ModelFileInvalid

P = "gpt-oss."
NAN, INF = float("nan"), float("inf")


def _tokens(file):
    return file.values("tokenizer.ggml.tokens")


ABORTING = {
    # name: (change, what the message names)
    "more experts used than there are": (lambda f: f.set(P + "expert_used_count", 99), "expert_used_count"),
    "no layers": (lambda f: f.set(P + "block_count", 0), "block_count"),
    "too many layers": (lambda f: f.set(P + "block_count", 9999), "block_count"),
    "a layer more than llama.cpp has room for": (lambda f: f.set(P + "block_count", 513), "block_count"),
    "no experts but some used": (lambda f: f.set(P + "expert_count", 0), "expert_used_count"),
    "experts not counted": (lambda f: f.drop(P + "expert_count"), "expert_used_count"),
    "experts but none used": (lambda f: f.set(P + "expert_used_count", 0), "expert_used_count"),
    "too many experts": (lambda f: f.set(P + "expert_count", 1025), "expert_count"),
    "expert groups that do not divide": (lambda f: f.set(P + "expert_group_count", 3), "expert_group_count"),
    "expert groups of which none is used": (lambda f: f.set(P + "expert_group_count", 2), "expert_group_used_count"),
    "no context": (lambda f: f.set(P + "context_length", 0), "context_length"),
    "endless context": (lambda f: f.set(P + "context_length", 2**32 - 1), "context_length"),
    "values of another length than keys": (lambda f: f.set(P + "attention.value_length", 16), "value_length"),
    "values without length": (lambda f: f.drop(P + "attention.value_length"), "value_length"),
    "negative epsilon": (lambda f: f.set(P + "attention.layer_norm_rms_epsilon", -1.0), "epsilon"),
    "epsilon that is no number": (lambda f: f.set(P + "attention.layer_norm_rms_epsilon", NAN), "epsilon"),
    "unknown rope scaling": (lambda f: f.set(P + "rope.scaling.type", "dynamic"), "rope.scaling.type"),
    "empty rope scaling": (lambda f: f.set(P + "rope.scaling.type", ""), "rope.scaling.type"),
    "rope factor that is no number": (lambda f: f.set(P + "rope.scaling.factor", NAN), "rope.scaling.factor"),
    "more predicting layers than layers": (lambda f: f.set(P + "nextn_predict_layers", 3), "nextn_predict_layers"),
    "a token twice": (
        lambda f: f.set_array("tokenizer.ggml.tokens", "string", (*_tokens(f)[:-1], _tokens(f)[0])),
        "twice",
    ),
    "a token twice, for who stops at a zero byte": (
        lambda f: f.set_array("tokenizer.ggml.tokens", "string", (*_tokens(f)[:-1], str(_tokens(f)[0]) + "\0x")),
        "twice",
    ),
    "one token only": (
        lambda f: f.set_array("tokenizer.ggml.tokens", "string", ["x"] * len(_tokens(f))),
        "twice",
    ),
    "alignment of one byte": (lambda f: f.set("general.alignment", 1), "general.alignment"),
    "alignment of 16 bytes": (lambda f: f.set("general.alignment", 16), "general.alignment"),
    "quantised norm": (lambda f: f.with_tensor("output_norm.weight", kind=8), "output_norm.weight"),
    "quantised bias": (lambda f: f.with_tensor("blk.0.attn_q.bias", kind=39), "attn_q.bias"),
    "integer weights": (lambda f: f.with_tensor("blk.0.attn_q.weight", kind=26), "attn_q.weight"),
    "integer embeddings": (lambda f: f.with_tensor("token_embd.weight", kind=26), "token_embd.weight"),
    "half-precision sinks": (lambda f: f.with_tensor("blk.0.attn_sinks.weight", kind=1), "attn_sinks.weight"),
    "half-precision router bias": (lambda f: f.with_tensor("blk.0.ffn_gate_inp.bias", kind=1), "ffn_gate_inp.bias"),
    "quantised expert bias": (lambda f: f.with_tensor("blk.1.ffn_up_exps.bias", kind=8), "ffn_up_exps.bias"),
}
"""Each was seen to end a process that gave it to llama.cpp (xllamacpp 2026.10)."""

CONTRADICTORY = {
    "no architecture": (lambda f: f.drop("general.architecture"), "general.architecture"),
    "architecture that is a number": (lambda f: f.set("general.architecture", 7, "u32"), "general.architecture"),
    "no weights": (lambda f: setattr(f, "tensors", []) or f, "no weights"),
    "no layer count": (lambda f: f.drop(P + "block_count"), "block_count"),
    "fewer layers than counted": (lambda f: f.set(P + "block_count", 3), "weights for 2 layers"),
    "more layers than counted": (lambda f: f.set(P + "block_count", 1), "block_count"),
    "layers counted in letters": (lambda f: f.set(P + "block_count", "two"), "block_count"),
    "negative heads": (lambda f: f.set(P + "attention.head_count", -1, "i32"), "head_count"),
    "no heads": (lambda f: f.set(P + "attention.head_count", 0), "head_count"),
    "heads that do not divide": (
        lambda f: f.set(P + "attention.head_count", 3).set(P + "attention.head_count_kv", 2),
        "3",
    ),
    "head counts for other layers": (lambda f: f.set_array(P + "attention.head_count", "u32", [2, 2, 2]), "3 values"),
    "another width": (lambda f: f.set(P + "embedding_length", 64), "token_embd.weight"),
    "another expert width": (lambda f: f.set(P + "expert_feed_forward_length", 64), "ffn_gate_exps"),
    "other experts": (lambda f: f.set(P + "expert_count", 4), "experts|ffn_gate_inp"),
    "rotating more than there is": (lambda f: f.set(P + "rope.dimension_count", 64), "rope.dimension_count"),
    "odd rotation": (lambda f: f.set(P + "rope.dimension_count", 31), "rope.dimension_count"),
    "negative rope base": (lambda f: f.set(P + "rope.freq_base", -1.0), "rope.freq_base"),
    "endless rope base": (lambda f: f.set(P + "rope.freq_base", INF), "rope.freq_base"),
    "a missing layer norm": (lambda f: f.without("blk.1.attn_norm.weight"), "blk.1.attn_norm.weight"),
    "a missing expert matrix": (lambda f: f.without("blk.0.ffn_down_exps.weight"), "blk.0.ffn_down_exps.weight"),
    "missing sinks": (lambda f: f.without("blk.1.attn_sinks.weight"), "blk.1.attn_sinks.weight"),
    "no output": (lambda f: f.without("output.weight"), "output.weight"),
    "no embeddings": (lambda f: f.without("token_embd.weight"), "token_embd.weight"),
    "a transposed matrix": (lambda f: f.with_tensor("blk.0.attn_output.weight", dims=(32, 64)), "attn_output.weight"),
    "a lost dimension": (lambda f: f.with_tensor("blk.0.ffn_up_exps.weight", dims=(32, 128)), "ffn_up_exps.weight"),
    "fewer embeddings than tokens": (lambda f: f.with_tensor("token_embd.weight", dims=(32, 200)), "token_embd.weight"),
    "no vocabulary": (lambda f: f.drop("tokenizer.ggml.tokens"), "vocabulary|token"),
    "tokens that are numbers": (lambda f: f.set_array("tokenizer.ggml.tokens", "u32", range(265)), "tokens"),
    "tokens that are a text": (lambda f: f.set("tokenizer.ggml.tokens", "abc"), "tokens"),
    "token types for other tokens": (lambda f: f.set_array("tokenizer.ggml.token_type", "i32", [1, 1]), "token_type"),
    "token types that are bytes": (lambda f: f.set_array("tokenizer.ggml.token_type", "u8", [1] * 265), "token_type"),
    "scores for other tokens": (lambda f: f.set_array("tokenizer.ggml.scores", "f32", [0.0]), "scores"),
    "merges that are numbers": (lambda f: f.set_array("tokenizer.ggml.merges", "u32", [1, 2]), "merges"),
    "a LoRA adapter": (lambda f: f.set("general.type", "adapter"), "LoRA adapter"),
    "an image projector": (lambda f: f.set("general.type", "mmproj"), "projector"),
}

LYING = {
    "a key twice": (lambda f: setattr(f, "metadata", [*f.metadata, f.metadata[2]]) or f, "twice"),
    "an empty key": (lambda f: f.set("", 1), "empty"),
    "a value of no known kind": (lambda f: f.set("x", b"\0" * 8, 13), "kind 13"),
    "an array of no known kind": (lambda f: f.set_array("x", 99, [b"\0"]), "kind 99"),
    "an array of arrays": (lambda f: f.set_array("x", "array", []), "array of arrays"),
    "more keys than there are": (lambda f: setattr(f, "key_count", 40) or f, "key 29 of 40"),
    "fewer keys than there are": (lambda f: setattr(f, "key_count", 5) or f, "feed_forward_length"),
    "2**63 keys": (lambda f: setattr(f, "key_count", 2**63) or f, "keys"),
    "2**64-1 tensors": (lambda f: setattr(f, "tensor_count", 2**64 - 1) or f, "tensors"),
    "more tensors than there are": (lambda f: setattr(f, "tensor_count", 1000) or f, "tensor"),
    "a text of 2**62 bytes": (lambda f: f.set("x", (2**62).to_bytes(8, "little"), 8), "bytes of text"),
    "a text longer than the file": (lambda f: f.set("x", (2**23).to_bytes(8, "little"), 8), "cut short"),
    "2**61 numbers": (lambda f: f.set_array("x", "u64", [], count=2**61), "cut short"),
    "2**64-1 texts": (lambda f: f.set_array("x", "string", [], count=2**64 - 1), "cut short"),
    "a token of 2**60 bytes": (
        lambda f: f.set(
            "tokenizer.ggml.tokens", b"\x08\0\0\0" + (1).to_bytes(8, "little") + (2**60).to_bytes(8, "little"), 9
        ),
        "token of|cut short",
    ),
    "a tensor twice": (lambda f: f.with_tensor("blk.1.attn_q.bias", name="blk.0.attn_q.bias"), "twice"),
    "a tensor's name of 64 bytes": (lambda f: f.with_tensor("output.weight", name="x" * 64), "bytes of text"),
    "five dimensions": (lambda f: f.with_tensor("output.weight", dims=(32, 265, 1, 1, 1)), "5 dimensions"),
    "no numbers": (lambda f: f.with_tensor("output.weight", dims=(32, 0)), "impossible shape"),
    "2**62 numbers": (lambda f: f.with_tensor("output.weight", dims=(2**31, 2**31)), "shape"),
    "numbers that overflow": (lambda f: f.with_tensor("output.weight", dims=(2**63, 2)), "shape"),
    "half a block in a row": (lambda f: f.with_tensor("output.weight", dims=(33, 265), kind=8), "rows of 33"),
    "a removed tensor type": (lambda f: f.with_tensor("output.weight", kind=4), "type 4"),
    "an unknown tensor type": (lambda f: f.with_tensor("output.weight", kind=2**32 - 1), "type 4294967295"),
    "weights beyond the end": (lambda f: f.with_tensor("output.weight", offset=2**40), "belongs at"),
    "weights over each other": (lambda f: f.with_tensor("output.weight", offset=0), "belongs at"),
    "weights out of line": (lambda f: f.with_tensor("output_norm.weight", offset=33), "belongs at"),
    "alignment of three": (lambda f: f.set("general.alignment", 48), "power of two"),
    "alignment in words": (lambda f: f.set("general.alignment", "wide"), "power of two"),
    "alignment of two gigabytes": (lambda f: f.set("general.alignment", 2**31), "power of two"),
}


@pytest.mark.parametrize("name", [*ABORTING, *CONTRADICTORY, *LYING])
def test_a_hostile_header_is_refused_with_its_reason(name: str, gpt_oss, write: Callable[..., Path]) -> None:
    change, expected = (ABORTING | CONTRADICTORY | LYING)[name]
    path = write(_encoded(change(gpt_oss)))
    with pytest.raises(ModelFileInvalid, match=expected) as failure:
        gguf.read(path)
    assert str(path) in failure.value.message


def _encoded(file) -> bytes:
    """Without data for tensors that claim more than a test can write."""
    if any(tensor.size_bytes > 2**24 for tensor in file.tensors):
        return file.header() + bytes(4096)
    return file.encode()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda f: f.set("llama.expert_count", 8), "expert_used_count"),
        (lambda f: f.set("llama.expert_used_count", 2), "expert_used_count"),
        (lambda f: f.set("llama.expert_group_count", 2), "expert_group_count"),
        (lambda f: f.set("llama.block_count", 600), "block_count"),
        (lambda f: f.set("llama.block_count", 7), "weights for 2 layers"),
        (lambda f: f.set("llama.attention.head_count", 3).set("llama.attention.head_count_kv", 2), "divide"),
        (lambda f: f.set("llama.attention.layer_norm_rms_epsilon", NAN), "epsilon"),
        (lambda f: f.set("llama.posnet.block_count", 9), "posnet"),
        (lambda f: f.drop("llama.context_length"), "context_length"),
        (lambda f: f.with_tensor("blk.0.ffn_norm.weight", kind=8), "vector"),
        (lambda f: f.set("llama.rope.dimension_count", 0), "never stop"),
        (lambda f: f.called("gemma3").set("gemma3.rope.dimension_count", 0), "never stop"),
        (lambda f: f.called("phi3").set("phi3.rope.dimension_count", 32), "no more than the length of a key, 16"),
        (lambda f: f.called("qwen2").set("qwen2.rope.dimension_count", 8), "must be the length of a key, 16"),
        (
            lambda f: f.called("qwen2").drop("qwen2.rope.dimension_count").set("qwen2.attention.key_length", 32),
            "they must have as many",
        ),
        (lambda f: f.called("bert").set("bert.attention.key_length", 8).drop("bert.rope.dimension_count"), "as many"),
        (lambda f: f.called("phi3"), "attn_qkv"),
        (lambda f: f.set_array("llama.attention.head_count_kv", "u32", [1, 2]), "differs from layer to layer"),
        (
            lambda f: f.set("llama.expert_count", 4).set_array("llama.expert_used_count", "u32", [2, 1]),
            "differs from layer to layer",
        ),
        (
            lambda f: (
                f.called("other").set("other.expert_count", 4).set_array("other.expert_used_count", "u32", [0, 1])
            ),
            "not at least 1",
        ),
    ],
)
def test_other_architectures_are_checked_too(change, expected: str, llama, write) -> None:
    with pytest.raises(ModelFileInvalid, match=expected):
        gguf.read(write(change(llama)))


def test_more_strings_than_any_model_has_are_not_walked(gpt_oss, write) -> None:
    for index in range(5):
        gpt_oss.set(f"x{index}", (8).to_bytes(4, "little") + (10**6).to_bytes(8, "little") + bytes(8 * 10**6), 9)
    with pytest.raises(ModelFileInvalid, match="more than 4000000 strings"):
        gguf.read(write(gpt_oss))


def test_long_arrays_are_not_held_in_memory(gpt_oss, write) -> None:
    text = (60).to_bytes(8, "little") + b"x" * 60
    gpt_oss.set("x", (8).to_bytes(4, "little") + (10**5).to_bytes(8, "little") + text * 10**5, 9)
    gpt_oss.set("y", (4).to_bytes(4, "little") + (10**6).to_bytes(8, "little") + bytes(4 * 10**6), 9)
    path = write(gpt_oss)
    tracemalloc.start()
    gguf.read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * 2**20


def test_a_header_without_end_is_refused(gpt_oss, tmp_path: Path) -> None:
    path = tmp_path / "sparse.gguf"
    claims = (0).to_bytes(4, "little") + (2**30).to_bytes(8, "little")
    with path.open("wb") as file:
        file.write(gpt_oss.set("x", claims, 9).header())
        file.truncate(2**31)
    with pytest.raises(ModelFileInvalid, match="more than 134217728 bytes"):
        gguf.read(path)
