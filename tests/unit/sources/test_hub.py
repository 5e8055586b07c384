"""Which files of a repository a card means."""

from __future__ import annotations

import pytest

from tundish.catalog.card import HubSource, WeightFormat
from tundish.sources.errors import SourceRefused
from tundish.sources.hub import HubFile, HubListing, choose


def chosen(paths: list[str], *include: str, weights: WeightFormat = WeightFormat.GGUF) -> list[str]:
    files = tuple(HubFile(path=path, url="", size_bytes=None, sha256=None) for path in paths)
    listing = HubListing(repo="a/b", commit="c", files=files)
    return [file.path for file in choose(listing, HubSource(repo="a/b", include=include), weights)]


def test_letters_do_not_matter_and_a_star_stays_in_its_folder() -> None:
    paths = ["Model-q8_0.gguf", "old/Model-Q8_0.gguf", "Model-Q4_K_M.gguf"]
    assert chosen(paths, "model-Q8_0*.gguf") == ["Model-q8_0.gguf"]
    assert chosen(paths, "old/*.gguf") == ["old/Model-Q8_0.gguf"]


def test_all_parts_of_a_split_model_and_the_whole_one_rather_than_its_split_twin() -> None:
    parts = [f"m-mxfp4-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    assert chosen(parts, "m-mxfp4*.gguf") == parts
    assert chosen([*parts, "m-mxfp4.gguf"], "m-mxfp4*.gguf") == ["m-mxfp4.gguf"]


def test_other_formats_come_with_everything_that_matches() -> None:
    paths = ["model.safetensors", "config.json", "original/model.safetensors", "LICENSE", "README.md"]
    assert chosen(paths, "*.safetensors", "*.json", "LICENSE", weights=WeightFormat.SAFETENSORS) == [
        "model.safetensors", "config.json", "LICENSE",
    ]  # fmt: skip


def test_a_pattern_that_nothing_matches_says_what_there_is() -> None:
    with pytest.raises(SourceRefused, match=r"q8.*\(any more\).*m-Q4_0\.gguf"):
        chosen(["m-Q4_0.gguf"], "m-q8*.gguf")
    with pytest.raises(SourceRefused, match="nothing"):
        chosen([], "*.gguf")
