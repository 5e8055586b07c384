"""What `tundish model add` understands, and the cards it makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tundish.catalog.card import HubSource, UrlSource, WeightFormat
from tundish.core.errors import InvalidRequest
from tundish.sources import add
from tundish.sources.add import HubRepository, LocalFiles, PlainUrl
from tundish.sources.errors import SourceRefused
from tundish.sources.hub import HubFile, HubListing


@pytest.mark.parametrize(
    ("what", "origin"),
    [
        ("bartowski/phi-4-GGUF", HubRepository(repo="bartowski/phi-4-GGUF", quantisation=None)),
        ("bartowski/phi-4-GGUF:Q4_K_M", HubRepository(repo="bartowski/phi-4-GGUF", quantisation="Q4_K_M")),
        ("hf:a/b", HubRepository(repo="a/b", quantisation=None)),
        ("hf.co/a/b:q8_0", HubRepository(repo="a/b", quantisation="q8_0")),
        ("huggingface.co/a/b", HubRepository(repo="a/b", quantisation=None)),
        ("https://huggingface.co/a/b", HubRepository(repo="a/b", quantisation=None)),
        ("https://huggingface.co/a/b/", HubRepository(repo="a/b", quantisation=None)),
        ("https://huggingface.co/a/b/resolve/main/x.gguf", PlainUrl(url="https://huggingface.co/a/b/resolve/main/x.gguf")),
        ("http://models.example/x.gguf?token=1", PlainUrl(url="http://models.example/x.gguf?token=1")),
    ],
)  # fmt: skip
def test_what_is_understood(what: str, origin: add.Origin) -> None:
    assert add.understand(what) == origin


@pytest.mark.parametrize("what", ["", "word", "./a/b", "/a/b", "a/b.gguf", "a/b/c", "ftp://x/y", "a b/c"])
def test_what_is_not(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if what == "":
        assert add.understand(what) == LocalFiles(path=Path())  # the folder we are in
        return
    with pytest.raises(InvalidRequest, match="neither a URL nor"):
        add.understand(what)


def test_a_path_that_is_there_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b").mkdir()
    assert add.understand("a/b") == LocalFiles(path=Path("a/b"))


def test_a_url_makes_a_card_of_one_file() -> None:
    card = add.card_for_url(PlainUrl(url="https://x.example/d/My%20Model-Q8_0.gguf?key=1"), name=None)
    assert (card.full_name, card.variants[0].source) == ("local/my-model", UrlSource())
    [file] = card.variants[0].files
    assert (file.path, file.sha256) == ("My Model-Q8_0.gguf", None)
    climbing = add.card_for_url(PlainUrl(url="https://x.example/%2e%2e%2fm.gguf"), name=None)
    assert [file.path for file in climbing.variants[0].files] == ["m.gguf"]
    pinned = add.card_for_url(PlainUrl(url="https://x.example/m.gguf"), name="mine", sha256="0" * 64)
    assert pinned.variants[0].is_verified


@pytest.mark.parametrize(
    ("url", "name", "sha256"),
    [
        ("https://x.example/", None, None),
        ("https://x.example/m.zip", None, None),
        ("https://x.example/m.gguf", "Bad Name", None),
        ("https://x.example/m.gguf", None, "abc"),
    ],
)
def test_a_url_that_makes_no_card(url: str, name: str | None, sha256: str | None) -> None:
    with pytest.raises(InvalidRequest):
        add.card_for_url(PlainUrl(url=url), name=name, sha256=sha256)


class Shelf:
    """A Hub of one repository."""

    def __init__(self, *paths: str, licence: str | None = "mit") -> None:
        files = tuple(
            HubFile(path=path, url=f"https://hub.example/{path}", size_bytes=1, sha256=None) for path in paths
        )
        self._listing = HubListing(repo="Some.Body/Noise-GGUF", commit="0123456789abcdef", files=files, licence=licence)

    async def list_files(self, repo: str, revision: str = "main") -> HubListing:
        return self._listing


async def card_of(shelf: Shelf, *, quantisation: str | None = None, name: str | None = None):
    origin = HubRepository(repo="Some.Body/Noise-GGUF", quantisation=quantisation)
    return await add.card_for_repository(shelf, origin, name=name, revision="main")


async def test_a_repository_of_ggufs_has_a_variant_for_each() -> None:
    shelf = Shelf(
        "Noise-Q4_K_M.gguf", "big/Noise-Q8_0-00001-of-00002.gguf", "big/Noise-Q8_0-00002-of-00002.gguf",
        "mmproj-Noise-F16.gguf", "Noise.imatrix.gguf", "README.md",
    )  # fmt: skip
    card = await card_of(shelf)
    assert (card.full_name, card.version, card.licence) == ("some.body/noise", "0123456789ab", "mit")
    assert {variant.id: [file.path for file in variant.files] for variant in card.variants} == {
        "q4-k-m-gguf": ["Noise-Q4_K_M.gguf"],
        "q8-0-gguf": ["big/Noise-Q8_0-00001-of-00002.gguf", "big/Noise-Q8_0-00002-of-00002.gguf"],
    }
    only = await card_of(shelf, quantisation="Q8_0", name="mine")
    assert (only.name, [variant.id for variant in only.variants]) == ("mine", ["q8-0-gguf"])
    with pytest.raises(SourceRefused, match="of the quantisation Q2_K"):
        await card_of(shelf, quantisation="Q2_K")


async def test_a_repository_of_safetensors_has_one_variant() -> None:
    card = await card_of(Shelf("model-00001-of-00002.safetensors", "config.json", licence=None))
    assert card.licence == "unknown"
    [variant] = card.variants
    assert variant.format is WeightFormat.SAFETENSORS
    assert isinstance(variant.source, HubSource)
    assert "*.safetensors" in variant.source.include


async def test_a_repository_without_a_model_says_what_it_has() -> None:
    with pytest.raises(SourceRefused, match=r"no GGUF or safetensors.*README\.md"):
        await card_of(Shelf("README.md"))
    with pytest.raises(SourceRefused, match="nothing"):
        await card_of(Shelf())
