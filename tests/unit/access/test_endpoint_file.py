"""The endpoint's record: found by its commands, survived when damaged, removed only by who wrote it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tundish.access import endpoint_file
from tundish.access.endpoint_file import EndpointRecord

RECORD = EndpointRecord(
    url="http://127.0.0.1:8642", pid=7, started_s=1.5, version="1", key_file="/home/me/key", key_required=True
)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "state" / "endpoint.json"
    endpoint_file.write(path, RECORD)
    assert endpoint_file.read(path) == RECORD


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"{}", b'{"url": 1}', b"\xff\xfe", b'"x"'])
def test_garbage_is_no_record(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "endpoint.json"
    path.write_bytes(content)
    assert endpoint_file.read(path) is None


def test_only_the_writer_removes_it(tmp_path: Path) -> None:
    path = tmp_path / "endpoint.json"
    endpoint_file.write(path, RECORD)
    endpoint_file.remove(path, pid=8)
    assert endpoint_file.read(path) == RECORD
    endpoint_file.remove(path, pid=7)
    endpoint_file.remove(path, pid=7)
    assert not path.exists()
