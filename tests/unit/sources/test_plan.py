"""Which hash counts: the card's, then what was pinned here, then what the source says today."""

from __future__ import annotations

import pytest

from tundish.catalog.card import (
    EmbeddedSource,
    HubSource,
    LocalSource,
    ModelFile,
    ModelKey,
    Source,
    UrlSource,
    Variant,
    WeightFormat,
)
from tundish.catalog.manifest import HashBasis, Pin
from tundish.sources.errors import RemoteChanged, SourceRefused, WrongContent
from tundish.sources.hub import HubFile, HubListing
from tundish.sources.plan import PlannedFile, make_plan

KEY = ModelKey("test", "noise", "q8-gguf")
ONE, TWO = "1" * 64, "2" * 64
URL = "https://x.example/m.gguf"


class Shelf:
    """A Hub of one repository."""

    def __init__(self, *files: HubFile) -> None:
        self._files = files

    async def list_files(self, repo: str, revision: str = "main") -> HubListing:
        return HubListing(repo=repo, commit="c", files=self._files)

    def headers(self) -> dict[str, str]:
        return {"authorization": "Bearer token"}


def on_shelf(path: str = "m.gguf", sha256: str | None = ONE, size_bytes: int | None = 7) -> HubFile:
    return HubFile(path=path, url=f"https://hub.example/{path}", size_bytes=size_bytes, sha256=sha256)


def pin(sha256: str) -> dict[str, Pin]:
    return {"m.gguf": Pin(sha256=sha256, size_bytes=7, pinned_at="2025-01-01")}


async def plan(
    source: Source, *files: ModelFile, shelf: Shelf | None = None, pins: dict[str, Pin] | None = None
) -> list[PlannedFile]:
    variant = Variant(id="q8-gguf", format=WeightFormat.GGUF, quantisation="q8", source=source, files=files)
    made = await make_plan(KEY, variant, http=None, hub=shelf or Shelf(), pins=pins or {})
    return list(made)


HUB = HubSource(repo="a/b", include=("*.gguf",))


async def test_what_the_hub_says_is_believed_when_nobody_else_says_anything() -> None:
    [file] = await plan(HUB, shelf=Shelf(on_shelf()))
    assert (file.request.sha256, file.request.size_bytes, file.basis) == (ONE, 7, HashBasis.SOURCE)
    assert file.request.headers == {"authorization": "Bearer token"}


async def test_a_small_file_without_a_hash_is_pinned() -> None:
    [file] = await plan(HUB, shelf=Shelf(on_shelf(sha256=None)))
    assert (file.request.sha256, file.basis) == (None, HashBasis.PINNED)
    [file] = await plan(HUB, shelf=Shelf(on_shelf(sha256=None)), pins=pin(TWO))
    assert (file.request.sha256, file.basis) == (TWO, HashBasis.PINNED)


async def test_a_hub_that_has_another_file_than_the_pinned_one() -> None:
    with pytest.raises(RemoteChanged, match=r"2025-01-01.*--update test/noise:q8-gguf"):
        await plan(HUB, shelf=Shelf(on_shelf()), pins=pin(TWO))
    [file] = await plan(HUB, shelf=Shelf(on_shelf()), pins=pin(ONE))
    assert file.request.sha256 == ONE


async def test_the_cards_hash_counts_most() -> None:
    source = HubSource(repo="a/b")
    named = ModelFile(path="m.gguf", sha256=ONE, size_bytes=7)
    [file] = await plan(source, named, shelf=Shelf(on_shelf()), pins=pin(TWO))
    assert (file.request.sha256, file.basis) == (ONE, HashBasis.CARD)
    with pytest.raises(RemoteChanged, match="than the model card"):
        await plan(source, named, shelf=Shelf(on_shelf(sha256=TWO)))
    with pytest.raises(SourceRefused, match=r"no m\.gguf"):
        await plan(source, named, shelf=Shelf())


async def test_a_hub_that_lists_a_path_that_climbs_out() -> None:
    with pytest.raises(WrongContent, match="cannot be kept"):
        await plan(HubSource(repo="a/b", include=("../*.gguf",)), shelf=Shelf(on_shelf("../m.gguf")))


async def test_plain_urls_carry_no_token_of_the_hub() -> None:
    [file] = await plan(UrlSource(), ModelFile(path="m.gguf", url=URL), pins=pin(ONE))
    assert (file.request.url, file.request.sha256, file.basis) == (URL, ONE, HashBasis.PINNED)
    assert not file.request.headers


@pytest.mark.parametrize("source", [EmbeddedSource(), LocalSource()])
async def test_what_has_no_source_is_not_fetched(source: Source) -> None:
    with pytest.raises(SourceRefused, match="to fetch"):
        await plan(source)
