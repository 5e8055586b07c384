"""Saved prefixes on disk, with files as llama.cpp writes them."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

import filelock
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tundish.engines.llama_cpp import prefix_files
from tundish.engines.llama_cpp.prefix_entry import Entry, holds, packed
from tundish.engines.llama_cpp.prefix_store import PrefixStore

MODEL = "a" * 32
PREFIX = list(range(300))
STATE = [*PREFIX, 7, 7, 7, 7, 7]


def state_file(tokens: list[int], *, size: int = 10_000) -> bytes:
    words = struct.pack("<III", 0xFFFFFFFF, 1, len(tokens)) + packed(tokens) + struct.pack("<I", 0)
    head = struct.pack("<4sII", b"qsgg", 4, len(words) // 4)
    return (head + words).ljust(size, b"\x05")


def store_in(root: Path, *, model: str = MODEL, limit_bytes: int = 10**6) -> PrefixStore:
    store = PrefixStore(root, model, limit_bytes=limit_bytes)
    store.open()
    return store


def save(store: PrefixStore, prefix: list[int] = PREFIX, *, size: int = 10_000) -> Entry | None:
    draft = store.new_draft()
    state = [*prefix, 7, 7, 7, 7, 7]
    (store.folder / draft).write_bytes(state_file(state, size=size))
    return store.adopt(draft, state, len(prefix))


def names(store: PrefixStore) -> list[str]:
    return sorted(path.name for path in store.folder.iterdir())


def test_what_is_saved_is_found_again_by_another_endpoint(tmp_path: Path) -> None:
    entry = save(store_in(tmp_path))
    later = store_in(tmp_path)
    assert entry is not None
    assert entry.tokens == 300
    assert later.longest(packed([*PREFIX, 1, 2, 3])) == entry
    assert later.longest(packed(PREFIX[:-1])) is None
    assert later.longest(packed([5, *PREFIX])) is None
    assert later.usable(entry)


def test_the_longest_prefix_is_taken(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    save(store, PREFIX[:270])
    longer = save(store)
    assert store.longest(packed([*PREFIX, 1])) == longer


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")
def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    store = store_in(tmp_path / "prefixes")
    save(store)
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "prefixes", store.folder)] == [0o700, 0o700]
    assert {path.stat().st_mode & 0o777 for path in store.folder.iterdir()} == {0o600}


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")
def test_a_folder_that_others_can_enter_is_closed(tmp_path: Path) -> None:
    root = tmp_path / "prefixes"
    root.mkdir()
    root.chmod(0o777)
    store_in(root)
    assert root.stat().st_mode & 0o777 == 0o700


@given(place=st.integers(0, 9_999), bit=st.integers(0, 7))
def test_any_flipped_bit_drops_it(tmp_path_factory: pytest.TempPathFactory, place: int, bit: int) -> None:
    store = store_in(tmp_path_factory.mktemp("prefixes"))
    entry = save(store)
    assert entry is not None
    content = bytearray(store.state_file(entry).read_bytes())
    content[place] ^= 1 << bit
    store.state_file(entry).write_bytes(content)
    later = store_in(store.folder.parent)
    assert not later.usable(entry)
    assert (later.longest(packed(PREFIX)), names(later)) == (None, [])


def test_damage_after_it_was_found_whole_is_seen(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    entry = save(store)
    assert entry is not None
    assert store.usable(entry)
    store.state_file(entry).write_bytes(b"\x00" * entry.file_bytes)
    assert not store.usable(entry)


def test_a_truncated_state_is_not_even_listed(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    entry = save(store)
    assert entry is not None
    store.state_file(entry).write_bytes(state_file(STATE)[:5000])
    later = store_in(tmp_path)
    assert (later.entries, names(later)) == ([], [])


def test_an_entry_of_another_model_is_not_used(tmp_path: Path) -> None:
    other = store_in(tmp_path, model="b" * 32)
    save(other)
    store = store_in(tmp_path)
    for path in other.folder.iterdir():
        (store.folder / path.name).write_bytes(path.read_bytes())
    later = store_in(tmp_path)
    assert later.longest(packed(PREFIX)) is None
    assert names(later) == []
    assert store_in(tmp_path, model="b" * 32).longest(packed(PREFIX)) is not None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"name":"x"}', b"\xff\xfe", b'{"name":5}'])
def test_garbage_for_an_entry_is_removed(tmp_path: Path, content: bytes) -> None:
    store = store_in(tmp_path)
    (store.folder / "x.json").write_bytes(content)
    (store.folder / "x.kv").write_bytes(b"state")
    assert (store_in(tmp_path).entries, names(store)) == ([], [])


def test_a_state_without_an_entry_does_not_count(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    entry = save(store)
    assert entry is not None
    (store.folder / f"{entry.name}.json").unlink()
    assert (store_in(tmp_path).entries, names(store)) == ([], [])


def test_a_state_after_other_tokens_is_not_adopted(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    draft = store.new_draft()
    (store.folder / draft).write_bytes(state_file([*STATE[:-1], 8]))
    assert store.adopt(draft, STATE, 300) is None
    assert names(store) == []


@given(st.binary(max_size=200))
def test_any_file_can_be_asked_what_it_holds(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "draft"
    path.write_bytes(content)
    assert not holds(path, packed(STATE))


def test_the_least_recently_used_go_when_there_is_no_room(tmp_path: Path) -> None:
    store = store_in(tmp_path, limit_bytes=25_000)
    first, second = save(store, [1] * 300), save(store, [2] * 300)
    assert first is not None
    assert second is not None
    os.utime(store.folder / f"{first.name}.json", (2e9, 2e9))
    third = save(store, [3] * 300)
    assert third is not None
    assert {entry.name for entry in store.entries} == {first.name, third.name}
    assert len(names(store)) == 4


def test_other_models_count_too(tmp_path: Path) -> None:
    other = store_in(tmp_path, model="b" * 32)
    save(other)
    store = store_in(tmp_path, limit_bytes=15_000)
    save(store)
    assert not other.folder.exists()
    assert len(names(store)) == 2


def test_what_is_larger_than_the_limit_is_not_kept(tmp_path: Path) -> None:
    store = store_in(tmp_path, limit_bytes=5_000)
    assert save(store) is None
    assert names(store) == []


def test_only_one_endpoint_changes_the_folder(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    entry = save(store)
    assert entry is not None
    with filelock.FileLock(tmp_path / ".lock"):
        assert save(store, [1] * 300) is None
        assert not store.make_room()
        assert store.longest(packed(PREFIX)) is not None  # reading goes on
        assert store.usable(entry)
    assert save(store, [1] * 300) is not None


def test_two_endpoints_that_save_the_same_keep_the_first(tmp_path: Path) -> None:
    one, two = store_in(tmp_path), store_in(tmp_path)
    first = save(one)
    assert save(two, size=11_000) == first
    assert first is not None
    assert one.usable(first) == two.usable(first) == first
    assert len(names(one)) == 2


def test_what_another_endpoint_saved_anew_is_used(tmp_path: Path) -> None:
    one, two = store_in(tmp_path), store_in(tmp_path)
    first = save(one)
    assert first is not None
    two.open()
    two.drop(first, "for the test")
    second = save(two, size=11_000)
    assert second is not None
    assert one.usable(first) == second
    assert one.longest(packed(PREFIX)) == second


def test_uses_are_counted_and_survive(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    save(store, [1] * 300)
    entry = save(store)
    assert entry is not None
    store.used(entry)
    assert next(known.name for known in store_in(tmp_path).entries) == entry.name


def test_an_entry_that_was_removed_is_not_written_again(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    entry = save(store)
    assert entry is not None
    prefix_files.erase(tmp_path)
    store.used(entry)
    assert not list(tmp_path.rglob("*.json"))
    assert not store.usable(entry)
    assert save(store) is not None  # and the folder is made anew


def test_old_drafts_are_swept_and_new_ones_left_to_their_writer(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    old, new = store.folder / store.new_draft(), store.folder / store.new_draft()
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1e9, 1e9))
    store_in(tmp_path)
    assert names(store) == [new.name]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError):  # noqa: PT011 - which one depends on the system
        store_in(tmp_path / "file")


def test_entries_are_strict(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    entry = save(store)
    assert entry is not None
    path = store.folder / f"{entry.name}.json"
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(entry, tokens=-1)))
    assert store_in(tmp_path).entries == []
