"""A models folder of its own for each test, and models to put into it."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tundish.catalog.cache import Cache, CachedModel
from tundish.catalog.card import LocalSource, ModelCard, ModelKey, Variant, WeightFormat
from tundish.catalog.manifest import HashBasis, Manifest, PlacedFile
from tundish.catalog.signing import KeyFolder
from tundish.core.clock import FixedClock

FILES = {"model.gguf": b"GGUF" + bytes(range(256)) * 40, "tokenizer/vocabulary.json": b"{}"}


def card(name: str = "noise", variant: str = "q8-gguf", *, format: WeightFormat = WeightFormat.GGUF) -> ModelCard:  # noqa: A002
    only = Variant(id=variant, format=format, quantisation="q8_0", source=LocalSource())
    return ModelCard(publisher="test", name=name, version="1", licence="mit", variants=(only,))


def manifest_of(of: ModelCard, files: Mapping[str, bytes]) -> Manifest:
    placed = tuple(
        PlacedFile(
            path=path, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest(), basis=HashBasis.SOURCE
        )
        for path, content in files.items()
    )
    return Manifest(card=of, files=placed, origin="made by a test", placed_at="2025-01-01T00:00:00+00:00")


Place = Callable[..., CachedModel]


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC))


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "models")


@pytest.fixture
def keys(tmp_path: Path) -> KeyFolder:
    return KeyFolder(tmp_path / "keys")


@pytest.fixture
def make_card() -> Callable[..., ModelCard]:
    return card


@pytest.fixture
def stage(cache: Cache) -> Callable[..., Manifest]:
    """Puts files into a variant's staging folder; the caller holds the lock."""

    def stage_it(of: ModelCard | None = None, files: Mapping[str, bytes] = FILES) -> Manifest:
        manifest = manifest_of(of or card(), files)
        folder = cache.staging(manifest.key) / "files"
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        return manifest

    return stage_it


@pytest.fixture
def place(cache: Cache, stage: Callable[..., Manifest]) -> Place:
    """Puts a model into the cache."""

    def place_it(of: ModelCard | None = None, files: Mapping[str, bytes] = FILES) -> CachedModel:
        of = of or card()
        with cache.locked(ModelKey.of(of, of.variants[0])):
            return cache.publish(stage(of, files))

    return place_it
