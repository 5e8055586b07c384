"""Models from files that are already on this machine: they stay where they are, or are copied into the cache."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tundish.catalog.cache import Cache, CachedModel, hash_file
from tundish.catalog.card import (
    LocalSource,
    ModelCard,
    ModelFile,
    ModelKey,
    Variant,
    WeightFormat,
    as_name,
)
from tundish.catalog.errors import DiskFull, NameTaken, from_os_error
from tundish.catalog.manifest import HashBasis, Manifest, PlacedFile
from tundish.core.clock import Clock
from tundish.core.errors import InvalidRequest

PUBLISHER = "local"
"""Of models that somebody put here, unless a card says otherwise."""
_SPLIT = re.compile(r"-\d{5}-of-\d{5}$")
_QUANTISATION = re.compile(r"(?:^|[-._])((?:ud-)?i?q\d[a-z0-9_]*|b?f16|f32|fp16|mxfp4|nvfp4)(?=[-._]|$)", re.IGNORECASE)
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_+=@()\[\],~ .-]")
_BESIDE_WEIGHTS = (".json", ".jinja", ".txt", ".model", ".tiktoken", ".md")
_READ_BYTES = 1024 * 1024


def model_name(file_name: str) -> str:
    """The model's name in a file's: without part number, quantisation and ending."""
    stem = _SPLIT.sub("", file_name.rpartition("/")[2].rsplit(".", 1)[0])
    found = _QUANTISATION.search(stem)
    return as_name(stem[: found.start()] if found and found.start() else stem)


def quantisation(file_name: str) -> str:
    """The quantisation that a file's name tells, in lower case, else `unknown`."""
    stem = _SPLIT.sub("", file_name.rpartition("/")[2].rsplit(".", 1)[0])
    found = _QUANTISATION.search(stem)
    return found[1].lower() if found else "unknown"


def variant_id(quantised: str, weights: WeightFormat) -> str:
    """As the packaged cards name them: `q4-k-m-gguf`."""
    return as_name(f"{quantised.replace('_', '-')}-{weights.value}")


def collect(path: Path) -> Mapping[str, Path]:
    """The files of the model at `path` (a file, any part of a split GGUF, or a folder), by their paths in the cache.

    Raises:
        InvalidRequest: there is no model, or more than one.
    """
    if path.is_file():
        parts = _parts(path, sorted(path.parent.iterdir())) if path.suffix.lower() == ".gguf" else [path]
        return {_plain(part.name): part for part in parts}
    if not path.is_dir():
        raise InvalidRequest(f"There is no file or folder {path}.", param="what")
    inside = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    ggufs = [file for file in inside if file.suffix.lower() == ".gguf"]
    if ggufs:
        sets = {tuple(_parts(file, ggufs)) for file in ggufs}
        if len(sets) > 1:
            names = ", ".join(sorted(parts[0].name for parts in sets))
            raise InvalidRequest(f"{path} holds {len(sets)} models ({names}). Add one of the files.", param="what")
        return {_plain(file.name): file for file in ggufs}
    weights = [file for file in inside if file.suffix.lower() in (".safetensors", ".onnx")]
    if not weights:
        raise InvalidRequest(f"{path} holds no .gguf, .safetensors or .onnx file.", param="what")
    beside = [file for file in inside if file.suffix.lower() in _BESIDE_WEIGHTS or file.name.startswith("LICENSE")]
    return {_plain(file.name): file for file in {*weights, *beside}}


def _plain(name: str) -> str:
    """The name with what a model's file may not have in its name replaced: `modèle.gguf` → `mod_le.gguf`."""
    return _NOT_PLAIN.sub("_", name)


def _parts(file: Path, siblings: Sequence[Path]) -> Sequence[Path]:
    whole = _SPLIT.sub("", file.stem)
    if whole == file.stem:
        return [file]
    return [part for part in siblings if part.suffix == file.suffix and _SPLIT.sub("", part.stem) == whole]


def describe(files: Mapping[str, Path], *, name: str | None, publisher: str = PUBLISHER) -> ModelCard:
    """A card for local files: what their names tell.

    Raises:
        InvalidRequest: `name` cannot be a model's.
    """
    suffixes = {path.suffix.lower().lstrip(".") for path in files.values()}
    weights = next((known for known in WeightFormat if known.value in suffixes), None)
    if weights is None:
        raise InvalidRequest("A model's files end in .gguf, .safetensors or .onnx.", param="what")
    first = min(path for path in files if path.lower().endswith(weights.value))
    quantised = quantisation(first)
    try:
        variant = Variant(
            id=variant_id(quantised, weights),
            format=weights,
            quantisation=quantised,
            source=LocalSource(),
            files=tuple(ModelFile(path=path) for path in sorted(files)),
        )
        return ModelCard(
            publisher=publisher,
            name=name or model_name(first),
            version="1",
            licence="unknown",
            variants=(variant,),
        )
    except ValueError as error:
        raise InvalidRequest(f"That cannot be added: {error}.", param="name") from None


def place(
    card: ModelCard,
    files: Mapping[str, Path],
    cache: Cache,
    clock: Clock,
    *,
    copy: bool,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> CachedModel:
    """Hash the files and make them a cached model. Without `copy` they stay where they are, and must.

    Raises:
        NameTaken, ModelBusy, DiskFull, CacheUnavailable: nothing was placed.
    """
    key = ModelKey.of(card, card.variants[0])
    needed = sum(path.stat().st_size for path in files.values()) if copy else 0
    if needed > (free := cache.free_bytes()):
        raise DiskFull(cache.root, needed_bytes=needed, free_bytes=free)
    with cache.locked(key), cache.draft(key) as draft:
        try:
            placed = tuple(
                _copied(path, source, draft / path, on_bytes) if copy else _referenced(path, source, on_bytes)
                for path, source in sorted(files.items())
            )
        except OSError as error:
            raise from_os_error(error, cache.root if copy else next(iter(files.values())).parent) from error
        _require_no_loss(cache.whole(key), placed)
        now = clock.now().isoformat(timespec="seconds")
        return cache.publish(Manifest(card=card, files=placed, origin="added from files", placed_at=now))


def _require_no_loss(present: CachedModel | None, placed: Sequence[PlacedFile]) -> None:
    """Refuse to replace other files that are only in the cache; where they stay with their owner, nothing is lost."""
    if present is None or all(file.location for file in present.manifest.files):
        return
    if {file.sha256 for file in present.manifest.files} != {file.sha256 for file in placed}:
        raise NameTaken(str(present.key))


def _referenced(path: str, source: Path, on_bytes: Callable[[int], None]) -> PlacedFile:
    source = source.absolute()
    sha256 = hash_file(source, on_bytes)
    return PlacedFile(
        path=path,
        size_bytes=source.stat().st_size,
        sha256=sha256,
        basis=HashBasis.PINNED,
        location=str(source),
    )


def _copied(path: str, source: Path, target: Path, on_bytes: Callable[[int], None]) -> PlacedFile:
    digest, size_bytes = hashlib.sha256(), 0
    with source.open("rb", buffering=0) as reader, target.open("wb", buffering=0) as writer:
        while block := reader.read(_READ_BYTES):
            digest.update(block)
            rest = memoryview(block)
            while rest:
                rest = rest[writer.write(rest) :]
            size_bytes += len(block)
            on_bytes(len(block))
        os.fsync(writer.fileno())
    return PlacedFile(path=path, size_bytes=size_bytes, sha256=digest.hexdigest(), basis=HashBasis.PINNED)
