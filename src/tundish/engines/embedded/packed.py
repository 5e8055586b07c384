"""The packed model: weights, and of the vocabulary's rows only those that were trained.

The file (training/gpt_oss_nano/export.py makes it): the length of the header (uint32, little-endian), the header as
JSON, and the payload compressed by xz. The payload, in this order, rows and tensors in GGUF's own encodings:

- the ids of the kept rows (uint32, little-endian, ascending),
- their rows of the token embedding, Q8_0. The output matrix is tied: it has the same rows, with channel 0 zeroed,
- one row for the embedding of every other token, and one for its output, which keeps it from ever being drawn,
- the other tensors, as the header lists them.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import lzma
import struct
from typing import NoReturn

import msgspec

from tundish.catalog.gguf.format import TENSOR_TYPES
from tundish.catalog.gguf.writer import Tensor
from tundish.core.errors import ModelFileInvalid

FILE_NAME = "gpt_oss_nano.pack"
Q8_0 = 8
_LENGTH = struct.Struct("<I")
_HEADER_LIMIT_BYTES = 1024 * 1024


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """The sizes that a gpt-oss's GGUF states."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    experts: int
    experts_used: int
    expert_width: int
    sliding_window: int
    rms_epsilon: float
    rope_base: float
    rope_factor: float
    rope_original_context: int


class TensorEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor of the payload; `dims` has the row length first."""

    name: str
    dims: tuple[int, ...]
    kind: int

    @property
    def size_bytes(self) -> int:
        elements = 1
        for dim in self.dims:
            elements *= dim
        stored = TENSOR_TYPES[self.kind]
        return elements // stored.block_elements * stored.block_bytes


class PackHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What can be known without decompressing anything."""

    shape: Shape
    kept_rows: int
    tensors: tuple[TensorEntry, ...]
    payload_sha256: str
    """Of the decompressed payload."""
    expanded_sha256: str
    """Of the GGUF that it becomes."""
    expanded_bytes: int


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """The weights."""

    kept_ids: tuple[int, ...]
    rows: memoryview
    """[kept_rows] rows of Q8_0 blocks."""
    unknown_row: memoryview
    silent_row: memoryview
    tensors: tuple[Tensor, ...]


class Pack:
    """A packed model, its header read."""

    def __init__(self, content: bytes) -> None:
        """
        Raises:
            ModelFileInvalid: it is damaged.
        """
        try:
            (length,) = _LENGTH.unpack_from(content)
            if length > _HEADER_LIMIT_BYTES:
                damaged()
            self.header = msgspec.json.decode(content[_LENGTH.size : _LENGTH.size + length], type=PackHeader)
        except (struct.error, msgspec.DecodeError) as error:
            damaged(error)
        self._compressed = content[_LENGTH.size + length :]

    @staticmethod
    def installed() -> Pack:
        """The one that comes with Tundish.

        Raises:
            ModelFileInvalid: the installation is not whole.
        """
        try:
            return Pack((importlib.resources.files("tundish.engines.embedded") / FILE_NAME).read_bytes())
        except OSError as error:
            damaged(error)

    def payload(self) -> Payload:
        """
        Raises:
            ModelFileInvalid: it is damaged.
        """
        try:
            content = memoryview(lzma.decompress(self._compressed))
        except lzma.LZMAError as error:
            damaged(error)
        if hashlib.sha256(content).hexdigest() != self.header.payload_sha256:
            damaged()
        kept, start = self.header.kept_rows, 0

        def take(length: int) -> memoryview:
            nonlocal start
            start += length
            return content[start - length : start]

        row_bytes = TensorEntry(name="row", dims=(self.header.shape.hidden,), kind=Q8_0).size_bytes
        return Payload(
            kept_ids=struct.unpack(f"<{kept}I", take(4 * kept)),
            rows=take(kept * row_bytes),
            unknown_row=take(row_bytes),
            silent_row=take(row_bytes),
            tensors=tuple(
                Tensor(name=entry.name, dims=entry.dims, kind=entry.kind, data=take(entry.size_bytes))
                for entry in self.header.tensors
            ),
        )


def packed(header: PackHeader, payload: bytes) -> bytes:
    """The file."""
    encoded = msgspec.json.encode(header)
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 23}]
    return _LENGTH.pack(len(encoded)) + encoded + lzma.compress(payload, filters=filters)


def damaged(cause: Exception | None = None) -> NoReturn:
    """Tell that the installation is not whole.

    Raises:
        ModelFileInvalid: always.
    """
    raise ModelFileInvalid(f"The packaged gpt-oss-nano ({FILE_NAME}) is damaged. Install tundish again.") from cause
