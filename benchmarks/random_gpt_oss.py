"""Write a GGUF of the gpt-oss architecture with random weights: the real shape, none of the knowledge.

A file of gpt-oss-20b's exact shape (12 GB) shows what loading, memory and speed are on a machine without the published
weights; a tiny one makes an engine test that needs no training. The answers are noise either way.

    python benchmarks/random_gpt_oss.py --shape 20b OUT.gguf
    python benchmarks/random_gpt_oss.py --shape tiny OUT.gguf

Needs the `test` extra (numpy, gguf).
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np

from tundish.harmony.vocabulary import O200K_HARMONY, Vocabulary


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The numbers that make a gpt-oss (all row lengths are multiples of 32, as the block formats need)."""

    layers: int
    hidden: int
    experts: int
    experts_used: int
    expert_width: int
    heads: int
    kv_heads: int
    head_dim: int
    context: int = 131_072


SHAPES = {
    "tiny": Shape(
        layers=2,
        hidden=64,
        experts=4,
        experts_used=2,
        expert_width=64,
        heads=4,
        kv_heads=2,
        head_dim=32,
        context=8_192,
    ),
    # As small on disk, and slow: what happens in the middle of a prompt can be watched.
    "slow": Shape(
        layers=4,
        hidden=64,
        experts=4,
        experts_used=4,
        expert_width=4096,
        heads=4,
        kv_heads=2,
        head_dim=32,
        context=32_768,
    ),
    "20b": Shape(
        layers=24,
        hidden=2880,
        experts=32,
        experts_used=4,
        expert_width=2880,
        heads=64,
        kv_heads=8,
        head_dim=64,
    ),
}


class RandomWeights:
    """Adds seeded random tensors, one at a time, so that the peak memory is one tensor."""

    def __init__(self, writer: gguf.GGUFWriter, seed: int) -> None:
        self._writer = writer
        self._rng = np.random.default_rng(seed)
        self._pending: list[tuple[str, tuple[int, ...], gguf.GGMLQuantizationType]] = []

    def add(self, name: str, shape: tuple[int, ...], kind: gguf.GGMLQuantizationType) -> None:
        """Declare tensor `name`; `shape` is in elements, slowest dimension first (numpy order)."""
        self._pending.append((name, shape, kind))
        stored = gguf.quant_shape_to_byte_shape(shape, kind) if kind != gguf.GGMLQuantizationType.F32 else shape
        dtype = np.dtype(np.float32 if kind == gguf.GGMLQuantizationType.F32 else np.uint8)
        self._writer.add_tensor_info(name, stored, dtype, int(np.prod(stored)) * dtype.itemsize, raw_dtype=kind)

    def write(self) -> None:
        """Write every declared tensor's data, in order."""
        for name, shape, kind in self._pending:
            self._writer.write_tensor_data(self._values(name, shape, kind))

    def _values(self, name: str, shape: tuple[int, ...], kind: gguf.GGMLQuantizationType) -> np.ndarray:
        if kind == gguf.GGMLQuantizationType.F32:
            if "norm" in name:
                return np.ones(shape, np.float32)
            return (self._rng.standard_normal(shape) * 0.02).astype(np.float32)
        byte_shape = gguf.quant_shape_to_byte_shape(shape, kind)
        block_bytes = {gguf.GGMLQuantizationType.MXFP4: 17, gguf.GGMLQuantizationType.Q8_0: 34}[kind]
        blocks = self._rng.integers(0, 256, (int(np.prod(byte_shape)) // block_bytes, block_bytes), dtype=np.uint8)
        if kind == gguf.GGMLQuantizationType.MXFP4:
            blocks[:, 0] = 120  # shared exponent 2**(120-128): weights of about 0.02
        else:
            blocks[:, :2] = np.frombuffer(np.float16(0.0003).tobytes(), np.uint8)  # scale of 32 int8 values
        return blocks.reshape(byte_shape)


def write_model(path: Path, shape: Shape, vocabulary: Vocabulary, seed: int = 0) -> None:
    """Write a random gpt-oss of `shape` with the full vocabulary to `path`."""
    writer = gguf.GGUFWriter(path, "gpt-oss")
    writer.add_name(f"gpt-oss-random-{shape.layers}l")
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_feed_forward_length(shape.expert_width)
    writer.add_expert_feed_forward_length(shape.expert_width)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_sliding_window(128)
    writer.add_rope_freq_base(150_000.0)
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(32.0)
    writer.add_rope_scaling_orig_ctx_len(4_096)
    writer.add_expert_count(shape.experts)
    writer.add_expert_used_count(shape.experts_used)
    _add_tokenizer(writer, vocabulary)
    weights = RandomWeights(writer, seed)
    _add_tensors(weights, shape, vocabulary.size)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    weights.write()
    writer.close()


def _add_tokenizer(writer: gguf.GGUFWriter, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-4o")
    writer.add_token_list(vocabulary.gguf_tokens())
    writer.add_token_types(vocabulary.gguf_token_types())
    writer.add_token_merges(vocabulary.gguf_merges())
    writer.add_bos_token_id(vocabulary.special("<|startoftext|>"))
    writer.add_eos_token_id(vocabulary.special("<|return|>"))
    writer.add_pad_token_id(vocabulary.special("<|endoftext|>"))


def _add_tensors(weights: RandomWeights, shape: Shape, vocabulary_size: int) -> None:
    f32, q8, mxfp4 = (
        gguf.GGMLQuantizationType.F32,
        gguf.GGMLQuantizationType.Q8_0,
        gguf.GGMLQuantizationType.MXFP4,
    )
    q_width, kv_width = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    weights.add("token_embd.weight", (vocabulary_size, shape.hidden), q8)
    weights.add("output_norm.weight", (shape.hidden,), f32)
    weights.add("output.weight", (vocabulary_size, shape.hidden), q8)
    for layer in range(shape.layers):
        block = f"blk.{layer}."
        weights.add(block + "attn_norm.weight", (shape.hidden,), f32)
        weights.add(block + "post_attention_norm.weight", (shape.hidden,), f32)
        for name, rows, columns in (
            ("attn_q", q_width, shape.hidden),
            ("attn_k", kv_width, shape.hidden),
            ("attn_v", kv_width, shape.hidden),
            ("attn_output", shape.hidden, q_width),
        ):
            weights.add(block + name + ".weight", (rows, columns), q8)
            weights.add(block + name + ".bias", (rows,), f32)
        weights.add(block + "attn_sinks.weight", (shape.heads,), f32)
        weights.add(block + "ffn_gate_inp.weight", (shape.experts, shape.hidden), f32)
        weights.add(block + "ffn_gate_inp.bias", (shape.experts,), f32)
        for name, rows, columns in (
            ("ffn_gate_exps", shape.expert_width, shape.hidden),
            ("ffn_up_exps", shape.expert_width, shape.hidden),
            ("ffn_down_exps", shape.hidden, shape.expert_width),
        ):
            weights.add(block + name + ".weight", (shape.experts, rows, columns), mxfp4)
            weights.add(block + name + ".bias", (shape.experts, rows), f32)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the GGUF to write")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="tiny", help="default: tiny")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    write_model(arguments.out, SHAPES[arguments.shape], O200K_HARMONY(), arguments.seed)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
