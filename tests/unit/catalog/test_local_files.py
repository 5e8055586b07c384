"""Files that are on this machine already: what they are called, which belong together, what placing them does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tundish.catalog import local_files
from tundish.catalog.cache import Cache, CachedModel
from tundish.catalog.card import WeightFormat
from tundish.catalog.errors import NameTaken
from tundish.catalog.manifest import HashBasis
from tundish.core.clock import FixedClock
from tundish.core.errors import InvalidRequest

Add = Callable[..., CachedModel]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "mine"
    path.mkdir()
    return path


@pytest.fixture
def add(cache: Cache, clock: FixedClock) -> Add:
    def do(path: Path, *, name: str | None = None, copy: bool = False) -> CachedModel:
        files = local_files.collect(path)
        return local_files.place(local_files.describe(files, name=name), files, cache, clock, copy=copy)

    return do


def write(folder: Path, *names: str, content: bytes = b"GGUF!") -> None:
    for name in names:
        (folder / name).write_bytes(content + name.encode())


@pytest.mark.parametrize(
    ("file", "name", "quantisation"),
    [
        ("gpt-oss-20b-mxfp4.gguf", "gpt-oss-20b", "mxfp4"),
        ("Qwen3-8B-Q4_K_M.gguf", "qwen3-8b", "q4_k_m"),
        ("sub/Meta-Llama-3.1-8B-Instruct-Q8_0.gguf", "meta-llama-3.1-8b-instruct", "q8_0"),
        ("gpt-oss-120b-mxfp4-00001-of-00003.gguf", "gpt-oss-120b", "mxfp4"),
        ("nomic-embed-text-v1.5.f16.gguf", "nomic-embed-text-v1.5", "f16"),
        ("model-UD-IQ2_XXS.gguf", "model", "ud-iq2_xxs"),
        ("bge-m3-FP16.gguf", "bge-m3", "fp16"),
        ("Q4_K_M.gguf", "q4_k_m", "q4_k_m"),
        ("my model (final).gguf", "my-model-final", "unknown"),
        (".gguf", "model", "unknown"),
    ],
)
def test_a_files_name_tells_the_models(file: str, name: str, quantisation: str) -> None:
    assert local_files.model_name(file) == name
    assert local_files.quantisation(file) == quantisation


def test_one_part_of_a_split_model_brings_the_others(folder: Path) -> None:
    write(folder, *(f"m-Q8_0-0000{n}-of-00003.gguf" for n in (1, 2, 3)), "other-Q8_0.gguf")
    files = local_files.collect(folder / "m-Q8_0-00002-of-00003.gguf")
    assert sorted(files) == [f"m-Q8_0-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    assert list(local_files.collect(folder / "other-Q8_0.gguf")) == ["other-Q8_0.gguf"]
    with pytest.raises(InvalidRequest, match="holds 2 models"):
        local_files.collect(folder)


def test_a_folder_of_safetensors_comes_with_what_lies_beside(folder: Path) -> None:
    write(folder, "model.safetensors", "config.json", "chat_template.jinja", "LICENSE", "picture.png", ".hidden.json")
    assert sorted(local_files.collect(folder)) == ["LICENSE", "chat_template.jinja", "config.json", "model.safetensors"]


def test_where_there_is_no_model(folder: Path) -> None:
    with pytest.raises(InvalidRequest, match="There is no file or folder"):
        local_files.collect(folder / "absent")
    with pytest.raises(InvalidRequest, match=r"no \.gguf, \.safetensors or \.onnx"):
        local_files.collect(folder)
    write(folder, "notes.txt")
    with pytest.raises(InvalidRequest, match="end in"):
        local_files.describe(local_files.collect(folder / "notes.txt"), name=None)


def test_a_name_that_no_model_can_have(folder: Path) -> None:
    write(folder, "m.gguf")
    with pytest.raises(InvalidRequest, match="lower-case"):
        local_files.describe(local_files.collect(folder), name="Not A Name")


def test_files_stay_where_they_are(folder: Path, cache: Cache, add: Add) -> None:
    write(folder, "Mine-Q8_0.gguf")
    model = add(folder / "Mine-Q8_0.gguf")
    assert str(model.key) == "local/mine:q8-0-gguf"
    assert model.weights == folder / "Mine-Q8_0.gguf"
    assert [file.basis for file in model.manifest.files] == [HashBasis.PINNED]
    assert not cache.verify(model)
    assert cache.remove(model.key)
    assert (folder / "Mine-Q8_0.gguf").is_file()


def test_files_can_be_copied(folder: Path, cache: Cache, add: Add) -> None:
    write(folder, "Mine-Q8_0.gguf")
    model = add(folder, copy=True)
    (folder / "Mine-Q8_0.gguf").unlink()
    assert model.weights.is_relative_to(cache.root)
    assert not cache.verify(model)


def test_a_file_that_went_away_is_a_problem_of_its_model(folder: Path, cache: Cache, add: Add) -> None:
    write(folder, "Mine-Q8_0.gguf")
    model = add(folder)
    (folder / "Mine-Q8_0.gguf").unlink()
    assert model.problems()
    assert cache.whole(model.key) is None


def test_a_name_in_another_script_is_stored_plainly(folder: Path, cache: Cache, add: Add) -> None:
    write(folder, "modèle-Q8_0.gguf")
    model = add(folder, copy=True)
    assert [file.path for file in model.manifest.files] == ["mod_le-Q8_0.gguf"]
    assert not cache.verify(model)


def test_safetensors_are_given_as_a_folder(folder: Path, add: Add) -> None:
    write(folder, "model.safetensors", "config.json")
    model = add(folder, name="mine")
    assert model.manifest.variant.format is WeightFormat.SAFETENSORS
    assert model.weights == folder


def test_adding_again_follows_the_file_but_never_deletes_another_models(folder: Path, cache: Cache, add: Add) -> None:
    write(folder, "m.gguf")
    add(folder, name="mine")
    write(folder, "m.gguf", content=b"GGUF trained further")
    assert not cache.verify(add(folder, name="mine"))
    copied = add(folder, name="mine", copy=True)
    assert add(folder, name="mine", copy=True).key == copied.key
    write(folder, "m.gguf", content=b"GGUF another one")
    for copy in (True, False):
        with pytest.raises(NameTaken, match="--name"):
            add(folder, name="mine", copy=copy)
    assert not cache.verify(copied)
    assert cache.contents().partial == {}
