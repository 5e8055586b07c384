"""What a log is after its process ended at any moment, and after its disk refused."""

from __future__ import annotations

import errno
import io
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tundish.ledger import layout, writer
from tundish.ledger.errors import LogDamaged
from tundish.ledger.layout import ReceiptsFolder
from tundish.ledger.leaf import Gap
from tundish.ledger.recovery import recover
from tundish.ledger.usage import Usage
from tundish.ledger.verify import verify
from tundish.ledger.writer import LogWriter

from .logs import PUBLIC, Log, receipt, sealed_log


@pytest.fixture(scope="module")
def half_sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four sealed leaves in two segments, then four more that no head covers."""
    folder = tmp_path_factory.mktemp("half")
    log = Log(folder, segment_bytes=1300)
    log.append([receipt(1), receipt(2), receipt(3)])
    log.seal()
    for number in range(4, 8):
        log.append([receipt(number)], salt=b"s" * 16)
    log.writer.close()
    return folder


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "log").iterdir() if path.name != layout.HEADS)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_whatever_was_torn_off_after_the_last_head_the_log_goes_on(
    half_sealed: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("torn") / "receipts"
    shutil.copytree(half_sealed, folder)
    seal = layout.last_seal(ReceiptsFolder(folder), "log")
    assert seal is not None
    sealed = {
        seal.resumption.segment: seal.resumption.offset,
        layout.INDEX: seal.head.size * layout.ENTRY_BYTES,
        layout.SALTS: 0,
    }
    for path in _files(folder):
        if path.name > seal.resumption.segment or path.name in sealed:
            size = path.stat().st_size
            kept = data.draw(st.integers(min(sealed.get(path.name, 0), size), size), label=path.name)
            garbage = data.draw(st.sampled_from([b"", b"\0" * 40, b'{"index":', b'{"index":999,"receipt":{}}\n']))
            path.write_bytes(path.read_bytes()[:kept] + garbage)
    end = recover(folder / "log")
    assert 4 <= end.frontier.size <= 8
    assert end.sealed_size == 4
    log = Log(folder)
    log.append([receipt(100)], salt=b"t" * 16)
    log.seal()
    log.writer.close()
    report = verify(folder, [PUBLIC])
    assert report.ok, report.findings
    assert report.logs[0].leaves == end.frontier.size + 1
    assert layout.salt_of(ReceiptsFolder(folder), "log", end.frontier.size) == b"t" * 16


def test_nothing_torn_nothing_lost(half_sealed: Path, tmp_path: Path) -> None:
    shutil.copytree(half_sealed, tmp_path / "receipts")
    end = recover(tmp_path / "receipts/log")
    assert (end.frontier.size, end.sealed_size, end.cut_bytes, end.key) == (8, 4, 0, PUBLIC)


def test_what_is_cut_off_is_kept_beside_the_log(tmp_path: Path) -> None:
    sealed_log(tmp_path, 2)
    segment = tmp_path / "log" / layout.segment_name(0)
    segment.write_bytes(segment.read_bytes() + b'{"index":3,"receipt":{"requ')
    assert recover(tmp_path / "log").cut_bytes == 27
    (torn,) = (tmp_path / "log").glob("torn-*")
    assert torn.read_bytes() == b'{"index":3,"receipt":{"requ'
    assert verify(tmp_path, [PUBLIC]).ok


@pytest.mark.parametrize("file", [layout.segment_name(0), layout.INDEX])
def test_a_log_shorter_than_its_head_is_damaged_and_not_touched(tmp_path: Path, file: str) -> None:
    sealed_log(tmp_path, 4)
    path = tmp_path / "log" / file
    path.write_bytes(path.read_bytes()[:-1])
    before = {file.name: file.read_bytes() for file in (tmp_path / "log").iterdir()}
    with pytest.raises(LogDamaged, match="shorter than its last signed head"):
        recover(tmp_path / "log")
    assert {file.name: file.read_bytes() for file in (tmp_path / "log").iterdir()} == before


def test_a_log_whose_head_is_forged_is_damaged(tmp_path: Path) -> None:
    sealed_log(tmp_path, 4)
    heads = tmp_path / "log" / layout.HEADS
    heads.write_bytes(heads.read_bytes().replace(b'"time_us":1', b'"time_us":2'))
    with pytest.raises(LogDamaged, match="not genuine"):
        recover(tmp_path / "log")


class _FullDisk:
    """Takes so many bytes in all, then has no space left; partial writes, as a real one makes them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room = room
        disk = self

        class File(io.FileIO):
            def write(self, content: bytes, /) -> int:  # type: ignore[override]
                if disk.room <= 0:
                    raise OSError(errno.ENOSPC, "No space left on device")
                taken = super().write(bytes(content)[: disk.room])
                disk.room -= taken
                return taken

        monkeypatch.setattr(writer, "_appending", lambda path: File(path, "ab"))


@pytest.mark.parametrize("room", range(0, 2500, 83))
def test_a_batch_that_the_disk_refuses_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, room: int
) -> None:
    sealed_log(tmp_path, 2)
    disk = _FullDisk(monkeypatch, room)
    log = Log(tmp_path)
    before = {path.name: path.read_bytes() for path in (tmp_path / "log").iterdir()}
    batch = [receipt(number) for number in range(10, 16)]
    with pytest.raises(OSError, match="No space"):
        log.append(batch)
    assert {path.name: path.read_bytes() for path in (tmp_path / "log").iterdir()} == before
    assert log.writer.usage.total().requests == 0
    disk.room = 1 << 20
    log.append(batch)
    log.seal()
    log.writer.close()
    report = verify(tmp_path, [PUBLIC])
    assert report.ok
    assert report.logs[0].receipts == 8


def test_a_head_that_the_disk_refuses_is_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sealed_log(tmp_path, 2)
    disk = _FullDisk(monkeypatch, 1 << 20)
    log = Log(tmp_path)
    log.append([receipt(9)])
    disk.room = 100
    with pytest.raises(OSError, match="No space"):
        log.seal()
    disk.room = 1 << 20
    assert log.seal().size == 4
    log.writer.close()
    assert verify(tmp_path, [PUBLIC]).ok


def test_a_receipt_that_cannot_be_written_becomes_a_gap(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.append([receipt(1), receipt(2, route="\ud800"), receipt(3)])
    log.seal()
    log.writer.close()
    report = verify(tmp_path, [PUBLIC])
    assert report.ok
    assert (report.logs[0].receipts, report.logs[0].lost) == (2, 1)


def test_a_new_log_begins_with_nothing(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    end = recover(tmp_path / "log")
    assert (end.frontier.size, end.key) == (0, "")
    opened = LogWriter(tmp_path / "log", end, Usage())
    opened.append([(Gap(lost=1, first_us=0, last_us=0, reason=""), layout.NO_SALT)])
    opened.close()
