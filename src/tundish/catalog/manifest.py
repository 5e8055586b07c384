"""What a cached model says about itself: which card and variant, which files, and how each file's hash came to be
known."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tundish.catalog.card import ModelCard, ModelKey, Sha256, Variant, require_safe_path
from tundish.catalog.errors import ModelDamaged

MAX_MANIFEST_BYTES = 8 * 1024 * 1024


class HashBasis(enum.Enum):
    """Why a hash is believed."""

    CARD = "card"
    """The model card gives it, and the file had it."""
    SOURCE = "source"
    """The place it came from gave it in its listing, and the file had it."""
    PINNED = "pinned"
    """Nobody gave it: it is that of the first file that came, and later ones must have it too."""
    BUNDLE = "bundle"
    """A signed bundle gave it, and the file had it."""


class PlacedFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One file of a cached model."""

    path: str
    size_bytes: Annotated[int, Meta(ge=0)]
    sha256: Sha256
    basis: HashBasis
    url: str | None = None
    """Where it came from, without any credentials."""
    location: str | None = None
    """Absolute path of a file that stays where its owner keeps it; None: it is in the cache."""

    def __post_init__(self) -> None:
        require_safe_path(self.path)


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of one cached variant; `card` has just that variant."""

    card: ModelCard
    files: Annotated[tuple[PlacedFile, ...], Meta(min_length=1)]
    origin: str
    """In words: where it came from."""
    placed_at: str
    """ISO 8601."""
    format: Literal[1] = 1

    def __post_init__(self) -> None:
        if len(self.card.variants) != 1:
            raise ValueError("a manifest's card has exactly one variant")
        if len({file.path.casefold() for file in self.files}) != len(self.files):
            raise ValueError("a manifest names each file once (upper and lower case count as the same)")

    @property
    def variant(self) -> Variant:
        """The one that the files are."""
        return self.card.variants[0]

    @property
    def key(self) -> ModelKey:
        """What it is filed under."""
        return ModelKey.of(self.card, self.variant)

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(file.size_bytes for file in self.files)


def encode(manifest: Manifest) -> bytes:
    """JSON for people and programs."""
    return msgspec.json.format(msgspec.json.encode(manifest))


def read(path: Path) -> Manifest:
    """The manifest at `path`.

    Raises:
        ModelDamaged: it is not one.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(MAX_MANIFEST_BYTES + 1)
    try:
        return msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelDamaged(
            f"The manifest {path} is damaged ({error}). Remove its folder and pull the model again."
        ) from error


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """What an unverified file was when it first came; it outlives the removal of the model."""

    sha256: Sha256
    size_bytes: int
    pinned_at: str


class Pins(msgspec.Struct, frozen=True, kw_only=True):
    """The pins of one variant, by path."""

    files: dict[str, Pin]
    format: Literal[1] = 1
