"""`tundish model` on files of this machine: what it shows to people and to programs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tundish import settings
from tundish.catalog.card import ModelCard, Variant
from tundish.cli import model
from tundish.cli.model_view import Machine
from tundish.core.errors import TundishError


class Outcome(NamedTuple):
    code: int
    out: str


Run = Callable[..., Outcome]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def do(*words: str, machine: Machine | None = None) -> Outcome:
        command = model.command(lambda _: machine or Machine())
        parser = argparse.ArgumentParser()
        command.configure(parser)
        configured = settings.load({"TUNDISH_DATA_DIR": str(tmp_path / "home"), "TUNDISH_OFFLINE": "1"})
        code = command.run(parser.parse_args(words), configured)
        return Outcome(code, capsys.readouterr().out)

    return do


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "Mine-Q8_0.gguf"
    path.write_bytes(b"GGUF" + bytes(5000))
    return path


def test_the_way_of_a_file(run: Run, file: Path, tmp_path: Path) -> None:
    assert "It is ready" in run("add", str(file), "--copy").out
    listed = run("list").out.splitlines()
    assert listed[0].split() == ["MODEL", "SIZE", "STATE"]
    assert listed[1].split(maxsplit=1)[0] == "tundish/gpt-oss-nano:mxfp4-gguf"
    assert listed[2].split() == ["local/mine:q8-0-gguf", "5.0", "kB", "added", "from", "files"]
    assert run("verify").out == "local/mine:q8-0-gguf: ok\n"
    bundle = tmp_path / "mine.tundish"
    assert "--trust ed25519:" in run("export", "mine", "--output", str(bundle)).out
    assert run("remove", "mine").out == "Removed local/mine:q8-0-gguf.\n"
    assert run("import", str(bundle), "--inspect").out.startswith("local/mine:q8-0-gguf, 5.0 kB, signed by ed25519:")
    assert run("import", str(bundle)).out == "Imported local/mine:q8-0-gguf (5.0 kB).\n"
    assert "bundle signed by" in run("list").out


def test_the_same_way_for_programs(run: Run, file: Path, tmp_path: Path) -> None:
    added = json.loads(run("add", str(file), "--name", "mine", "--json").out)
    assert (added["name"], added["cached_variants"]) == ("mine", ["q8-0-gguf"])
    [listed] = json.loads(run("list", "--json").out)["models"]
    assert (listed["model"], listed["size_bytes"], listed["weights"]) == ("local/mine:q8-0-gguf", 5004, str(file))
    assert (listed["loaded"], listed["fits"], listed["problems"]) == (False, None, [])
    assert json.loads(run("verify", "mine", "--json").out) == [
        {"model": "local/mine:q8-0-gguf", "ok": True, "problems": []}
    ]
    bundle = tmp_path / "mine.tundish"
    exported = json.loads(run("export", "mine", "--output", str(bundle), "--json").out)
    assert exported["size_bytes"] == bundle.stat().st_size
    inspected = json.loads(run("import", str(bundle), "--inspect", "--json").out)
    assert inspected["public_key"] == exported["public_key"]
    assert json.loads(run("remove", "mine", "--json").out) == {"removed": ["local/mine:q8-0-gguf"]}
    imported = json.loads(run("import", str(bundle), "--json").out)
    assert [item["basis"] for item in imported["files"]] == ["bundle"]


def test_what_is_loaded_and_what_would_fit(run: Run, file: Path) -> None:
    def fits(card: ModelCard, variant: Variant) -> str:
        return "no" if card.name == "gpt-oss-120b" else "yes"

    run("add", str(file))
    machine = Machine(loaded=frozenset({"mine"}), fits=fits)
    heads, nano, mine = run("list", machine=machine).out.splitlines()
    assert heads.split() == ["MODEL", "SIZE", "LOADED", "FITS", "STATE"]
    assert nano.split()[1:] == ["yes", "part", "of", "Tundish"]
    assert mine.split()[1:5] == ["5.0", "kB", "yes", "yes"]
    document = json.loads(run("list", "--json", machine=machine).out)
    assert [(model["loaded"], model["fits"]) for model in document["models"]] == [(True, "yes")]
    assert [(model["loaded"], model["fits"]) for model in document["embedded"]] == [(False, "yes")]
    [found] = [line for line in run("search", "gpt-oss", machine=machine).out.splitlines() if "120b" in line]
    assert found.split()[-1] == "no"
    assert json.loads(run("info", "gpt-oss-120b", "--json", machine=machine).out)["fits"]["mxfp4-gguf"] == "no"


def test_info_says_what_is_not_known(run: Run) -> None:
    text = run("info", "gpt-oss-20b").out
    for told in ("apache-2.0", "20.9B (3.6B active)", "131072 tokens", "unverified", "hub: ggml-org/gpt-oss-20b-GGUF"):
        assert told in text
    document = json.loads(run("info", "gpt-oss-20b", "--json").out)
    assert document["verified"] == {"mxfp4-gguf": False, "mxfp4-safetensors": False}
    assert "unverified" not in run("info", "gpt-oss-nano").out


def test_a_search_that_finds_nothing_fails(run: Run) -> None:
    assert run("search", "no", "such", "model") == (
        1, "Nothing matches. `tundish model search` without words shows everything.\n",
    )  # fmt: skip
    assert run("search", "no", "such", "model", "--json") == (1, "[]\n")


def test_damage_is_told_with_what_to_do(run: Run, file: Path) -> None:
    run("add", str(file))
    file.write_bytes(b"GGUF" + bytes(4999) + b"x")
    code, out = run("verify")
    assert code == 1
    assert "damaged" in out
    assert "sha256" in out
    assert "tundish model remove local/mine:q8-0-gguf" in out
    file.unlink()
    assert "damaged" in run("list").out


def test_a_damaged_manifest_can_be_removed_by_the_name_that_list_shows(run: Run, file: Path, tmp_path: Path) -> None:
    run("add", str(file))
    (tmp_path / "home/models/local/mine/q8-0-gguf/manifest.json").write_text("{")
    code, out = run("list")
    assert code == 1
    assert "damaged manifest" in out
    name = out.splitlines()[-2].split()[0]
    assert name == "local/mine:q8-0-gguf"
    assert run("remove", name).out == f"Removed {name}.\n"
    assert run("list").code == 0


def test_the_embedded_model_is_part_of_tundish(run: Run) -> None:
    assert run("pull", "gpt-oss-nano").out == "gpt-oss-nano is part of Tundish.\n"
    assert json.loads(run("pull", "gpt-oss-nano", "--json").out)["event"] == "embedded"
    with pytest.raises(TundishError, match="comes with Tundish"):
        run("remove", "gpt-oss-nano")


def test_an_error_is_for_programs_too(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TundishError):
        run("pull", "gpt-oss-20b", "--json")
    event = json.loads(capsys.readouterr().out)
    assert event["event"] == "failed"
    assert event["error"]["code"] == "offline"
    assert "tundish model import" in event["error"]["message"]
    with pytest.raises(TundishError):
        run("info", "gpt-os-20b", "--json")
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "model_not_found"


def test_what_add_made_can_be_forgotten(run: Run) -> None:
    run("add", "https://models.example/Noise-Q8_0.gguf")
    assert "local/noise" in run("search", "noise").out
    with pytest.raises(TundishError, match="not on this machine"):
        run("remove", "noise")
    assert run("remove", "noise", "--forget").out == "Forgotten.\n"
    assert run("search", "noise").code == 1
