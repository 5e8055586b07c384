"""The examiner's questions: each way to tamper with a log is found and named."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tundish.ledger import layout
from tundish.ledger.errors import LedgerUnavailable
from tundish.ledger.export import export
from tundish.ledger.finding import Finding, Kind, Report
from tundish.ledger.head import Head
from tundish.ledger.keys import rotated
from tundish.ledger.layout import ReceiptsFolder
from tundish.ledger.leaf import Amendment, Gap, Resumed
from tundish.ledger.merkle import leaf_hash
from tundish.ledger.search import latest
from tundish.ledger.verify import verify

from .logs import KEY, NOON_US, OTHER_KEY, OTHER_PUBLIC, PUBLIC, Log, receipt, sealed_log

COUNT = 20


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty receipts behind the opening leaf, sealed three at a time: `req-N` is leaf N."""
    folder = tmp_path_factory.mktemp("honest")
    sealed_log(folder, COUNT)
    return folder


@pytest.fixture
def tampered(honest: Path, tmp_path: Path) -> Path:
    return _copy(honest, tmp_path)


def _copy(honest: Path, folder: Path) -> Path:
    shutil.rmtree(folder / "receipts", ignore_errors=True)
    shutil.copytree(honest, folder / "receipts")
    return folder / "receipts"


def _edit(folder: Path, change: Callable[[list[bytes]], list[bytes]]) -> Report:
    (path,) = (folder / "log").glob("leaves-*")
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    return verify(folder, [PUBLIC])


def _named(report: Report) -> list[tuple[Kind, int | None, int, str]]:
    return [(found.kind, found.index, found.count, found.request_id) for found in report.findings]


def test_an_honest_log_passes_and_is_counted(honest: Path) -> None:
    report = verify(honest, [PUBLIC])
    assert report.ok
    (log,) = report.logs
    assert (log.leaves, log.receipts, log.sealed, log.unsealed, log.keys) == (21, 20, 21, 0, (PUBLIC,))


@settings(max_examples=60, deadline=None)
@given(at=st.integers(1, COUNT), byte=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_any_flipped_bit_is_found_and_named(
    honest: Path, tmp_path_factory: pytest.TempPathFactory, at: int, byte: int, bit: int
) -> None:
    folder = _copy(honest, tmp_path_factory.mktemp("flip"))

    def flip(lines: list[bytes]) -> list[bytes]:
        line = bytearray(lines[at])
        position = byte % (len(line) - 1)
        line[position] ^= 1 << bit
        if line[position] in b"\n":
            line[position] ^= 1 << (bit + 1) % 8
        return [*lines[:at], bytes(line), *lines[at + 1 :]]

    assert _named(_edit(folder, flip)) == [(Kind.CHANGED, at, 1, f"req-{at}")]


@settings(max_examples=40, deadline=None)
@given(first=st.integers(1, COUNT), count=st.integers(1, COUNT))
def test_removed_and_truncated_receipts_are_named(
    honest: Path, tmp_path_factory: pytest.TempPathFactory, first: int, count: int
) -> None:
    folder = _copy(honest, tmp_path_factory.mktemp("remove"))
    report = _edit(folder, lambda lines: lines[:first] + lines[first + count :])
    kind = Kind.TRUNCATED if first + count > COUNT else Kind.REMOVED
    assert _named(report) == [(kind, first, min(count, COUNT + 1 - first), f"req-{first}")]


@settings(max_examples=40, deadline=None)
@given(at=st.integers(1, COUNT), source=st.one_of(st.none(), st.integers(1, COUNT)))
def test_an_inserted_receipt_is_named_whether_forged_or_copied(
    honest: Path, tmp_path_factory: pytest.TempPathFactory, at: int, source: int | None
) -> None:
    folder = _copy(honest, tmp_path_factory.mktemp("insert"))

    def insert(lines: list[bytes]) -> list[bytes]:
        forged = lines[at].replace(f'"req-{at}"'.encode(), b'"req-forged"')
        return [*lines[:at], forged if source is None else lines[source], *lines[at:]]

    report = _edit(folder, insert)
    # A copy beside its original: which of the two is the copy cannot be said, and does not matter.
    ((kind, index, count, request_id),) = _named(report)
    assert (kind, count) == (Kind.INSERTED, 1)
    assert request_id == ("req-forged" if source is None else f"req-{source}")
    assert index in ((source, source + 1) if source in (at, at - 1) else (at,))


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_reordered_receipts_are_named(
    honest: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = _copy(honest, tmp_path_factory.mktemp("swap"))
    left = data.draw(st.integers(1, COUNT - 1))
    right = data.draw(st.integers(left + 1, COUNT))

    def swap(lines: list[bytes]) -> list[bytes]:
        lines[left], lines[right] = lines[right], lines[left]
        return lines

    report = _edit(folder, swap)
    assert report.findings
    assert {found.kind for found in report.findings} == {Kind.REORDERED}
    assert {found.index for found in report.findings} <= {left, right, *range(left, right + 1)}
    assert {left, right} & {found.index for found in report.findings}


def test_several_things_at_once_are_each_named(tampered: Path) -> None:
    def change(lines: list[bytes]) -> list[bytes]:
        lines[3] = lines[3].replace(b'"cost_nano_usd":1000', b'"cost_nano_usd":1')
        forged = lines[15].replace(b'"req-15"', b'"req-forged"')
        return [*lines[:9], *lines[11:15], forged, *lines[15:19]]

    assert _named(_edit(tampered, change)) == [
        (Kind.CHANGED, 3, 1, "req-3"),
        (Kind.REMOVED, 9, 2, "req-9"),
        (Kind.INSERTED, 13, 1, "req-forged"),
        (Kind.TRUNCATED, 19, 2, "req-19"),
    ]


def test_a_file_cut_in_the_middle_of_a_line_is_named(tampered: Path) -> None:
    (path,) = (tampered / "log").glob("leaves-*")
    path.write_bytes(path.read_bytes()[:-10])
    report = verify(tampered, [PUBLIC])
    assert [(found.kind, found.index) for found in report.findings] == [(Kind.CHANGED, COUNT)]


@pytest.mark.parametrize("at", [2, 11, 20])
def test_a_change_that_the_index_was_made_to_fit_is_still_found(tampered: Path, at: int) -> None:
    """The index is no proof of itself: then the heads say between which of them it happened."""
    (path,) = (tampered / "log").glob("leaves-*")
    lines = path.read_bytes().splitlines(keepends=True)
    lines[at] = lines[at].replace(b'"internal"', b'"public"')
    path.write_bytes(b"".join(lines))
    _fit_index(tampered)
    (found,) = verify(tampered, [PUBLIC]).findings
    assert found.kind is Kind.CHANGED
    assert found.index is not None
    assert found.index <= at <= (found.last or 0)
    assert found.count <= 4


def test_removed_where_the_index_was_made_to_fit_is_named_by_the_lines_own_numbers(tampered: Path) -> None:
    (path,) = (tampered / "log").glob("leaves-*")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:7], *lines[9:]]))
    _fit_index(tampered)
    assert [(found.kind, found.index, found.count) for found in verify(tampered, [PUBLIC]).findings] == [
        (Kind.REMOVED, 7, 2)
    ]


def _fit_index(folder: Path) -> None:
    receipts = ReceiptsFolder(folder)
    entries = [layout.index_entry(leaf_hash(line), "") for line in layout.lines(receipts, "log")]
    (folder / "log" / layout.INDEX).write_bytes(b"".join(entries))


def test_an_altered_index_is_said_and_accuses_no_receipt(tampered: Path) -> None:
    path = tampered / "log" / layout.INDEX
    content = bytearray(path.read_bytes())
    content[5 * layout.ENTRY_BYTES] ^= 1
    path.write_bytes(content)
    assert _named(verify(tampered, [PUBLIC])) == [(Kind.INDEX, 5, 1, "")]


def test_truncation_with_its_heads_is_found_by_a_head_that_somebody_kept(tampered: Path) -> None:
    kept = layout.last_seal(ReceiptsFolder(tampered), "log")
    assert kept is not None
    _cut_back(tampered / "log", leaves=10)
    assert verify(tampered, [PUBLIC]).ok  # by itself it is whole: that is why heads are given away
    (found,) = verify(tampered, [PUBLIC], [kept.head]).findings
    assert (found.kind, found.index, found.last) == (Kind.TRUNCATED, 10, COUNT)


def _cut_back(log: Path, *, leaves: int) -> None:
    """As a forger with the disk, but not the key, would: leaves, index and heads all fit."""
    (path,) = log.glob("leaves-*")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:leaves]))
    index = log / layout.INDEX
    index.write_bytes(index.read_bytes()[: leaves * layout.ENTRY_BYTES])
    heads = log / layout.HEADS
    lines = heads.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if msgspec.json.decode(line)["head"]["size"] <= leaves]
    heads.write_bytes(b"".join(kept))


def test_a_log_written_anew_by_the_keys_owner_does_not_fit_a_kept_head(tmp_path: Path) -> None:
    kept = sealed_log(tmp_path / "first", 6)
    sealed_log(tmp_path / "second", 8, first=100)
    (found,) = verify(tmp_path / "second", [PUBLIC], [kept]).findings
    assert found.kind is Kind.REWRITTEN


def test_another_logs_leaf_tells_of_truncation_and_of_a_removed_log(tmp_path: Path) -> None:
    seen = sealed_log(tmp_path, 12, name="log")
    witness = Log(tmp_path, "witness")
    witness.append([Resumed(time_us=NOON_US, others=(seen,))])
    witness.seal()
    witness.writer.close()
    assert verify(tmp_path, [PUBLIC]).ok
    _cut_back(tmp_path / "log", leaves=7)
    assert [(found.kind, found.log, found.index) for found in verify(tmp_path, [PUBLIC]).findings] == [
        (Kind.TRUNCATED, "log", 7)
    ]
    shutil.rmtree(tmp_path / "log")
    assert [(found.kind, found.log) for found in verify(tmp_path, [PUBLIC]).findings] == [(Kind.LOG_REMOVED, "log")]


def test_a_forged_head_is_found(tampered: Path) -> None:
    heads = tampered / "log" / layout.HEADS
    lines = heads.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"size":', b'"size":1')
    heads.write_bytes(b"".join(lines))
    (found,) = verify(tampered, [PUBLIC]).findings
    assert found.kind is Kind.SIGNATURE
    assert "head 2" in found.detail


def test_a_log_that_somebody_else_signed_does_not_pass(honest: Path) -> None:
    (found,) = verify(honest, [OTHER_PUBLIC]).findings
    assert found.kind is Kind.SIGNATURE
    assert PUBLIC in found.detail


def test_without_heads_nothing_is_proven(tampered: Path) -> None:
    (tampered / "log" / layout.HEADS).unlink()
    (found,) = verify(tampered, [PUBLIC]).findings
    assert found.kind is Kind.SIGNATURE


def test_after_a_change_of_keys_each_of_them_verifies(tmp_path: Path) -> None:
    log = _rotated_log(tmp_path)
    assert verify(tmp_path, [PUBLIC]).ok
    report = verify(tmp_path, [OTHER_PUBLIC])
    assert report.ok
    assert report.logs[0].keys == (PUBLIC, OTHER_PUBLIC)
    log.append([receipt(9)])
    log.seal(KEY)  # whoever stole the old key
    (found,) = verify(tmp_path, [PUBLIC]).findings
    assert found.kind is Kind.SIGNATURE
    assert "not by the log's key at that time" in found.detail
    log.writer.close()


def _rotated_log(folder: Path) -> Log:
    log = Log(folder)
    log.append([receipt(1)])
    log.seal()
    log.append([rotated("log", KEY, OTHER_PUBLIC, NOON_US), receipt(2)])
    log.seal(OTHER_KEY)
    return log


def test_a_key_nobody_handed_over_to_does_not_count(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.seal()
    forged = msgspec.structs.replace(rotated("log", KEY, OTHER_PUBLIC, NOON_US), time_us=1)
    log.append([forged, receipt(1)])
    log.seal(OTHER_KEY)
    log.writer.close()
    kinds = {found.kind for found in verify(tmp_path, [PUBLIC]).findings}
    assert kinds == {Kind.SIGNATURE}


def test_a_forger_cannot_hide_behind_handing_over_to_the_trusted_key(tmp_path: Path) -> None:
    """His own log, with a statement that the trusted key follows his: but the trusted key has signed no head of it."""
    log = Log(tmp_path, "forged", key=OTHER_PUBLIC)
    log.append([receipt(1)])
    log.append([rotated("forged", OTHER_KEY, PUBLIC, NOON_US)])
    log.seal(OTHER_KEY)
    log.writer.close()
    assert not verify(tmp_path, [PUBLIC]).ok


def test_gaps_and_amendments_are_part_of_the_log_and_counted(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.append([receipt(1), Gap(lost=7, first_us=1, last_us=2, reason="full")])
    amendment = Amendment(
        amends="req-1", log="log", index=1, leaf_hash="", time_us=NOON_US, by="me", reason="wrong price"
    )
    log.append([amendment])
    log.seal()
    log.writer.close()
    (found,) = verify(tmp_path, [PUBLIC]).logs
    assert (found.receipts, found.lost, found.amendments) == (1, 7, 1)


def test_what_no_head_covers_yet_is_counted_apart(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.append([receipt(1)])
    log.seal()
    log.append([receipt(2)])
    report = verify(tmp_path, [PUBLIC])
    assert report.ok
    assert report.logs[0].unsealed == 1
    log.writer.close()


def test_behind_the_last_head_what_does_not_belong_is_still_told(tampered: Path, tmp_path: Path) -> None:
    exported = tmp_path / "export.zip"
    export(ReceiptsFolder(tampered), exported)
    with zipfile.ZipFile(exported, "a") as archive:
        archive.writestr(
            f"log/{layout.segment_name(COUNT + 1)}",
            b'{"index":21,"gap":{"lost":1,"first_us":1,"last_us":1,"reason":""}}\n',
        )
    assert _named(verify(exported, [PUBLIC])) == [(Kind.INSERTED, COUNT + 1, 1, "")]
    assert _named(_edit(tampered, lambda lines: [*lines, lines[4]])) == [(Kind.INSERTED, COUNT + 1, 1, "req-4")]


def test_a_clock_that_jumps_changes_no_order(tmp_path: Path) -> None:
    log = Log(tmp_path)
    for number, time_us in enumerate((NOON_US, 0, -(10**17), 2**62, NOON_US), 1):
        log.append([receipt(number, arrived_us=time_us)])
        assert log.writer.seal(KEY, time_us) is not None
    log.writer.close()
    assert verify(tmp_path, [PUBLIC]).ok
    found = [held.receipt.arrived_us for _, held in latest(ReceiptsFolder(tmp_path)) if held.receipt]
    assert sorted(found) == sorted([NOON_US, 0, -(10**17), 2**62, NOON_US])


def test_segments_are_one_log(tmp_path: Path) -> None:
    log = Log(tmp_path, segment_bytes=1000)
    for number in range(1, 11):
        log.append([receipt(number)])
    log.seal()
    log.writer.close()
    segments = layout.segments(ReceiptsFolder(tmp_path), "log")
    assert len(segments) > 3
    assert verify(tmp_path, [PUBLIC]).ok
    (tmp_path / "log" / segments[1]).unlink()
    (found,) = verify(tmp_path, [PUBLIC]).findings
    assert found.kind is Kind.REMOVED
    assert layout.segment_name(found.index or 0) == segments[1]
    assert layout.segment_name((found.last or 0) + 1) == segments[2]


def test_an_export_verifies_and_holds_no_salts(tmp_path: Path) -> None:
    log = Log(tmp_path / "receipts")
    log.append([receipt(1)], salt=b"s" * 16)
    head = log.seal()
    log.append([receipt(2)])  # being written while the export is made
    exported = tmp_path / "export.zip"
    assert export(ReceiptsFolder(tmp_path / "receipts"), exported) == {"log": head.size}
    log.writer.close()
    report = verify(exported, [PUBLIC])
    assert report.ok
    assert (report.logs[0].leaves, report.logs[0].unsealed) == (2, 0)
    assert b"s" * 16 not in exported.read_bytes()
    export(ReceiptsFolder(tmp_path / "receipts"), exported, with_salts=True)
    assert layout.salt_of(layout.open_receipts(exported), "log", 1) == b"s" * 16


@pytest.mark.parametrize("content", [b"", b"PK\3\4 not a zip"])
def test_what_is_no_export_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(LedgerUnavailable):
        verify(tmp_path / "file", [PUBLIC])
    with pytest.raises(LedgerUnavailable, match="no receipts"):
        verify(tmp_path / "nothing", [PUBLIC])


def test_a_finding_reads_as_a_sentence() -> None:
    found = Finding(kind=Kind.REMOVED, log="a1", index=4, count=3, request_id="req-4")
    assert str(found) == "removed: log a1, leaves 4 … 6, request req-4"


def test_a_head_says_nothing_of_another_log(honest: Path, tmp_path: Path) -> None:
    shutil.copytree(honest / "log", tmp_path / "renamed")
    kinds = {found.kind for found in verify(tmp_path, [PUBLIC]).findings}
    assert kinds == {Kind.SIGNATURE}


def test_heads_travel_as_json(honest: Path) -> None:
    seal = layout.last_seal(ReceiptsFolder(honest), "log")
    assert seal is not None
    assert msgspec.json.decode(msgspec.json.encode(seal.head), type=Head) == seal.head
