"""A file is replaced wholly or not at all."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from tundish.catalog import durable_file
from tundish.catalog.errors import CacheUnavailable, DiskFull, from_os_error


def test_a_write_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "file"
    durable_file.write(path, b"one")
    durable_file.write(path, b"two", private=True)
    assert path.read_bytes() == b"two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "inside").write_text("kept")
    with pytest.raises(OSError, match="folder"):
        durable_file.write(path, b"content")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]
    assert (path / "inside").read_text() == "kept"


@pytest.mark.parametrize("code", [28, 122, 27])
def test_no_room_has_its_own_error(tmp_path: Path, code: int) -> None:
    assert isinstance(from_os_error(OSError(code, "no room"), tmp_path), DiskFull)


def test_other_refusals_name_the_folder_and_the_file(tmp_path: Path) -> None:
    error = from_os_error(PermissionError(13, "Permission denied", "/x/y"), tmp_path)
    assert isinstance(error, CacheUnavailable)
    assert str(tmp_path) in error.message
    assert "/x/y" in error.message
