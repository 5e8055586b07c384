"""Cards: what is accepted, and what a wrong one is told."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tundish.catalog.card import ModelCard, ModelFile, ModelKey, Variant, as_name, require_safe_path

GOOD = {
    "publisher": "test",
    "name": "noise",
    "version": "1",
    "licence": "mit",
    "variants": [
        {
            "id": "q8-gguf",
            "format": "gguf",
            "quantisation": "q8_0",
            "source": {"kind": "url"},
            "files": [{"path": "a.gguf", "url": "https://models.example/a.gguf"}],
        }
    ],
}


def changed(path: str, value: object) -> dict[str, object]:
    document = msgspec.json.decode(msgspec.json.encode(GOOD))
    *way, last = path.split(".")
    here = document
    for step in way:
        here = here[int(step)] if step.isdigit() else here[step]
    if value is None:
        del here[last]
    else:
        here[last] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("publisher", "Test", "lower-case"),
        ("publisher", "", "lower-case"),
        ("name", "a/b", "lower-case"),
        ("name", "..", "lower-case"),
        ("name", "nul.gguf", "lower-case"),
        ("licence", None, "licence"),
        ("licens", "mit", "licens"),
        ("context_length", 0, "context_length"),
        ("capabilities", ["telepathy"], "telepathy"),
        ("variants", [], "length"),
        ("variants.0.format", "exe", "exe"),
        ("variants.0.devices", ["toaster"], "toaster"),
        ("variants.0.source", {"kind": "carrier-pigeon"}, "carrier-pigeon"),
        ("variants.0.source", {"kind": "hub", "repo": "no-owner", "include": ["*"]}, "repo"),
        ("variants.0.source", {"kind": "hub", "repo": "a/b", "include": ["*"]}, "either files or source.include"),
        ("variants.0.files", [], "files, each with its url"),
        ("variants.0.files.0.url", None, "files, each with its url"),
        ("variants.0.files.0.url", "ftp://models.example/a.gguf", "http"),
        ("variants.0.files.0.url", "https://", "http"),
        ("variants.0.files.0.url", "https://[::1", "http"),
        ("variants.0.files.0.url", "https://a:99999999/x", "http"),
        ("variants.0.files.0.sha256", "abc", "sha256"),
        ("variants.0.files.0.sha256", "A" * 64, "sha256"),
        ("variants.0.files.0.size_bytes", -1, "size_bytes"),
        ("variants.0.files.0.path", "../a.gguf", "relative"),
    ],
)
def test_a_wrong_card_is_refused_and_the_reason_named(path: str, value: object, told: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=told.replace(".", r"\.")):
        msgspec.convert(changed(path, value), ModelCard)


def test_a_good_card_survives_json() -> None:
    card = msgspec.convert(GOOD, ModelCard)
    assert msgspec.json.decode(msgspec.json.encode(card), type=ModelCard) == card


def test_variants_and_files_are_told_apart_by_their_names() -> None:
    variant = msgspec.convert(GOOD, ModelCard).variants[0]
    with pytest.raises(ValueError, match="two variants"):
        ModelCard(publisher="a", name="b", version="1", licence="mit", variants=(variant, variant))
    twice = (*variant.files, ModelFile(path="A.GGUF", url="https://models.example/A.gguf"))
    with pytest.raises(ValueError, match="twice"):
        msgspec.structs.replace(variant, files=twice).__post_init__()


def test_a_size_is_known_when_every_files_is_and_verified_when_every_hash_is() -> None:
    variant = msgspec.convert(GOOD, ModelCard).variants[0]
    assert variant.size_bytes is None
    assert not variant.is_verified

    def with_files(*files: ModelFile) -> Variant:
        return msgspec.structs.replace(variant, files=files)

    url = "https://models.example/x.gguf"
    known = ModelFile(path="a.gguf", url=url, size_bytes=3, sha256="0" * 64)
    assert with_files(known).size_bytes == 3
    assert with_files(known).is_verified
    assert with_files(known, ModelFile(path="b.gguf", url=url, size_bytes=4)).size_bytes == 7
    assert not with_files(known, ModelFile(path="b.gguf", url=url)).is_verified
    assert with_files(known, ModelFile(path="b.gguf", url=url)).size_bytes is None


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "a/../b", "..", ".", "a//b", "a/", "a\\b", "C:/x", "con", "aux.gguf", "a. ", "a.", " a", "a\0b",
     "ü.gguf", "a\nb", "x" * 95],
)  # fmt: skip
def test_paths_that_some_system_reads_differently_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        require_safe_path(path)


@given(st.text(max_size=120))
def test_a_path_that_is_accepted_stays_inside(path: str) -> None:
    try:
        require_safe_path(path)
    except ValueError:
        return
    assert ".." not in path.split("/")
    assert not path.startswith("/")
    assert "\\" not in path
    assert ":" not in path


@given(st.text(max_size=200))
def test_any_text_makes_a_name(text: str) -> None:
    name = as_name(text)
    assert ModelKey(name, name, name).name == name
    assert as_name(name) == name
