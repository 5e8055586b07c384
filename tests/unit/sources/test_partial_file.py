"""What has arrived of a file, over crashes: what is proven is kept, what is not is not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from tundish.sources.partial_file import PartialFile, RemoteFile

REMOTE = RemoteFile(identity="https://x.example/m", etag='"1"', total_bytes=100)
CONTENT = bytes(range(100))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "files/m.gguf"


@contextmanager
def opened(path: Path, identity: str = REMOTE.identity) -> Iterator[PartialFile]:
    partial = PartialFile(path, path.with_name("note.json"))
    partial.resume(identity)
    try:
        yield partial
    finally:
        partial.close()


@pytest.fixture
def half(path: Path) -> Path:
    with opened(path) as partial:
        partial.remote = REMOTE
        partial.write(CONTENT[:50])
    return path


def test_what_arrived_is_hashed(path: Path) -> None:
    with opened(path) as partial:
        partial.remote = REMOTE
        partial.write(CONTENT[:30])
        partial.write(memoryview(CONTENT[30:]))
        partial.finish()
        assert partial.size_bytes == 100
        assert partial.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert path.read_bytes() == CONTENT


def test_the_next_process_goes_on(half: Path) -> None:
    with opened(half) as partial:
        assert (partial.size_bytes, partial.remote) == (50, REMOTE)
        partial.write(CONTENT[50:])
        assert partial.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert half.read_bytes() == CONTENT


def test_bytes_that_came_after_the_last_note_are_not_trusted(half: Path) -> None:
    with half.open("ab") as file:
        file.write(b"written, but was it durable?")
    with opened(half) as partial:
        assert partial.size_bytes == 50
    assert half.stat().st_size == 50


@pytest.mark.parametrize("damage", ["flipped", "shorter", "no note", "broken note", "other identity"])
def test_what_is_not_proven_is_fetched_again(half: Path, damage: str) -> None:
    note = half.with_name("note.json")
    if damage == "flipped":
        half.write_bytes(b"X" + CONTENT[1:50])
    elif damage == "shorter":
        half.write_bytes(CONTENT[:49])
    elif damage == "no note":
        note.unlink()
    elif damage == "broken note":
        note.write_bytes(note.read_bytes()[:-9])
    with opened(half, "sha256:other" if damage == "other identity" else REMOTE.identity) as partial:
        assert (partial.size_bytes, partial.remote) == (0, None)
        partial.remote = REMOTE
        partial.write(CONTENT)
        assert partial.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert half.read_bytes() == CONTENT


def test_starting_over_forgets_everything(half: Path) -> None:
    with opened(half) as partial:
        partial.restart()
        assert (partial.size_bytes, partial.remote) == (0, None)
    assert half.read_bytes() == b""
    assert not half.with_name("note.json").exists()


def test_a_note_says_no_more_than_is_on_disk(half: Path) -> None:
    note = msgspec.json.decode(half.with_name("note.json").read_bytes())
    assert note["durable_bytes"] == 50
    assert note["sha256"] == hashlib.sha256(CONTENT[:50]).hexdigest()


@pytest.mark.parametrize(
    ("etag", "modified", "validator"),
    [
        ('"1"', "yesterday", '"1"'),
        ('W/"1"', "yesterday", "yesterday"),
        (None, "yesterday", "yesterday"),
        ('W/"1"', None, None),
    ],
)
def test_only_a_strong_validator_may_ask_for_the_rest(etag: str | None, modified: str | None, validator: str) -> None:
    assert RemoteFile(identity="x", etag=etag, last_modified=modified).validator == validator
