"""The catalog: what comes with Tundish, the user's own over it, names and what they stand for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tundish.catalog.card import (
    Capability,
    DeviceKind,
    EmbeddedSource,
    HubSource,
    ModelCard,
    WeightFormat,
)
from tundish.catalog.catalog import Catalog, drop_card, keep_card
from tundish.catalog.errors import AmbiguousModel, CacheUnavailable, CardInvalid
from tundish.core.errors import ModelNotFound

PACKAGED = Catalog.load()

MINE = """
[[models]]
publisher = "{publisher}"
name = "{name}"
version = "2"
licence = "mit"
[[models.variants]]
id = "q8-gguf"
format = "gguf"
quantisation = "q8_0"
source = {{ kind = "hub", repo = "me/mine-GGUF", include = ["*.gguf"] }}
"""


def own(folder: Path, *, publisher: str = "me", name: str = "mine", file: str = "mine.toml") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / file
    path.write_text(MINE.format(publisher=publisher, name=name), encoding="utf-8")
    return folder


def test_what_people_run_is_there() -> None:
    names = [card.full_name for card in PACKAGED.cards]
    assert {"openai/gpt-oss-20b", "openai/gpt-oss-120b", "tundish/gpt-oss-nano"} <= set(names)
    assert {name.split("/")[0] for name in names} >= {"qwen", "meta", "microsoft", "google", "mistralai"}
    assert sum(Capability.EMBEDDINGS in card.capabilities for card in PACKAGED.cards) >= 2
    assert len(names) >= 15


@pytest.mark.parametrize("name", ["gpt-oss-20b", "gpt-oss-120b"])
def test_gpt_oss_for_both_kinds_of_engine(name: str) -> None:
    card = PACKAGED.find(name).card
    assert card.licence == "apache-2.0"
    assert card.context_length == 131_072
    assert [variant.format for variant in card.variants] == [WeightFormat.GGUF, WeightFormat.SAFETENSORS]
    assert card.variants[0].source == HubSource(repo=f"ggml-org/{name}-GGUF", include=(f"{name}-mxfp4*.gguf",))
    assert card.variants[1].devices == (DeviceKind.GPU,)


@pytest.mark.parametrize("card", PACKAGED.cards, ids=lambda card: card.full_name)
def test_each_packaged_card_is_sound(card: ModelCard) -> None:
    assert card.description
    assert card.description.endswith(".")
    assert card.licence != "unknown"
    assert (Capability.CHAT in card.capabilities) != (Capability.EMBEDDINGS in card.capabilities)
    assert card.active_parameters is None or (card.parameters or 0) > card.active_parameters
    for variant in card.variants:
        assert variant.id == f"{variant.quantisation.replace('_', '-')}-{variant.format.value}"
        source = variant.source
        assert isinstance(source, HubSource | EmbeddedSource)
        if isinstance(source, HubSource):
            # Nobody could look at the files when the cards were written, so nothing is said of them.
            assert source.include
            assert not variant.is_verified
            assert all(pattern.lower().endswith((".gguf", ".safetensors", ".json", ".jinja", "license"))
                       for pattern in source.include)  # fmt: skip


def test_the_users_cards_come_beside_and_over_the_packaged_ones(tmp_path: Path) -> None:
    folder = own(tmp_path / "cards")
    own(folder, publisher="openai", name="gpt-oss-20b", file="other.toml")
    catalog = Catalog.load(folder)
    assert catalog.find("mine").card.publisher == "me"
    assert catalog.find("gpt-oss-20b").card.version == "2"
    assert len(catalog.cards) == len(PACKAGED.cards) + 1


def test_a_card_file_that_is_broken_is_named_with_the_field(tmp_path: Path) -> None:
    folder = own(tmp_path / "cards")
    file = folder / "mine.toml"
    file.write_text(file.read_text().replace("licence", "license"))
    with pytest.raises(CardInvalid, match=r"mine\.toml.*licen[cs]e"):
        Catalog.load(folder)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(CardInvalid, match=r"mine\.toml"):
        Catalog.load(folder)
    file.write_text("this is not TOML")
    with pytest.raises(CardInvalid, match=r"mine\.toml.*remove it"):
        Catalog.load(folder)
    file.rename(folder / "mine.json")
    with pytest.raises(CardInvalid, match=r"mine\.json"):
        Catalog.load(folder)
    (folder / "mine.json").write_bytes(b" " * (4 * 1024 * 1024 + 1))
    with pytest.raises(CardInvalid, match="larger than"):
        Catalog.load(folder)


def test_a_cards_folder_that_is_none(tmp_path: Path) -> None:
    assert len(Catalog.load(tmp_path / "absent").cards) == len(PACKAGED.cards)
    (tmp_path / "cards").write_text("a file")
    assert len(Catalog.load(tmp_path / "cards").cards) == len(PACKAGED.cards)
    with pytest.raises(CacheUnavailable, match="cannot be used"):
        keep_card(tmp_path / "cards", PACKAGED.cards[0])


def test_a_kept_card_is_found_and_can_be_dropped(tmp_path: Path, make_card: Callable[..., ModelCard]) -> None:
    folder = own(tmp_path / "cards")
    keep_card(folder, make_card())
    keep_card(folder, make_card())
    assert Catalog.load(folder).find("test/noise").card == make_card()
    assert drop_card(folder, make_card())
    assert not drop_card(folder, make_card())
    assert [file.name for file in folder.iterdir()] == ["mine.toml"]


@pytest.mark.parametrize(
    ("reference", "variants"),
    [
        ("gpt-oss-20b", ["mxfp4-gguf", "mxfp4-safetensors"]),
        ("openai/gpt-oss-20b", ["mxfp4-gguf", "mxfp4-safetensors"]),
        ("GPT-OSS-20B:MXFP4-GGUF", ["mxfp4-gguf"]),
        ("gpt-oss-20b:safetensors", ["mxfp4-safetensors"]),
        ("qwen3-8b:q8_0", ["q8-0-gguf"]),
        (" phi-4 ", ["q4-k-m-gguf", "q8-0-gguf"]),
    ],
)
def test_a_name_stands_for_a_model_or_one_of_its_variants(reference: str, variants: list[str]) -> None:
    assert [variant.id for variant in PACKAGED.find(reference).variants] == variants


def test_a_name_that_nothing_has_is_answered_with_the_nearest() -> None:
    with pytest.raises(ModelNotFound) as caught:
        PACKAGED.find("gpt-os-20b")
    assert "gpt-oss-20b" in caught.value.known
    assert "bge-m3" not in caught.value.known
    with pytest.raises(ModelNotFound) as caught:
        PACKAGED.find("qwen3-8b:q3_k")
    assert caught.value.known == ("qwen3-8b:q4-k-m-gguf", "qwen3-8b:q8-0-gguf")


def test_a_name_that_several_have_is_asked_about_unless_one_is_preferred(tmp_path: Path) -> None:
    catalog = Catalog.load(own(tmp_path / "cards", publisher="me", name="phi-4"))
    with pytest.raises(AmbiguousModel, match="me/phi-4, microsoft/phi-4"):
        catalog.find("phi-4")
    with pytest.raises(AmbiguousModel):
        catalog.find("phi-4", prefer=lambda _: False)
    assert catalog.find("phi-4", prefer=lambda card: card.publisher == "me").card.publisher == "me"
    assert catalog.find("microsoft/phi-4").card.publisher == "microsoft"
    with pytest.raises(AmbiguousModel, match="gpt-oss-20b:mxfp4-gguf"):
        catalog.find("gpt-oss-20b:mxfp4")


def test_cards_of_models_that_came_without_one_are_added_not_overridden(make_card: Callable[..., ModelCard]) -> None:
    first, second = make_card(variant="q8-gguf"), make_card(variant="q4-gguf")
    catalog = PACKAGED.with_cards([first]).with_cards([second, first])
    assert [variant.id for variant in catalog.find("noise").variants] == ["q8-gguf", "q4-gguf"]
    assert len(PACKAGED.cards) == len(catalog.cards) - 1


def test_search_looks_everywhere_and_wants_every_word() -> None:
    assert [card.name for card in PACKAGED.search("Multilingual EMBEDDINGS mit")] == ["bge-m3"]
    assert {card.name for card in PACKAGED.search("openai reasoning")} == {"gpt-oss-20b", "gpt-oss-120b"}
    assert not PACKAGED.search("openai embeddings")
    assert len(PACKAGED.search("")) == len(PACKAGED.cards)


def test_near_finds_parts_and_misspellings() -> None:
    assert "mistral-7b-instruct-v0.3" in PACKAGED.near("mistral-7b")
    assert "llama-3.3-70b-instruct" in PACKAGED.near("lama-3.3-70b-instruct")
    assert len(PACKAGED.near("zzzzzzzz")) == len(PACKAGED.cards)
