"""Keys open the endpoint to their owners only, and live in a file that only the owner reads."""

from __future__ import annotations

import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tundish.access import key_file
from tundish.access.keys import KeyRing, generate_key
from tundish.core.errors import PermissionDenied, Unauthenticated


def test_a_known_key_names_its_principal() -> None:
    ring = KeyRing({"laptop": "td-one", "ci": "td-two"})
    assert ring.verify("td-two").key_id == "ci"


@pytest.mark.parametrize("presented", [None, "", "td-three", "TD-ONE", "td-one ", "\udcff\udcfe"])
def test_anything_else_is_refused(presented: str | None) -> None:
    with pytest.raises(Unauthenticated):
        KeyRing({"laptop": "td-one"}).verify(presented)


def test_an_empty_ring_opens_to_nobody_and_an_open_one_to_anybody() -> None:
    with pytest.raises(Unauthenticated):
        KeyRing({}).verify("anything")
    assert KeyRing.open().verify(None).key_id == "anonymous"


def test_generated_keys_differ() -> None:
    assert len({generate_key() for _ in range(100)}) == 100


def test_the_key_file_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "api-key"
    key = key_file.load_or_create(path)
    assert key_file.load_or_create(path) == key
    assert [entry.name for entry in path.parent.iterdir()] == ["api-key"]
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_starts_at_the_same_time_agree_on_one_key(tmp_path: Path) -> None:
    path = tmp_path / "api-key"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: key_file.load_or_create(path), range(32)))
    assert keys == {path.read_text(encoding="ascii").strip()}


def test_a_folder_that_cannot_be_made_is_the_systems_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        key_file.load_or_create(tmp_path / "file" / "api-key")


def test_only_the_owners_key_may_operate() -> None:
    ring = KeyRing.of_owner("td-own", key_id="generated")
    ring.verify("td-own").require_owner("GET /x")
    KeyRing.open().verify(None).require_owner("GET /x")
    with pytest.raises(PermissionDenied, match=r"GET /x is for the owner .* 'ci'"):
        KeyRing({"ci": "td-two"}).verify("td-two").require_owner("GET /x")
