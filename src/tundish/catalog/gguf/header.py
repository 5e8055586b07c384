"""Reads the header of one GGUF file and believes nothing it says.

Every length, count and offset is checked against the file and against a limit before it is used, so that a hostile file
costs neither memory nor time. The file is read, not mapped: when somebody cuts a mapped file short, the process that
looks at it is ended.
"""

from __future__ import annotations

import dataclasses
import math
import stat
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NoReturn

from tundish.catalog.gguf.format import (
    DEFAULT_ALIGNMENT,
    MAGIC,
    MAX_TENSOR_DIMS,
    MAX_TENSOR_NAME_BYTES,
    SCALAR_FORMATS,
    TENSOR_TYPES,
    VERSIONS,
    ArrayValue,
    TensorType,
    Value,
    ValueKind,
)
from tundish.core.errors import ModelFileInvalid

_WINDOW_BYTES = 256 * 1024
_MAX_HEADER_BYTES = 128 * 1024 * 1024
"""The largest in use have 30 MB, nearly all of it vocabulary."""
_MAX_KEYS = 65_536
_MAX_KEY_BYTES = 65_535
_MAX_TENSORS = 131_072
_MAX_STRING_BYTES = 16 * 1024 * 1024
_MAX_STRINGS = 4_000_000
_MAX_TOKENS = 1_048_576
_MAX_TOKEN_BYTES = 65_535
_KEPT_NUMBERS = 4_096
_MAX_ALIGNMENT = 1024 * 1024
_ALIGNMENT_KEY = "general.alignment"
TOKENS_KEY = "tokenizer.ggml.tokens"
_LENGTH = struct.Struct("<Q")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """One tensor's entry. `dims` has the row length first."""

    name: str
    dims: tuple[int, ...]
    type: TensorType
    size_bytes: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What one file says about itself, with everything in it that can be checked without knowing the architecture."""

    path: Path
    file_bytes: int
    metadata: Mapping[str, Value]
    tensors: Sequence[TensorInfo]


def invalid(path: Path, what: str) -> NoReturn:
    """Refuse the file.

    Raises:
        ModelFileInvalid: always.
    """
    raise ModelFileInvalid(f"{path} cannot be used as a model: {what}")


def read_header(path: Path) -> Header:
    """Read and check the header of one GGUF file.

    Raises:
        ModelFileInvalid: it cannot be read, is another kind of file, is cut short, or contradicts itself.
    """
    try:
        information = path.stat()
        if not stat.S_ISREG(information.st_mode):
            invalid(path, f"it is {_file_kind(information.st_mode)}, not a file. Give the path of a GGUF file.")
        with path.open("rb", buffering=0) as file:
            return _HeaderReader(path, file, information.st_size).read()
    except OSError as error:
        invalid(path, f"{error.strerror or error}. Is the path right, and may you read it?")


def _file_kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


class _HeaderReader:
    """One pass over the file's beginning."""

    def __init__(self, path: Path, file: BinaryIO, file_bytes: int) -> None:
        self._path = path
        self._file = file
        self._file_bytes = file_bytes
        self._window = b""
        self._window_start = 0
        self._at = 0
        """Offset in the file of what is read next."""
        self._strings_left = _MAX_STRINGS

    def read(self) -> Header:
        self._require_gguf(self._peek(_FOREIGN_MAGIC_BYTES))
        self._at = 8
        tensor_count, key_count = self._uint64("the number of tensors"), self._uint64("the number of keys")
        if tensor_count > _MAX_TENSORS or key_count > _MAX_KEYS:
            self._invalid(
                f"its header claims {tensor_count} tensors and {key_count} keys "
                f"(at most {_MAX_TENSORS} and {_MAX_KEYS} are read). It is damaged or hostile."
            )
        metadata = self._metadata(key_count)
        tensors = self._tensors(tensor_count, self._alignment(metadata))
        return Header(path=self._path, file_bytes=self._file_bytes, metadata=metadata, tensors=tensors)

    # --- what kind of file it is ---

    def _require_gguf(self, start: bytes) -> None:
        if start[:4] != MAGIC:
            self._invalid(describe_foreign(start, self._file_bytes))
        if len(start) < 8:
            self._cut_short("its version", 8 - len(start))
        version = int.from_bytes(start[4:8], "little")
        if version == 1:
            self._invalid("it is GGUF version 1, which llama.cpp no longer reads. Convert the model again.")
        if version & 0xFFFF == 0 and version:
            self._invalid("it is a big-endian GGUF file, made for another kind of machine. Get the little-endian one.")
        if version not in VERSIONS:
            self._invalid(f"it is GGUF version {version}; versions 2 and 3 can be read. It is damaged or too new.")

    # --- metadata ---

    def _metadata(self, count: int) -> Mapping[str, Value]:
        metadata: dict[str, Value] = {}
        for index in range(count):
            key = self._string(f"key {index + 1} of {count}", _MAX_KEY_BYTES)
            if not key:
                self._invalid(f"key {index + 1} of its header is empty. It is damaged.")
            if key in metadata:
                self._invalid(f"its header has the key {key!r} twice. It is damaged or hostile.")
            metadata[key] = self._value(key)
        return metadata

    def _value(self, key: str) -> Value:
        what = f"the value of {key!r}"
        kind = self._kind(what)
        if kind is ValueKind.STRING:
            return self._string(what, _MAX_STRING_BYTES)
        if kind is ValueKind.ARRAY:
            return self._array(key, what)
        (value,) = self._unpack(SCALAR_FORMATS[kind], what)
        return value

    def _kind(self, what: str) -> ValueKind:
        number = self._uint32(what)
        try:
            return ValueKind(number)
        except ValueError:
            self._invalid(f"{what} is of kind {number}, which GGUF does not have. It is damaged.")

    def _array(self, key: str, what: str) -> ArrayValue:
        kind, count = self._kind(what), self._uint64(what)
        if kind is ValueKind.ARRAY:
            self._invalid(f"{what} is an array of arrays, which llama.cpp does not read. It is damaged.")
        if kind is ValueKind.STRING:
            self._walk_strings(key, what, count)
            return ArrayValue(kind=kind, count=count)
        size = count * struct.calcsize("<" + SCALAR_FORMATS[kind])
        self._require(size, what)
        if count > _KEPT_NUMBERS:
            self._at += size
            return ArrayValue(kind=kind, count=count)
        return ArrayValue(kind=kind, count=count, numbers=self._unpack(f"{count}{SCALAR_FORMATS[kind]}", what))

    def _walk_strings(self, key: str, what: str, count: int) -> None:
        """Step over `count` strings, a window of the file at a time."""
        self._require(count * _LENGTH.size, what)
        self._strings_left -= count
        if self._strings_left < 0:
            self._invalid(f"its header has more than {_MAX_STRINGS} strings. It is damaged or hostile.")
        if key == TOKENS_KEY:
            self._walk_tokens(what, count)
        else:
            self._skip_strings(what, count)

    def _skip_strings(self, what: str, count: int) -> None:
        unpack, prefix = _LENGTH.unpack_from, _LENGTH.size
        while count:
            window = self._peek(_WINDOW_BYTES)
            position, last = 0, len(window) - prefix
            if last < 0:
                self._cut_short(what, prefix - len(window))
            while count and position <= last:
                (length,) = unpack(window, position)
                if length > _MAX_STRING_BYTES:
                    self._invalid(f"{what} has a text of {length} bytes. It is damaged or hostile.")
                position += prefix + length
                count -= 1
            self._require(position, what)
            self._at += position

    def _walk_tokens(self, what: str, count: int) -> None:
        """Step over the vocabulary; llama.cpp aborts when two tokens are the same."""
        if count > _MAX_TOKENS:
            self._invalid(f"its vocabulary claims {count} tokens. It is damaged or hostile.")
        unpack, prefix = _LENGTH.unpack_from, _LENGTH.size
        seen: set[bytes] = set()
        while count:
            window = self._peek(_WINDOW_BYTES)
            position, last = 0, len(window) - prefix
            if last < 0:
                self._cut_short(what, prefix - len(window))
            while count and position <= last:
                (length,) = unpack(window, position)
                end = position + prefix + length
                if end > len(window):
                    if length > _MAX_TOKEN_BYTES:
                        self._invalid(f"{what} has a token of {length} bytes. It is damaged or hostile.")
                    self._require(end, what)
                    if not position:
                        self._cut_short(what, end - len(window))
                    break  # once more, with this token at the window's start
                token = window[position + prefix : end]
                if b"\0" in token:
                    token = token[: token.index(b"\0")]  # which is where llama.cpp lets it end
                if token in seen and token:
                    self._invalid(f"its vocabulary has the token {token.decode('utf-8', 'replace')!r} twice.")
                seen.add(token)
                position = end
                count -= 1
            self._at += position

    def _alignment(self, metadata: Mapping[str, Value]) -> int:
        alignment = metadata.get(_ALIGNMENT_KEY, DEFAULT_ALIGNMENT)
        if (
            not isinstance(alignment, int)
            or not DEFAULT_ALIGNMENT <= alignment <= _MAX_ALIGNMENT
            or alignment & (alignment - 1)
        ):
            self._invalid(f"{_ALIGNMENT_KEY} must be a power of two from {DEFAULT_ALIGNMENT}, not {alignment!r}.")
        return alignment

    # --- tensors ---

    def _tensors(self, count: int, alignment: int) -> Sequence[TensorInfo]:
        tensors: list[TensorInfo] = []
        names: set[str] = set()
        offset = 0
        for index in range(count):
            tensor, stated = self._tensor(index, count)
            if tensor.name in names:
                self._invalid(f"it has the tensor {tensor.name!r} twice. It is damaged or hostile.")
            if stated != offset:
                self._invalid(f"the tensor {tensor.name!r} is said to be at {stated}, but belongs at {offset}.")
            names.add(tensor.name)
            tensors.append(tensor)
            offset = _aligned(offset + tensor.size_bytes, alignment)
        if tensors:
            # llama.cpp does not ask for the padding behind the last tensor.
            before_last = offset - _aligned(tensors[-1].size_bytes, alignment)
            self._require_data(_aligned(self._at, alignment) + before_last + tensors[-1].size_bytes)
        return tensors

    def _tensor(self, index: int, count: int) -> tuple[TensorInfo, int]:
        what = f"tensor {index + 1} of {count}"
        name = self._string(what, MAX_TENSOR_NAME_BYTES)
        what = f"the tensor {name!r}"
        dim_count = self._uint32(what)
        if dim_count > MAX_TENSOR_DIMS:
            self._invalid(f"{what} has {dim_count} dimensions; {MAX_TENSOR_DIMS} is the most. It is damaged.")
        dims = tuple(self._uint64(what) for _ in range(dim_count))
        number, offset = self._uint32(what), self._uint64(what)
        kind = TENSOR_TYPES.get(number)
        if kind is None:
            self._invalid(f"{what} is stored as type {number}, which this version does not know.")
        elements = math.prod(dims)
        row = dims[0] if dims else 1
        if not 0 < elements < 2**60 or max(dims, default=1) >= 2**48:
            self._invalid(f"{what} has the impossible shape {list(dims)}. It is damaged or hostile.")
        if row % kind.block_elements:
            self._invalid(f"{what} has rows of {row} numbers, but {kind.name} stores {kind.block_elements} together.")
        size_bytes = elements // kind.block_elements * kind.block_bytes
        return TensorInfo(name=name, dims=dims, type=kind, size_bytes=size_bytes), offset

    def _require_data(self, needed: int) -> None:
        if needed > self._file_bytes:
            self._invalid(
                f"it is cut short: {self._file_bytes} of {needed} bytes are here, "
                f"{needed - self._file_bytes} are missing. Fetch it again."
            )

    # --- bytes ---

    def _peek(self, size: int) -> bytes:
        """Up to `size` bytes from here on; less only at the file's end."""
        start = self._at - self._window_start
        if start < 0 or start + size > len(self._window):
            self._file.seek(self._at)
            self._window = self._read_fully(max(size, _WINDOW_BYTES))
            self._window_start, start = self._at, 0
        return self._window[start : start + size]

    def _read_fully(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size and (part := self._file.read(size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _take(self, size: int, what: str) -> bytes:
        self._require(size, what)
        data = self._peek(size)
        if len(data) < size:
            self._cut_short(what, size - len(data))
        self._at += size
        return data

    def _require(self, size: int, what: str) -> None:
        missing = self._at + size - self._file_bytes
        if missing > 0:
            self._cut_short(what, missing)
        if self._at + size > _MAX_HEADER_BYTES:
            self._invalid(f"its header has more than {_MAX_HEADER_BYTES} bytes. It is damaged or hostile.")

    def _unpack(self, layout: str, what: str) -> tuple[int | float | bool, ...]:
        layout = "<" + layout
        return struct.unpack(layout, self._take(struct.calcsize(layout), what))

    def _uint32(self, what: str) -> int:
        return int.from_bytes(self._take(4, what), "little")

    def _uint64(self, what: str) -> int:
        return int.from_bytes(self._take(8, what), "little")

    def _string(self, what: str, limit: int) -> str:
        length = self._uint64(what)
        if length > limit:
            self._invalid(f"{what} claims {length} bytes of text; {limit} is the most. It is damaged or hostile.")
        return self._take(length, what).decode("utf-8", "replace")

    def _cut_short(self, what: str, missing: int) -> NoReturn:
        self._invalid(
            f"it is cut short: its {self._file_bytes} bytes end inside its header, at {what}; "
            f"at least {missing} more bytes belong there. Fetch it again."
        )

    def _invalid(self, what: str) -> NoReturn:
        invalid(self._path, what)


def _aligned(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment


_FOREIGN_MAGIC_BYTES = 64
_FOREIGN: Sequence[tuple[bytes, str]] = (
    (b"PK\x03\x04", "a zip archive or PyTorch file. Unpack or convert it to GGUF"),
    (b"\x7fELF", "a Linux program"),
    (b"MZ", "a Windows program"),
    (b"\x1f\x8b", "gzip-compressed. Unpack it first"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed. Unpack it first"),
    (b"version https://git-lfs", "a Git LFS pointer: the model itself was not downloaded. Run `git lfs pull`"),
    (b"<", "a web page or XML: a download got an error or log-in page instead of the model. Fetch it again"),
    (b"lmgg", "a model in a format older than GGUF. Get a GGUF file of it"),
    (b"tjgg", "a model in a format older than GGUF. Get a GGUF file of it"),
    (b"fmgg", "a model in a format older than GGUF. Get a GGUF file of it"),
    (b"FUGG", "a big-endian GGUF file, made for another kind of machine. Get the little-endian one"),
    (b"{", "JSON"),
    (b"%PDF", "a PDF"),
)


def describe_foreign(start: bytes, file_bytes: int) -> str:
    """What a file is that begins with `start` and is no GGUF."""
    if not file_bytes:
        return "it is empty. Fetch it again."
    for magic, name in _FOREIGN:
        if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(magic):
            return f"it is {name}. (A GGUF file begins with the letters GGUF.)"
    if len(start) > 8 and start[8:9] == b"{" and 0 < int.from_bytes(start[:8], "little") < file_bytes:
        return "it is a safetensors file, which llama.cpp does not read. Get or make a GGUF file of the model."
    if not any(start):
        return "it begins with zeros: a download that never finished? Fetch it again."
    return f"it is not a GGUF file: it begins with {start[:8]!r} instead of the letters GGUF."
