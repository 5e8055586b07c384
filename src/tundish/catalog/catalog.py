"""The catalog: the cards that come with Tundish, and the user's own beside or over them."""

from __future__ import annotations

import dataclasses
import difflib
import importlib.resources
from collections.abc import Callable, Iterable, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from tundish.catalog import durable_file
from tundish.catalog.card import ModelCard, Variant
from tundish.catalog.errors import AmbiguousModel, CardInvalid, from_os_error
from tundish.core.errors import ModelNotFound

_SUFFIXES = (".toml", ".json")
_MAX_CARD_BYTES = 4 * 1024 * 1024


class CardFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of one card file."""

    models: Annotated[tuple[ModelCard, ...], Meta(min_length=1)]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a name stands for: a model, and the variant if the name said which."""

    card: ModelCard
    variant: Variant | None

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The chosen variant, or all of them in order of preference."""
        return self.card.variants if self.variant is None else (self.variant,)


class Catalog:
    """Every model that is known by name. Immutable."""

    def __init__(self, cards: Iterable[ModelCard]) -> None:
        self._cards = {card.full_name: card for card in cards}

    @classmethod
    def load(cls, user_folder: Path | None = None) -> Catalog:
        """The packaged cards; those in `user_folder` win over packaged ones of the same publisher and name.

        Raises:
            CardInvalid: a card file cannot be understood.
            CacheUnavailable: the folder cannot be read.
        """
        packaged = sorted(
            _card_files(importlib.resources.files("tundish.catalog") / "cards"), key=lambda file: file.name
        )
        cards = [card for file in packaged for card in _read(file)]
        if user_folder is not None:
            try:
                own = sorted(_card_files(user_folder), key=lambda file: file.name) if user_folder.is_dir() else []
                cards += [card for file in own for card in _read(file)]
            except OSError as error:
                raise from_os_error(error, user_folder) from error
        return cls(cards)

    @property
    def cards(self) -> Sequence[ModelCard]:
        """By publisher and name."""
        return sorted(self._cards.values(), key=lambda card: (card.publisher, card.name))

    def with_cards(self, cards: Iterable[ModelCard]) -> Catalog:
        """This catalog with the given models and variants that it does not know."""
        merged = dict(self._cards)
        for card in cards:
            known = merged.get(card.full_name, card)
            ids = {variant.id for variant in known.variants}
            more = tuple(variant for variant in card.variants if variant.id not in ids)
            merged[card.full_name] = msgspec.structs.replace(known, variants=(*known.variants, *more))
        return Catalog(merged.values())

    def find(self, reference: str, *, prefer: Callable[[ModelCard], bool] = lambda _: True) -> Selection:
        """What `[PUBLISHER/]NAME[:VARIANT]` stands for; VARIANT is an id, a quantisation or a format.

        Of models that different publishers gave the same name, the only one that `prefer` holds for.

        Raises:
            ModelNotFound: with the nearest names.
            AmbiguousModel: more than one fits.
        """
        wanted, _, variant = reference.strip().lower().partition(":")
        cards = [card for card in self.cards if wanted in (card.name, card.full_name)]
        if not cards:
            raise ModelNotFound(model=reference, known=self.near(wanted))
        if len(cards) > 1:
            cards = [card for card in cards if prefer(card)] or cards
        if len(cards) > 1:
            raise AmbiguousModel(reference, [card.full_name for card in cards])
        return Selection(card=cards[0], variant=_choose(reference, cards[0], variant) if variant else None)

    def search(self, text: str) -> Sequence[ModelCard]:
        """The cards that have every word of `text` somewhere in their names, description, licence or capabilities."""
        words = text.lower().split()
        return [card for card in self.cards if all(word in _searchable(card) for word in words)]

    def near(self, name: str) -> Sequence[str]:
        """Names that look like `name`, else all there are."""
        names = {card.name: card for card in self.cards}
        bare = name.rpartition("/")[2]
        close = difflib.get_close_matches(bare, names, n=5, cutoff=0.5)
        within = [known for known in names if bare and (bare in known or known in bare)]
        return sorted({*close, *within}) or sorted(names)


def _choose(reference: str, card: ModelCard, wanted: str) -> Variant:
    by_id = [variant for variant in card.variants if variant.id == wanted]
    others = [v for v in card.variants if wanted in (v.quantisation.lower(), v.format.value)]
    found = by_id or others
    if not found:
        raise ModelNotFound(model=reference, known=[f"{card.name}:{variant.id}" for variant in card.variants])
    if len(found) > 1:
        raise AmbiguousModel(reference, [f"{card.name}:{variant.id}" for variant in found])
    return found[0]


def _searchable(card: ModelCard) -> str:
    facets = [capability.value for capability in card.capabilities]
    facets += [facet for v in card.variants for facet in (v.format.value, v.quantisation, v.id)]
    return " ".join([card.full_name, card.version, card.licence, card.description, *facets]).lower()


def _card_files(folder: Traversable) -> list[Traversable]:
    return [file for file in folder.iterdir() if file.name.endswith(_SUFFIXES) and not file.name.startswith(".")]


def _read(file: Traversable) -> tuple[ModelCard, ...]:
    content = file.read_bytes()
    if len(content) > _MAX_CARD_BYTES:
        raise CardInvalid(f"The card file {file} is larger than {_MAX_CARD_BYTES} bytes.")
    try:
        if file.name.endswith(".json"):
            return msgspec.json.decode(content, type=CardFile).models
        return msgspec.toml.decode(content, type=CardFile).models
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CardInvalid(f"The card file {file} cannot be used: {error}. Correct it, or remove it.") from error


def keep_card(user_folder: Path, card: ModelCard) -> Path:
    """Add `card` to the user's own, over an earlier one of the same name; returns its file.

    Raises:
        CacheUnavailable, DiskFull: the folder cannot be written.
    """
    file = _user_file(user_folder, card)
    try:
        user_folder.mkdir(parents=True, exist_ok=True)
        durable_file.write(file, msgspec.json.format(msgspec.json.encode(CardFile(models=(card,)))))
    except OSError as error:
        raise from_os_error(error, user_folder) from error
    return file


def drop_card(user_folder: Path, card: ModelCard) -> bool:
    """Take back what `keep_card` added; cards that the user wrote by hand stay. Returns whether there was one."""
    try:
        _user_file(user_folder, card).unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise from_os_error(error, user_folder) from error
    return True


def _user_file(user_folder: Path, card: ModelCard) -> Path:
    return user_folder / f"{card.publisher}@{card.name}.json"
