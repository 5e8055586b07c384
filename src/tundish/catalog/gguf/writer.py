"""Writes a GGUF, the format's version 3, as a stream of bytes."""

from __future__ import annotations

import dataclasses
import math
import struct
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from tundish.catalog.gguf.format import DEFAULT_ALIGNMENT, MAGIC, SCALAR_FORMATS, TENSOR_TYPES, ValueKind

Buffer: TypeAlias = bytes | bytearray | memoryview
MetadataValue: TypeAlias = bool | int | float | str | Sequence[str] | Sequence[int]
"""Integers become uint32, in sequences int32; floats become float32: what llama.cpp reads its own keys as."""

_VERSION = 3
_LENGTH = struct.Struct("<Q")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One tensor, its numbers as the file holds them. `dims`: the row length first. `kind`: a key of TENSOR_TYPES."""

    name: str
    dims: tuple[int, ...]
    kind: int
    data: Buffer

    def __post_init__(self) -> None:
        stored = TENSOR_TYPES[self.kind]
        expected = math.prod(self.dims) // stored.block_elements * stored.block_bytes
        if self.dims[0] % stored.block_elements or len(self.data) != expected:
            raise ValueError(
                f"{self.name}: {len(self.data)} bytes are no {stored.name} tensor of {self.dims}, that has {expected}"
            )


def write(metadata: Mapping[str, MetadataValue], tensors: Sequence[Tensor]) -> Iterator[Buffer]:
    """The file, in pieces of any size."""
    header = [MAGIC, struct.pack("<IQQ", _VERSION, len(tensors), len(metadata))]
    for key, value in metadata.items():
        header += [_string(key), *_value(value)]
    offset = 0
    for tensor in tensors:
        dims = struct.pack(f"<I{len(tensor.dims)}Q", len(tensor.dims), *tensor.dims)
        header += [_string(tensor.name), dims, struct.pack("<IQ", tensor.kind, offset)]
        offset += _aligned(len(tensor.data))
    joined = b"".join(header)
    yield joined
    yield _padding(len(joined))
    for tensor in tensors:
        yield tensor.data
        yield _padding(len(tensor.data))


def _aligned(length: int) -> int:
    return -(-length // DEFAULT_ALIGNMENT) * DEFAULT_ALIGNMENT


def _padding(length: int) -> bytes:
    return bytes(_aligned(length) - length)


def _string(text: str) -> bytes:
    encoded = text.encode()
    return _LENGTH.pack(len(encoded)) + encoded


def _value(value: MetadataValue) -> Iterator[bytes]:
    match value:
        case bool():
            yield _scalar(ValueKind.BOOL, value)
        case int():
            yield _scalar(ValueKind.UINT32, value)
        case float():
            yield _scalar(ValueKind.FLOAT32, value)
        case str():
            yield struct.pack("<I", ValueKind.STRING) + _string(value)
        case _:
            yield from _array(value)


def _scalar(kind: ValueKind, value: float) -> bytes:
    return struct.pack("<I" + SCALAR_FORMATS[kind], kind, value)


def _array(values: Sequence[str] | Sequence[int]) -> Iterator[bytes]:
    texts = [value for value in values if isinstance(value, str)]
    kind = ValueKind.STRING if texts else ValueKind.INT32
    yield struct.pack("<IIQ", ValueKind.ARRAY, kind, len(values))
    if texts:
        yield b"".join(map(_string, texts))
        return
    numbers = array("i", [value for value in values if isinstance(value, int)])
    if sys.byteorder == "big":
        numbers.byteswap()
    yield numbers.tobytes()
