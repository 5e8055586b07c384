"""Pack trained weights into the one file that Tundish carries.

    python export.py OUT_FOLDER            OUT_FOLDER/weights.npz → src/tundish/engines/embedded/gpt_oss_nano.pack
    python export.py OUT_FOLDER --to FILE

Needs numpy, and neither torch nor the corpus.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tundish.engines.embedded import packed
from tundish.engines.embedded.expansion import contents
from tundish.engines.embedded.packed import Pack, PackHeader, Shape, TensorEntry
from tundish.harmony.vocabulary import O200K_HARMONY

_F32, _Q8_0, _MXFP4 = 0, 8, 39
_CONSTANT_CHANNEL, _CONSTANT = 0, 1.0
"""As in model.py, which needs torch."""
_SILENCE = -4_000.0
"""Weight of the constant channel in the output rows of tokens that the model never saw: far below any trained token's logit."""
_MXFP4_VALUES = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])

_VECTORS = {
    "attn_norm": "attn_norm.weight",
    "ffn_norm": "post_attention_norm.weight",
    "sinks": "attn_sinks.weight",
    "q_bias": "attn_q.bias",
    "k_bias": "attn_k.bias",
    "v_bias": "attn_v.bias",
    "output_bias": "attn_output.bias",
    "router": "ffn_gate_inp.weight",
    "router_bias": "ffn_gate_inp.bias",
    "gate_bias": "ffn_gate_exps.bias",
    "up_bias": "ffn_up_exps.bias",
    "down_bias": "ffn_down_exps.bias",
}
_MATRICES = {"q": "attn_q.weight", "k": "attn_k.weight", "v": "attn_v.weight", "output": "attn_output.weight"}
_EXPERTS = {"gate": "ffn_gate_exps.weight", "up": "ffn_up_exps.weight", "down": "ffn_down_exps.weight"}


def q8_0(values: np.ndarray) -> bytes:
    """Blocks of 32: a float16 scale and 32 signed bytes."""
    blocks = values.astype(np.float32).reshape(-1, 32)
    scales = (np.abs(blocks).max(axis=1, keepdims=True) / 127).astype(np.float16)
    divisors = np.where(scales == 0, 1, scales.astype(np.float32))
    quants = np.clip(np.rint(blocks / divisors), -127, 127).astype(np.int8)
    return np.concatenate([scales.view(np.uint8), quants.view(np.uint8)], axis=1).tobytes()


def mxfp4(values: np.ndarray) -> bytes:
    """Blocks of 32: an exponent byte, then 4-bit floats, of which a byte holds numbers j and j + 16.

    Of the two exponents that can be best, the one with the smaller squared error is taken, as the training does.
    """
    blocks = values.astype(np.float32).reshape(-1, 32)
    largest = np.maximum(np.abs(blocks).max(axis=1, keepdims=True), 2.0**-100)
    edges = (_MXFP4_VALUES[1:] + _MXFP4_VALUES[:-1]) / 2
    candidates = []
    for offset in (-2, -1):
        exponents = np.floor(np.log2(largest)) + offset
        scaled = blocks / np.exp2(exponents)
        codes = np.searchsorted(edges, np.abs(scaled))
        errors = (np.square(_MXFP4_VALUES[codes] - np.abs(scaled)).sum(axis=1, keepdims=True)) * np.square(
            np.exp2(exponents)
        )
        candidates.append((codes + 8 * (scaled < 0), exponents, errors))
    (first, first_exponents, first_errors), (second, second_exponents, second_errors) = candidates
    better = second_errors < first_errors
    codes = np.where(better, second, first).astype(np.uint8)
    exponents = (np.where(better, second_exponents, first_exponents) + 127).astype(np.uint8)
    return np.concatenate([exponents, codes[:, :16] | codes[:, 16:] << 4], axis=1).tobytes()


def _tensors(weights: dict[str, np.ndarray], layers: int) -> Iterator[tuple[TensorEntry, bytes]]:
    def made(name: str, values: np.ndarray, kind: int) -> tuple[TensorEntry, bytes]:
        encode = {_F32: lambda array: array.astype("<f4").tobytes(), _Q8_0: q8_0, _MXFP4: mxfp4}[kind]
        return TensorEntry(name=name, dims=tuple(reversed(values.shape)), kind=kind), encode(values)

    norm = weights["norm"].copy()
    norm[_CONSTANT_CHANNEL] = 1.0  # nothing trained reads the channel there, and the silent rows do
    yield made("output_norm.weight", norm, _F32)
    for layer in range(layers):
        for names, kind in ((_VECTORS, _F32), (_MATRICES, _Q8_0), (_EXPERTS, _MXFP4)):
            for name, stored in names.items():
                yield made(f"blk.{layer}.{stored}", _silenced(name, weights[f"layers.{layer}.{name}"]), kind)


def _silenced(name: str, values: np.ndarray) -> np.ndarray:
    """What writes to the residual must leave the constant channel alone, as model.py's mask does."""
    values = values.copy()
    match name:
        case "output" | "output_bias":
            values[_CONSTANT_CHANNEL] = 0
        case "down" | "down_bias":
            values[:, _CONSTANT_CHANNEL] = 0
        case _:
            pass
    return values


def pack(weights: dict[str, np.ndarray]) -> bytes:
    """The packed file."""
    embedding = weights["embedding"].copy()
    embedding[:, _CONSTANT_CHANNEL] = _CONSTANT
    kept_ids = weights["kept_ids"]
    layers = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("layers."))
    silent = np.zeros(embedding.shape[1], np.float32)
    silent[_CONSTANT_CHANNEL] = _SILENCE
    entries, blocks = zip(*_tensors(weights, layers), strict=True)
    payload = b"".join([
        kept_ids.astype("<u4").tobytes(),
        q8_0(embedding[:-1]),
        q8_0(embedding[-1:]),
        q8_0(silent),
        *blocks,
    ])  # fmt: skip
    header = PackHeader(
        shape=_shape(weights, layers),
        kept_rows=len(kept_ids),
        tensors=entries,
        payload_sha256=hashlib.sha256(payload).hexdigest(),
        expanded_sha256="",
        expanded_bytes=0,
    )
    expanded = hashlib.sha256()
    size = 0
    for piece in contents(header, Pack(packed.packed(header, payload)).payload(), O200K_HARMONY()):
        expanded.update(piece)
        size += len(piece)
    told = {name: getattr(header, name) for name in header.__struct_fields__}
    told |= {"expanded_sha256": expanded.hexdigest(), "expanded_bytes": size}
    return packed.packed(PackHeader(**told), payload)


def _shape(weights: dict[str, np.ndarray], layers: int) -> Shape:
    """Sizes from the arrays, the rest as model.Shape has it."""
    heads = len(weights["layers.0.sinks"])
    head_dim = weights["layers.0.q"].shape[0] // heads
    experts, expert_width, hidden = weights["layers.0.gate"].shape
    return Shape(
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=weights["layers.0.k"].shape[0] // head_dim,
        head_dim=head_dim,
        experts=experts,
        experts_used=2,
        expert_width=expert_width,
        sliding_window=128,
        rms_epsilon=1e-5,
        rope_base=150_000.0,
        rope_factor=32.0,
        rope_original_context=4_096,
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder that train.py wrote")
    installed = Path(packed.__file__).with_name(packed.FILE_NAME)
    parser.add_argument("--to", type=Path, default=installed, help="the file to write; default: Tundish's own")
    arguments = parser.parse_args()
    with np.load(arguments.run / "weights.npz") as stored:
        content = pack({name: stored[name] for name in stored.files})
    arguments.to.write_bytes(content)
    print(f"{arguments.to}: {len(content) / 1e6:.2f} MB, expands to {Pack(content).header.expanded_bytes / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
