"""A whole model as its headers tell it: one file or the parts of a split one, with typed access to the metadata."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from tundish.catalog.gguf.format import ArrayValue, Value, ValueKind
from tundish.catalog.gguf.header import Header, TensorInfo, invalid, read_header

_SPLIT_NAME = re.compile(r"(?P<name>.*)-(?P<part>\d{5})-of-(?P<parts>\d{5})\.gguf", re.IGNORECASE)
_BLOCK = re.compile(r"(?:enc\.|dec\.)?blk\.(\d+)\.")
_MAX_PARTS = 1_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GgufModel:
    """Metadata of the first file, tensors of all."""

    path: Path
    parts: tuple[Path, ...]
    file_bytes: int
    metadata: Mapping[str, Value]
    tensors: Mapping[str, TensorInfo]

    def invalid(self, what: str) -> NoReturn:
        """Refuse the model.

        Raises:
            ModelFileInvalid: always.
        """
        invalid(self.path, what)

    @property
    def architecture(self) -> str:
        """As llama.cpp names it."""
        value = self.metadata.get("general.architecture")
        if not isinstance(value, str) or not value:
            self.invalid("its header does not say which architecture it is (general.architecture).")
        return value

    def key(self, name: str) -> str:
        """The full name of a hyperparameter: `block_count` → `gpt-oss.block_count`."""
        return f"{self.architecture}.{name}"

    def integer(self, name: str) -> int | None:
        """A hyperparameter that is a count, or None when it is absent; the largest where each layer has its own."""
        counts = self.integers(name)
        return None if counts is None else max(counts, default=0)

    def integers(self, name: str) -> tuple[int, ...] | None:
        """A count for each layer, or one for all, or None when it is absent."""
        key = self.key(name)
        value = self.metadata.get(key)
        if value is None:
            return None
        counts = value.numbers if isinstance(value, ArrayValue) else (value,)
        if isinstance(value, ArrayValue) and len(counts) != value.count:
            self.invalid(f"{key} is a list of {value.count} values. It is damaged.")
        whole = tuple(count for count in counts if isinstance(count, int) and 0 <= count < 2**32)
        if len(whole) != len(counts):
            shown = next(count for count in counts if not (isinstance(count, int) and 0 <= count < 2**32))
            self.invalid(f"{key} must be a whole number from 0, not {shown!r}.")
        return whole

    def require(self, name: str, smallest: int, largest: int) -> int:
        """A count that must be there and lie in a range."""
        value = self.integer(name)
        if value is None:
            self.invalid(f"its header lacks {self.key(name)}.")
        if not smallest <= value <= largest:
            self.invalid(f"{self.key(name)} is {value}; it must be from {smallest} to {largest}.")
        return value

    def number(self, name: str) -> float | None:
        """A hyperparameter that is a number."""
        value = self.metadata.get(self.key(name))
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            self.invalid(f"{self.key(name)} must be a number.")
        return value

    def text(self, key: str) -> str | None:
        """A text, by its full key."""
        value = self.metadata.get(key)
        if value is not None and not isinstance(value, str):
            self.invalid(f"{key} must be a text.")
        return value

    def array(self, key: str) -> ArrayValue | None:
        """An array, by its full key."""
        value = self.metadata.get(key)
        if value is not None and not isinstance(value, ArrayValue):
            self.invalid(f"{key} must be an array.")
        return value

    def block_of(self, tensor: str) -> int | None:
        """The layer that a tensor belongs to."""
        found = _BLOCK.match(tensor)
        return int(found[1]) if found else None

    @property
    def vocabulary_size(self) -> int:
        """Tokens; 0 when the file has none."""
        tokens = self.array("tokenizer.ggml.tokens")
        if tokens is not None and tokens.kind is not ValueKind.STRING:
            self.invalid("tokenizer.ggml.tokens must be an array of texts.")
        return 0 if tokens is None else tokens.count


def read_model(path: Path) -> GgufModel:
    """Read the headers of the model at `path`: a GGUF file, or the first part of a split one.

    Raises:
        ModelFileInvalid: a file of it is missing, damaged, foreign or hostile.
    """
    first = read_header(path)
    headers = [first, *_further_parts(path, first)]
    tensors: dict[str, TensorInfo] = {}
    for header in headers:
        for tensor in header.tensors:
            if tensor.name in tensors:
                invalid(header.path, f"the tensor {tensor.name!r} is in another part, too. The parts do not fit.")
            tensors[tensor.name] = tensor
    stated = first.metadata.get("split.tensors.count")
    if len(headers) > 1 and stated != len(tensors):
        invalid(path, f"its {len(headers)} parts have {len(tensors)} tensors instead of {stated}. They do not fit.")
    return GgufModel(
        path=path,
        parts=tuple(header.path for header in headers),
        file_bytes=sum(header.file_bytes for header in headers),
        metadata=first.metadata,
        tensors=tensors,
    )


def _further_parts(path: Path, first: Header) -> Sequence[Header]:
    count = _split_number(first, "split.count", default=1)
    if count <= 1:
        return ()
    number = _split_number(first, "split.no", default=0)
    name = _SPLIT_NAME.fullmatch(path.name)
    if name is None or int(name["parts"]) != count or int(name["part"]) != number + 1:
        invalid(
            path,
            f"it is part {number + 1} of {count} of a model, which its name must say as llama.cpp expects it: "
            f"NAME-{number + 1:05}-of-{count:05}.gguf. Rename it, and its other parts likewise.",
        )
    if number:
        first_name = f"{name['name']}-00001-of-{count:05}.gguf"
        invalid(path, f"it is part {number + 1} of {count}. Give the first part: {path.with_name(first_name)}.")
    return [_part(path, f"{name['name']}-{part:05}-of-{count:05}.gguf", part, count) for part in range(2, count + 1)]


def _part(first: Path, name: str, part: int, count: int) -> Header:
    path = first.with_name(name)
    if not path.exists():
        invalid(first, f"it is the first of {count} parts, and part {part} ({path.name}) is not beside it. Fetch it.")
    header = read_header(path)
    found = _split_number(header, "split.no", default=0), _split_number(header, "split.count", default=1)
    if found != (part - 1, count):
        invalid(path, f"it says it is part {found[0] + 1} of {found[1]}, not part {part} of {count}.")
    return header


def _split_number(header: Header, key: str, *, default: int) -> int:
    value = header.metadata.get(key, default)
    if not isinstance(value, int) or not 0 <= value <= _MAX_PARTS:
        invalid(header.path, f"{key} must be a number up to {_MAX_PARTS}, not {value!r}.")
    return value
