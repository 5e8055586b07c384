"""A machine without a network: everything but fetching works, and nothing even tries to connect."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from tundish.catalog.card import ModelKey
from tundish.catalog.catalog import keep_card
from tundish.core.clock import SystemClock
from tundish.sources.hub import Hub
from tundish.sources.library import Folders, Library
from tundish.sources.plain_http import PlainHttp

PATH = "/noise.gguf"


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.fixture
def carried(server, tmp_path: Path) -> tuple[Path, str]:
    """A bundle from a connected machine, and the public key that its maker read out over the telephone."""
    home = tmp_path / "connected"
    folders = Folders(models=home / "models", cards=home / "cards", keys=home / "keys")
    connected = Library(folders, http=PlainHttp(), hub=Hub(), clock=SystemClock())
    server.content[PATH] = server.gguf(1_000_000)
    keep_card(folders.cards, server.card(PATH))
    asyncio.run(connected.pull("noise", lambda _: None))
    bundle = tmp_path / "noise.tundish"
    _, public_key = connected.export("noise", bundle)
    return bundle, public_key


@pytest.mark.parametrize("switch", ["1", "0"])
def test_a_bundle_is_all_that_is_needed(server, carried, library, tundish_model, tmp_path: Path, switch: str) -> None:
    """The guard stops whoever connects; the switch must not matter to what needs no connection."""
    bundle, public_key = carried
    server.asked.clear()

    def run(*words: str) -> tuple[int, str, str]:
        code, out, err = finish(tundish_model(*words, network=False, TUNDISH_OFFLINE=switch))
        assert "NETWORK" not in err
        return code, out, err

    code, _, err = run("import", str(bundle))
    assert code == 1
    assert public_key in err
    code, _, err = run("import", str(bundle), "--trust", public_key)
    assert code == 0, err
    assert (
        hashlib.sha256(library.resolve("noise").read_bytes()).digest() == hashlib.sha256(server.content[PATH]).digest()
    )
    for words in (["list"], ["info", "noise"], ["verify"], ["pull", "noise"], ["search", "noise"]):
        code, out, err = run(*words)
        assert code == 0, err
        assert "noise" in out
    code, out, _ = run("verify", "--json")
    assert [model["ok"] for model in json.loads(out)] == [True]
    code, _, err = run("export", "noise", "--output", str(tmp_path / "again.tundish"))
    assert code == 0, err
    code, _, err = run("remove", "noise")
    assert code == 0, err
    assert not server.asked


def test_with_the_switch_no_source_is_contacted(server, library, tundish_model) -> None:
    keep_card(library.folders.cards, server.card(PATH))
    for words in (["pull", "noise"], ["pull", "gpt-oss-20b"], ["add", "somebody/noise-GGUF"]):
        code, _, err = finish(tundish_model(*words, network=False, TUNDISH_OFFLINE="1"))
        assert code == 1
        assert "Offline is set" in err
        assert "NETWORK" not in err
    # A URL can be made known without being asked for.
    code, _, err = finish(tundish_model("add", f"{server.url}/other.gguf", network=False, TUNDISH_OFFLINE="1"))
    assert code == 0, err
    assert not server.asked


def test_the_guard_would_have_noticed(server, library, tundish_model) -> None:
    keep_card(library.folders.cards, server.card(PATH))
    code, _, err = finish(tundish_model("pull", "noise", network=False))
    assert code != 0
    assert "NETWORK: socket." in err


def test_an_update_that_a_crash_cut_off_is_finished_offline(server, carried, library, tundish_model) -> None:
    bundle, public_key = carried
    library.import_bundle(bundle, trust=public_key)
    model = library.find("noise")
    staging = library.folders.models / ".staging" / "test@noise@f32-gguf"
    staging.parent.mkdir(exist_ok=True)
    model.folder.rename(staging)
    keep_card(library.folders.cards, server.card(PATH))
    code, out, err = finish(tundish_model("pull", "noise", network=False, TUNDISH_OFFLINE="1"))
    assert code == 0, err
    assert "is here" in out
    assert library.cache.find(ModelKey("test", "noise", "f32-gguf")) == model
