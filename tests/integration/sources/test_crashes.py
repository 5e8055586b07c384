"""Killed, out of room, read-only, side by side: the models folder holds whole models or none."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tundish.catalog.catalog import keep_card

MB = 1_000_000
PATH = "/noise.gguf"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills with SIGKILL")


@pytest.fixture
def content(server, library) -> bytes:
    server.content[PATH] = server.gguf(16 * MB)
    keep_card(library.folders.cards, server.card(PATH))
    return server.content[PATH]


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def assert_whole_or_absent(library) -> int:
    contents = library.cache.contents()
    assert not contents.unreadable
    for model in contents.models:
        assert not library.cache.verify(model)
    return len(contents.models)


def test_a_killed_pull_goes_on_where_it_was(server, library, content, tundish_model) -> None:
    server.usually = server.slowly(4e6)
    process = tundish_model("pull", "noise")
    while not list(library.folders.models.rglob("progress/*.json")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    time.sleep(0.3)
    process.kill()
    assert finish(process)[0] == -9
    assert assert_whole_or_absent(library) == 0
    server.usually = server.slowly(1e9)
    code, out, err = finish(tundish_model("pull", "noise", "--json"))
    assert code == 0, err
    assert json.loads(out.splitlines()[-1])["event"] == "finished"
    assert server.asked[-1].start >= MB
    assert library.resolve("noise").read_bytes() == content


def test_a_pull_that_is_killed_anywhere(server, library, content, tundish_model) -> None:
    server.usually = server.slowly(60e6)
    chance = random.Random(3)
    for _ in range(6):
        process = tundish_model("pull", "noise")
        time.sleep(chance.uniform(0.2, 0.7))
        process.kill()
        finish(process)
        if assert_whole_or_absent(library):
            library.remove("noise")
    code, _, err = finish(tundish_model("pull", "noise"))
    assert code == 0, err
    assert library.resolve("noise").read_bytes() == content


def test_an_import_that_is_killed_in_the_middle(library, content, server, tundish_model, tmp_path) -> None:
    assert finish(tundish_model("pull", "noise"))[0] == 0
    bundle = tmp_path / "noise.tundish"
    assert finish(tundish_model("export", "noise", "--output", str(bundle)))[0] == 0
    library.remove("noise")
    # Through a pipe, so that it is surely in the middle of the file when it is killed.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = tundish_model("import", str(pipe))
    with pipe.open("wb", buffering=0) as half:
        half.write(bundle.read_bytes()[: 8 * MB])
        while not library.cache.contents().partial:
            time.sleep(0.02)
        process.kill()
        finish(process)
    assert assert_whole_or_absent(library) == 0
    code, _, err = finish(tundish_model("import", str(bundle)))
    assert code == 0, err
    assert library.resolve("noise").read_bytes() == content
    assert not library.cache.contents().partial


def test_processes_that_pull_and_remove_the_same_model(server, library, content, tundish_model) -> None:
    server.usually = server.slowly(60e6)
    for _ in range(2):
        processes = [tundish_model(*words) for words in (["pull", "noise"], ["remove", "noise"], ["pull", "noise"])]
        for process in processes:
            code, _, err = finish(process)
            assert code == 0 or "not on this machine" in err or "Another process" in err, err
        assert_whole_or_absent(library)
    assert finish(tundish_model("pull", "noise"))[0] == 0
    assert assert_whole_or_absent(library) == 1


def test_two_processes_share_one_download(server, library, content, tundish_model) -> None:
    server.usually = server.slowly(20e6)
    outputs = [finish(process) for process in (tundish_model("pull", "noise"), tundish_model("pull", "noise"))]
    assert [code for code, _, _ in outputs] == [0, 0], outputs
    assert len(server.asked) == 1


@pytest.mark.parametrize("action", ["pull", "import", "add", "export"])
def test_a_disk_that_is_full(server, library, content, tundish_model, tmp_path, action: str) -> None:
    """A limit on the size of files stands in for the disk: the same error from the same call, on any machine."""
    file, bundle = tmp_path / "noise.gguf", tmp_path / "noise.tundish"
    file.write_bytes(content)
    if action in ("import", "export"):
        assert finish(tundish_model("pull", "noise"))[0] == 0
    if action == "import":
        assert finish(tundish_model("export", "noise", "--output", str(bundle)))[0] == 0
        library.remove("noise")
    words = {
        "pull": ["noise"],
        "import": [str(bundle)],
        "add": [str(file), "--copy", "--name", "mine"],
        "export": ["noise", "--output", str(bundle)],
    }[action]
    code, _, err = finish(tundish_model(action, *words, limit_bytes=10 * MB))
    assert code == 1
    assert "no room" in err
    assert "run the same command again" in err
    assert assert_whole_or_absent(library) == (action == "export")
    assert action == "import" or not bundle.exists()
    assert action == "pull" or not library.cache.contents().partial
    code, _, err = finish(tundish_model(action, *words))
    assert code == 0, err
    assert assert_whole_or_absent(library) == 1
    if action == "pull":
        assert [asked.start for asked in server.asked] == [0, 10 * MB]


def test_an_export_that_is_killed_leaves_no_bundle(library, server, tundish_model, tmp_path) -> None:
    server.content[PATH] = server.gguf(24 * MB)
    keep_card(library.folders.cards, server.card(PATH))
    assert finish(tundish_model("pull", "noise"))[0] == 0
    bundle = tmp_path / "noise.tundish"
    process = tundish_model("export", "noise", "--output", str(bundle))
    while not list(tmp_path.glob(".noise.tundish*")) and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    finish(process)
    if not bundle.exists():  # else it was quicker than we were
        assert finish(tundish_model("export", "noise", "--output", str(bundle)))[0] == 0
    library.remove("noise")
    assert finish(tundish_model("import", str(bundle)))[0] == 0
    assert assert_whole_or_absent(library) == 1
    assert not list(tmp_path.glob(".noise*"))


@pytest.fixture
def read_only(library) -> Iterator[Callable[[], None]]:
    """Makes the models folder read-only, for processes without privileges."""
    changed: dict[Path, int] = {}

    def make() -> None:
        for path in [library.folders.models, *library.folders.models.rglob("*")]:
            changed[path] = path.stat().st_mode
            path.chmod(path.stat().st_mode & ~0o222)

    yield make
    for path, mode in changed.items():
        path.chmod(mode)


def test_a_read_only_models_folder_serves_and_says_why_it_does_not_change(
    server, library, content, tundish_model, read_only
) -> None:
    assert finish(tundish_model("pull", "noise"))[0] == 0
    read_only()
    assert library.resolve("noise").read_bytes() == content
    for words in (["verify"], ["list"], ["pull", "noise"]):
        code, _, err = finish(tundish_model(*words, privileged=False))
        assert (code, err) == (0, ""), words
    for words in (["pull", "noise", "--update"], ["remove", "noise"], ["pull", "gpt-oss-20b"]):
        code, _, err = finish(tundish_model(*words, privileged=False))
        assert code == 1, words
        assert "ermission denied" in err
        assert "Is it mounted, writable and yours?" in err
    assert library.resolve("noise").is_file()


def test_a_models_folder_that_vanished(server, library, content, tundish_model) -> None:
    assert finish(tundish_model("pull", "noise"))[0] == 0
    library.folders.models.rename(library.folders.models.with_name("away"))
    code, out, err = finish(tundish_model("list"))
    assert (code, err) == (0, "")
    assert "noise" not in out
    code, _, err = finish(tundish_model("verify", "noise"))
    assert code == 1
    assert "tundish model pull" in err
    library.folders.models.with_name("away").rename(library.folders.models)
    assert assert_whole_or_absent(library) == 1


def test_a_models_folder_that_vanishes_during_a_pull(server, library, content, tundish_model) -> None:
    server.usually = server.slowly(16e6)
    process = tundish_model("pull", "noise")
    while not library.cache.contents().partial:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    library.folders.models.rename(library.folders.models.with_name("away"))
    code, _, err = finish(process)
    assert code == 1
    assert "Is it mounted, writable and yours?" in err
    assert "Traceback" not in err
    assert assert_whole_or_absent(library) == 0
