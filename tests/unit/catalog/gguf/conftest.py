"""A GGUF writer that will also write what no honest program writes."""

from __future__ import annotations

import dataclasses
import math
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

KINDS = ("u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64")
_PACK = {"u8": "B", "i8": "b", "u16": "H", "i16": "h", "u32": "I", "i32": "i", "f32": "f", "bool": "?"} | {
    "u64": "Q",
    "i64": "q",
    "f64": "d",
}
GGML_F32, GGML_Q8_0, GGML_MXFP4 = 0, 8, 39
_BLOCKS = {GGML_F32: (1, 4), GGML_Q8_0: (32, 34), GGML_MXFP4: (32, 17)}


@dataclasses.dataclass(frozen=True)
class Array:
    """An array value; `count` may lie, and `kind` may be one that there is not."""

    kind: str | int
    values: tuple[object, ...]
    count: int | None = None


@dataclasses.dataclass
class Tensor:
    """A tensor's entry; `offset` is worked out unless given, and data is written for what `dims` and `kind` need."""

    name: str
    dims: tuple[int, ...]
    kind: int = GGML_F32
    offset: int | None = None

    @property
    def size_bytes(self) -> int:
        elements, size = _BLOCKS.get(self.kind, (1, 4))
        return math.prod(self.dims) // elements * size


@dataclasses.dataclass
class GgufFile:
    """What `encode` writes; every part can be changed before."""

    metadata: list[tuple[str, str | int, object]]
    """Key, kind, value. A kind that is a number is written as it is, with a value of bytes."""
    tensors: list[Tensor]
    magic: bytes = b"GGUF"
    version: int = 3
    alignment: int = 32
    key_count: int | None = None
    tensor_count: int | None = None
    byte_order: str = "<"

    def set(self, key: str, value: object, kind: str | int | None = None) -> GgufFile:
        """Give `key` a value, in its place or at the end; of its old kind, or what such a value is."""
        names = [name for name, _, _ in self.metadata]
        place = names.index(key) if key in names else len(names)
        if kind is None:
            kind = self.metadata[place][1] if key in names and not isinstance(value, Array | str) else _kind(value)
        self.metadata[place : place + 1] = [(key, kind, value)]
        return self

    def set_array(self, key: str, kind: str | int, values: Iterable[object], count: int | None = None) -> GgufFile:
        return self.set(key, Array(kind, tuple(values), count))

    def called(self, architecture: str) -> GgufFile:
        """The same under another architecture's name."""
        old = next(value for key, _, value in self.metadata if key == "general.architecture")
        self.metadata = [
            (key.replace(f"{old}.", f"{architecture}."), kind, value) for key, kind, value in self.metadata
        ]
        return self.set("general.architecture", architecture)

    def drop(self, *keys: str) -> GgufFile:
        self.metadata = [entry for entry in self.metadata if entry[0] not in keys]
        return self

    def values(self, key: str) -> tuple[object, ...]:
        array = next(value for name, _, value in self.metadata if name == key)
        assert isinstance(array, Array)
        return array.values

    def tensor(self, name: str) -> Tensor:
        return next(tensor for tensor in self.tensors if tensor.name == name)

    def without(self, name: str) -> GgufFile:
        self.tensors = [tensor for tensor in self.tensors if tensor.name != name]
        return self

    def with_tensor(self, which: str, **changes: object) -> GgufFile:
        """Change one tensor's entry."""
        self.tensors = [dataclasses.replace(t, **changes) if t.name == which else t for t in self.tensors]
        return self

    def encode(self) -> bytes:
        header = self.header()
        data_size = 0
        for tensor in self.tensors:
            data_size = _padded(data_size + tensor.size_bytes, self.alignment)
        return header.ljust(_padded(len(header), self.alignment), b"\0") + bytes(data_size)

    def header(self) -> bytes:
        order = self.byte_order
        tensor_count = len(self.tensors) if self.tensor_count is None else self.tensor_count
        key_count = len(self.metadata) if self.key_count is None else self.key_count
        out = [self.magic, struct.pack(f"{order}IQQ", self.version, tensor_count, key_count)]
        for key, kind, value in self.metadata:
            out += [self._string(key), self._kind(kind), self._value(kind, value)]
        offset = 0
        for tensor in self.tensors:
            stated = offset if tensor.offset is None else tensor.offset
            dims = struct.pack(f"{order}I{len(tensor.dims)}Q", len(tensor.dims), *tensor.dims)
            out += [self._string(tensor.name), dims, struct.pack(f"{order}IQ", tensor.kind, stated % 2**64)]
            offset = _padded(offset + tensor.size_bytes, self.alignment)
        return b"".join(out)

    def _kind(self, kind: str | int) -> bytes:
        return struct.pack(f"{self.byte_order}I", KINDS.index(kind) if isinstance(kind, str) else kind)

    def _string(self, text: object) -> bytes:
        raw = text if isinstance(text, bytes) else str(text).encode()
        return struct.pack(f"{self.byte_order}Q", len(raw)) + raw

    def _value(self, kind: str | int, value: object) -> bytes:
        if isinstance(value, Array):
            count = len(value.values) if value.count is None else value.count
            head = self._kind(value.kind) + struct.pack(f"{self.byte_order}Q", count)
            return head + b"".join(self._value(value.kind, item) for item in value.values)
        if isinstance(value, bytes) and kind != "string":
            return value
        return self._string(value) if kind == "string" else struct.pack(self.byte_order + _PACK[str(kind)], value)


def _kind(value: object) -> str:
    kinds = {str: "string", bytes: "string", bool: "bool", int: "u32", float: "f32", Array: "array"}
    return kinds[type(value)]


def _padded(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment


def byte_tokens() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    names = {byte: chr(byte) for byte in plain}
    for byte in range(256):
        names.setdefault(byte, chr(256 + len(names) - len(plain)))
    return [names[byte] for byte in range(256)]


SPECIAL = ("<|startoftext|>", "<|endoftext|>", "<|return|>", "<|start|>", "<|end|>", "<|message|>", "<|channel|>")


def tokenizer() -> list[tuple[str, str | int, object]]:
    tokens = (*byte_tokens(), "he", "ll", *SPECIAL)
    types = (1,) * (len(tokens) - len(SPECIAL)) + (3,) * len(SPECIAL)
    first_special = len(tokens) - len(SPECIAL)
    return [
        ("tokenizer.ggml.model", "string", "gpt2"),
        ("tokenizer.ggml.pre", "string", "gpt-4o"),
        ("tokenizer.ggml.tokens", "array", Array("string", tokens)),
        ("tokenizer.ggml.token_type", "array", Array("i32", types)),
        ("tokenizer.ggml.merges", "array", Array("string", ("h e", "l l"))),
        ("tokenizer.ggml.bos_token_id", "u32", first_special),
        ("tokenizer.ggml.eos_token_id", "u32", first_special + 2),
        ("tokenizer.ggml.padding_token_id", "u32", first_special + 1),
    ]


VOCABULARY = 256 + 2 + len(SPECIAL)


def gpt_oss_file(layers: int = 2, hidden: int = 32, experts: int = 8, context: int = 4096) -> GgufFile:
    """A gpt-oss of 100 kB that llama.cpp loads (its weights are zero)."""
    heads, kv_heads, head, width = 2, 1, 32, 32
    p = "gpt-oss."
    metadata: list[tuple[str, str | int, object]] = [
        ("general.architecture", "string", "gpt-oss"),
        ("general.name", "string", "tiny"),
        (p + "block_count", "u32", layers),
        (p + "context_length", "u32", context),
        (p + "embedding_length", "u32", hidden),
        (p + "feed_forward_length", "u32", width),
        (p + "expert_feed_forward_length", "u32", width),
        (p + "attention.head_count", "u32", heads),
        (p + "attention.head_count_kv", "u32", kv_heads),
        (p + "attention.key_length", "u32", head),
        (p + "attention.value_length", "u32", head),
        (p + "attention.layer_norm_rms_epsilon", "f32", 1e-5),
        (p + "attention.sliding_window", "u32", 128),
        (p + "rope.freq_base", "f32", 150_000.0),
        (p + "rope.scaling.type", "string", "yarn"),
        (p + "rope.scaling.factor", "f32", 32.0),
        (p + "rope.scaling.original_context_length", "u32", 4096),
        (p + "expert_count", "u32", experts),
        (p + "expert_used_count", "u32", 2),
        *tokenizer(),
    ]
    tensors = [
        Tensor("token_embd.weight", (hidden, VOCABULARY)),
        Tensor("output_norm.weight", (hidden,)),
        Tensor("output.weight", (hidden, VOCABULARY)),
    ]
    for layer in range(layers):
        b = f"blk.{layer}."
        tensors += [Tensor(b + "attn_norm.weight", (hidden,)), Tensor(b + "post_attention_norm.weight", (hidden,))]
        for name, rows, columns in (
            ("attn_q", heads * head, hidden),
            ("attn_k", kv_heads * head, hidden),
            ("attn_v", kv_heads * head, hidden),
            ("attn_output", hidden, heads * head),
        ):
            tensors += [Tensor(b + name + ".weight", (columns, rows), GGML_Q8_0), Tensor(b + name + ".bias", (rows,))]
        tensors += [
            Tensor(b + "attn_sinks.weight", (heads,)),
            Tensor(b + "ffn_gate_inp.weight", (hidden, experts)),
            Tensor(b + "ffn_gate_inp.bias", (experts,)),
        ]
        for name, rows, columns in (
            ("ffn_gate_exps", width, hidden),
            ("ffn_up_exps", width, hidden),
            ("ffn_down_exps", hidden, width),
        ):
            tensors += [
                Tensor(b + name + ".weight", (columns, rows, experts), GGML_MXFP4),
                Tensor(b + name + ".bias", (rows, experts)),
            ]
    return GgufFile(metadata, tensors)


def llama_file(layers: int = 2, hidden: int = 32, context: int = 2048) -> GgufFile:
    """A llama of 100 kB, without experts."""
    heads, kv_heads, head, width = 2, 1, 16, 64
    metadata: list[tuple[str, str | int, object]] = [
        ("general.architecture", "string", "llama"),
        ("general.file_type", "u32", 0),
        ("llama.block_count", "u32", layers),
        ("llama.context_length", "u32", context),
        ("llama.embedding_length", "u32", hidden),
        ("llama.feed_forward_length", "u32", width),
        ("llama.attention.head_count", "u32", heads),
        ("llama.attention.head_count_kv", "u32", kv_heads),
        ("llama.attention.layer_norm_rms_epsilon", "f32", 1e-5),
        ("llama.rope.dimension_count", "u32", head),
        *tokenizer(),
        ("tokenizer.chat_template", "string", "{% for m in messages %}{{ m['content'] }}{% endfor %}"),
    ]
    tensors = [Tensor("token_embd.weight", (hidden, VOCABULARY)), Tensor("output_norm.weight", (hidden,))]
    for layer in range(layers):
        b = f"blk.{layer}."
        tensors += [
            Tensor(b + "attn_norm.weight", (hidden,)),
            Tensor(b + "attn_q.weight", (hidden, heads * head)),
            Tensor(b + "attn_k.weight", (hidden, kv_heads * head)),
            Tensor(b + "attn_v.weight", (hidden, kv_heads * head)),
            Tensor(b + "attn_output.weight", (heads * head, hidden)),
            Tensor(b + "ffn_norm.weight", (hidden,)),
            Tensor(b + "ffn_gate.weight", (hidden, width)),
            Tensor(b + "ffn_up.weight", (hidden, width)),
            Tensor(b + "ffn_down.weight", (width, hidden)),
        ]
    return GgufFile(metadata, tensors)


@pytest.fixture
def gpt_oss() -> GgufFile:
    return gpt_oss_file()


@pytest.fixture
def llama() -> GgufFile:
    return llama_file()


@pytest.fixture
def write(tmp_path: Path) -> Callable[[GgufFile | bytes], Path]:
    """Puts a model, or any bytes, into a file."""

    def to_file(content: GgufFile | bytes, name: str = "model.gguf") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, GgufFile) else content)
        return path

    return to_file
