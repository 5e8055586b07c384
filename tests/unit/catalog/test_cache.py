"""The models folder: a model appears in one step and goes in one step, whatever happens in between."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tundish.catalog.cache import Cache
from tundish.catalog.card import ModelCard, ModelKey, WeightFormat
from tundish.catalog.errors import CacheUnavailable, ModelBusy, ModelDamaged
from tundish.catalog.manifest import Manifest, Pin

KEY = ModelKey("test", "noise", "q8-gguf")


def test_an_absent_folder_is_an_empty_one(cache: Cache) -> None:
    contents = cache.contents()
    assert (contents.models, contents.unreadable, contents.partial) == ((), (), {})
    assert cache.find(KEY) is None
    assert not cache.remove(KEY)
    assert cache.free_bytes() > 0
    assert not cache.root.exists()


def test_a_published_model_is_found_whole(cache: Cache, place) -> None:
    model = place()
    assert cache.find(KEY) == cache.whole(KEY) == model
    assert cache.contents().models == (model,)
    assert cache.known_keys() == [KEY]
    assert not model.problems()
    assert not cache.verify(model)
    assert model.weights == cache.root / "test/noise/q8-gguf/files/model.gguf"
    assert model.weights_sha256 == hashlib.sha256(model.weights.read_bytes()).hexdigest()
    assert not list(cache.root.glob(".staging/*"))


def test_staged_files_are_no_model(cache: Cache, stage) -> None:
    with cache.locked(KEY):
        manifest = stage()
    assert cache.find(KEY) is None
    assert cache.contents().partial == {KEY: manifest.size_bytes}
    assert cache.known_keys() == [KEY]


def test_publishing_drops_what_is_no_file_of_the_model(cache: Cache, stage) -> None:
    with cache.locked(KEY):
        manifest = stage()
        folder = cache.root / ".staging/test@noise@q8-gguf"
        (folder / "progress").mkdir()
        (folder / "progress/model.gguf.json").write_text("{}")
        (folder / "files/left-over.bin").write_bytes(b"x")
        model = cache.publish(manifest)
    assert sorted(path.relative_to(model.folder).as_posix() for path in model.folder.rglob("*") if path.is_file()) == [
        "files/model.gguf", "files/tokenizer/vocabulary.json", "manifest.json",
    ]  # fmt: skip


def test_publishing_over_a_model_replaces_it(cache: Cache, place) -> None:
    place()
    other = place(files={"model.gguf": b"GGUF other"})
    assert cache.contents().models == (other,)
    assert not cache.verify(other)
    assert not list(cache.root.glob(".trash/*"))


def test_a_publish_that_was_cut_off_before_its_last_step_is_finished(cache: Cache, place) -> None:
    model = place()
    # As a crash between the two renames leaves it: the manifest and all files in staging, nothing in place.
    staging = cache.root / ".staging/test@noise@q8-gguf"
    staging.parent.mkdir(exist_ok=True)
    model.folder.rename(staging)
    assert cache.find(KEY) is None
    with cache.locked(KEY):
        recovered = cache.recover(KEY)
        assert cache.recover(KEY) is None
    assert recovered == model
    assert not cache.verify(model)


@pytest.mark.parametrize("damage", ["cut", "missing", "manifest", "other"])
def test_a_staged_model_that_is_not_whole_is_not_recovered(cache: Cache, place, make_card, damage: str) -> None:
    model = place(make_card("other") if damage == "other" else None)
    staging = cache.root / ".staging/test@noise@q8-gguf"
    staging.parent.mkdir(exist_ok=True)
    model.folder.rename(staging)
    file = staging / "files/model.gguf"
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    elif damage == "missing":
        file.unlink()
    elif damage == "manifest":
        (staging / "manifest.json").write_text("{")
    with cache.locked(KEY):
        assert cache.recover(KEY) is None
    assert cache.find(KEY) is None


def test_beginning_anew_takes_the_manifest_of_an_interrupted_publish_away(cache: Cache, place) -> None:
    model = place()
    staging = cache.root / ".staging/test@noise@q8-gguf"
    staging.parent.mkdir(exist_ok=True)
    model.folder.rename(staging)
    with cache.locked(KEY):
        cache.staging(KEY, {"files/model.gguf"})
        assert cache.recover(KEY) is None
    assert [path.name for path in staging.rglob("*") if path.is_file()] == ["model.gguf"]


def half_a_copy(cache: Cache) -> None:
    with cache.draft(KEY) as files:
        (files / "half.gguf").write_bytes(b"half")
        (files / "other.gguf").read_bytes()


def test_a_draft_is_emptied_when_its_files_do_not_all_come(cache: Cache) -> None:
    with cache.locked(KEY):
        with pytest.raises(FileNotFoundError):
            half_a_copy(cache)
        assert cache.contents().partial == {}
        with cache.draft(KEY) as files:
            assert not list(files.iterdir())


def test_staging_where_a_file_and_a_folder_swapped_names(cache: Cache) -> None:
    with cache.locked(KEY):
        files = cache.staging(KEY) / "files"
        (files / "a").write_bytes(b"x")
        files = cache.staging(KEY, {"files/a/b"}) / "files"
        (files / "a").mkdir()
        (files / "a/b").write_bytes(b"x")
        files = cache.staging(KEY, {"files/a"}) / "files"
        assert not list(files.iterdir())


def test_one_writer_at_a_time(cache: Cache) -> None:
    other = Cache(cache.root)
    with cache.locked(KEY):
        with pytest.raises(ModelBusy, match="test/noise:q8-gguf") as caught, other.locked(KEY):
            pass
        assert caught.value.retryable
        with pytest.raises(ModelBusy):
            other.remove(KEY)
        with other.locked(ModelKey("test", "noise", "q4-gguf")):
            pass
    with other.locked(KEY):
        pass


def test_removing_takes_the_model_its_beginnings_and_empty_folders_but_not_its_pins(cache: Cache, place, stage) -> None:
    place()
    with cache.locked(KEY):
        stage()
        cache.pin(KEY, {"model.gguf": Pin(sha256="0" * 64, size_bytes=1, pinned_at="2025-01-01")})
    assert cache.remove(KEY)
    assert not cache.remove(KEY)
    assert cache.known_keys() == []
    assert not (cache.root / "test").exists()
    assert cache.pins(KEY)["model.gguf"].sha256 == "0" * 64


def test_removing_one_variant_leaves_the_others(cache: Cache, place, make_card) -> None:
    place()
    other = place(make_card(variant="q4-gguf"))
    assert cache.remove(KEY)
    assert cache.contents().models == (other,)


def test_verify_sees_what_a_look_does_not(cache: Cache, place) -> None:
    model = place()
    content = bytearray(model.weights.read_bytes())
    content[77] ^= 1
    model.weights.write_bytes(content)
    assert not model.problems()
    read: list[int] = []
    [problem] = cache.verify(model, read.append)
    assert "sha256" in problem
    assert sum(read) == model.manifest.size_bytes
    model.weights.write_bytes(content[:-1])
    assert "must have" in model.problems()[0]
    assert cache.whole(KEY) is None
    model.weights.unlink()
    assert "No such file" in cache.verify(model)[0]


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[" * 100_000, b"null"])
def test_a_damaged_manifest_hides_nothing_else(cache: Cache, place, make_card, content: bytes) -> None:
    good = place(make_card("good"))
    bad = place()
    (bad.folder / "manifest.json").write_bytes(content)
    contents = cache.contents()
    assert (contents.models, contents.unreadable) == ((good,), (bad.folder,))
    assert cache.whole(KEY) is None
    assert KEY in cache.known_keys()
    with pytest.raises(ModelDamaged, match="damaged"):
        cache.find(KEY)
    assert cache.remove(KEY)


def test_a_manifest_of_another_model_is_not_taken_for_this_one(cache: Cache, place, make_card) -> None:
    other = place(make_card("other"))
    (cache.root / "test/noise").mkdir()
    other.folder.rename(cache.root / "test/noise/q8-gguf")
    with pytest.raises(ModelDamaged, match=r"holds test/other:q8-gguf"):
        cache.find(KEY)


def test_a_manifest_that_leads_out_of_its_folder_is_none(cache: Cache, place) -> None:
    model = place()
    path = model.folder / "manifest.json"
    document = json.loads(path.read_text())
    document["files"][0]["path"] = "../../../../secret"
    path.write_text(json.dumps(document))
    assert cache.contents().unreadable == (model.folder,)


def test_models_are_known_by_their_own_cards(cache: Cache, place, make_card) -> None:
    place()
    place(make_card(variant="q4-gguf"))
    place(make_card("other"))
    cards = {card.full_name: [variant.id for variant in card.variants] for card in cache.cards()}
    assert cards == {"test/noise": ["q4-gguf", "q8-gguf"], "test/other": ["q8-gguf"]}


def test_weights_are_the_first_part_of_a_split_gguf_and_the_folder_of_other_formats(
    place, make_card: Callable[..., ModelCard]
) -> None:
    parts = {f"m-0000{n}-of-00003.gguf": b"GGUF" for n in (2, 1, 3)}
    assert place(files=parts).weights.name == "m-00001-of-00003.gguf"
    tensors = make_card(variant="bf16-safetensors", format=WeightFormat.SAFETENSORS)
    model = place(tensors, files={"metal/model.bin": b"x", "model.safetensors": b"y"})
    assert model.weights == model.folder / "files"


def test_damaged_pins_are_told_not_forgotten(cache: Cache) -> None:
    with cache.locked(KEY):
        cache.pin(KEY, {})
    [file] = cache.root.glob(".pins/*")
    file.write_text("{")
    with pytest.raises(CacheUnavailable, match="Delete that file"):
        cache.pins(KEY)


def test_folders_that_are_not_ours_are_let_be(cache: Cache, place) -> None:
    model = place()
    (cache.root / "Some Folder/x/y").mkdir(parents=True)
    (cache.root / "Some Folder/x/y/manifest.json").write_text("{}")
    (cache.root / ".staging/strange name").mkdir(parents=True)
    assert cache.known_keys() == [KEY]
    assert cache.contents().models == (model,)
    assert cache.contents().partial == {}


@pytest.mark.skipif(sys.platform == "win32", reason="a file as a folder is told differently")
def test_a_models_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("x")
    cache = Cache(tmp_path / "models")
    assert cache.contents().models == ()
    with pytest.raises(CacheUnavailable, match="Is it mounted"), cache.locked(KEY):
        pass


def test_a_manifest_is_of_one_variant_and_names_each_file_once(place, make_card) -> None:
    manifest: Manifest = place().manifest
    two = (manifest.variant, make_card(variant="q4-gguf").variants[0])
    card = ModelCard(publisher="test", name="noise", version="1", licence="mit", variants=two)
    with pytest.raises(ValueError, match="exactly one variant"):
        Manifest(card=card, files=manifest.files, origin="", placed_at="")
    with pytest.raises(ValueError, match="each file once"):
        Manifest(card=manifest.card, files=(manifest.files[0],) * 2, origin="", placed_at="")
