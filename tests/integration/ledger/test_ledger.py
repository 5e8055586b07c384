"""The ledger with its threads, in processes that live, die and share a folder."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tundish.ledger import backlog, layout, upkeep, writer
from tundish.ledger.digest import new_salt
from tundish.ledger.errors import LedgerUnavailable, ReceiptNotFound
from tundish.ledger.keys import LedgerKeys
from tundish.ledger.layout import ReceiptsFolder
from tundish.ledger.ledger import Ledger, OnProblem, Timing
from tundish.ledger.verify import verify

from .writing_process import receipt

QUICK = Timing(flush_s=0.002, seal_s=0.01, retry_s=0.01)
Opener = Callable[..., Ledger]
_SCRIPT = Path(__file__).with_name("writing_process.py")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "receipts"


@pytest.fixture
def opened(folder: Path) -> Iterator[Opener]:
    """Opens ledgers, and closes them at the end."""
    ledgers: list[Ledger] = []

    def open_one(on_problem: OnProblem = OnProblem.REFUSE, timing: Timing = QUICK) -> Ledger:
        ledgers.append(Ledger.open(folder, on_problem=on_problem, timing=timing))
        return ledgers[-1]

    yield open_one
    for ledger in ledgers:
        ledger.close()


def _public_key(folder: Path) -> str:
    return (folder / layout.PUBLIC_KEY).read_text().strip()


def test_what_was_recorded_is_found_proven_and_counted(opened: Opener, folder: Path) -> None:
    ledger = opened()
    for number in range(500):
        ledger.record(receipt(f"req-{number}"), new_salt())
    assert ledger.sync()
    found = ledger.find("req-123")
    assert found.sealed
    assert found.receipt.deployment == "local"
    assert ledger.usage.total().requests == 500
    with pytest.raises(ReceiptNotFound):
        ledger.find("req-500")
    assert verify(folder, [ledger.public_key]).ok


def test_a_graceful_close_loses_nothing_and_the_next_start_goes_on(opened: Opener, folder: Path) -> None:
    first = opened(timing=Timing(flush_s=60, seal_s=60))
    for number in range(300):
        first.record(receipt(f"a-{number}"), new_salt())
    first.close()
    second = opened()
    assert second.log == first.log
    assert second.usage.total().requests == 300
    second.record(receipt("b"), new_salt())
    second.close()
    report = verify(folder, [_public_key(folder)])
    assert report.ok
    assert [(log.receipts, log.unsealed) for log in report.logs] == [(301, 0)]
    second.close()  # again is no harm


def test_each_process_has_its_log_and_they_are_verified_together(opened: Opener, folder: Path) -> None:
    one, two = opened(), opened()
    assert one.log != two.log
    one.record(receipt("one"), new_salt())
    two.record(receipt("two"), new_salt())
    assert one.sync()
    assert two.sync()
    assert two.find("one").log == one.log
    report = verify(folder, [_public_key(folder)])
    assert report.ok
    assert len(report.logs) == 2


def test_killed_under_load_every_written_receipt_is_there(folder: Path) -> None:
    """Two processes, each killed in the middle of its work, three times over."""
    written: dict[str, int] = {}
    for generation in range(3):
        processes = [
            subprocess.Popen(
                [sys.executable, _SCRIPT, folder, f"g{generation}p{number}"], stdout=subprocess.PIPE, text=True
            )
            for number in range(2)
        ]
        for process in processes:
            assert process.stdout is not None
            log = process.stdout.readline().strip()
            for _ in range(25 + 10 * generation):
                leaves = int(process.stdout.readline())
            process.kill()
            rest = process.stdout.read().split("\n")
            leaves = max([leaves, *(int(line) for line in rest[:-1])])
            process.wait()
            process.stdout.close()
            written[log] = leaves
    assert len(written) == 2  # each generation took up the logs of the one before
    Ledger.open(folder).close()
    report = verify(folder, [_public_key(folder)])
    assert report.ok, report.findings
    for log in report.logs:
        assert log.leaves >= written[log.log]
        assert log.receipts > 3000
    one = Ledger.open(folder)
    try:
        counted = one.usage.total().requests
        assert counted == next(log.receipts for log in report.logs if log.log == one.log)
    finally:
        one.close()


def _first_leaves(folder: Path, log: str, kind: str) -> list[dict[str, object]]:
    lines = (json.loads(line) for line in layout.lines(ReceiptsFolder(folder), log))
    return [line[kind] for line in lines if kind in line]


def test_what_a_crash_left_unsigned_is_said(folder: Path) -> None:
    process = subprocess.Popen([sys.executable, _SCRIPT, folder, "req"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    log = process.stdout.readline().strip()
    for _ in range(5):
        process.stdout.readline()
    process.kill()
    process.stdout.close()
    process.wait()
    heads = folder / log / layout.HEADS
    if heads.exists():
        heads.write_bytes(b"")  # as if it had been killed before its first head
    segment = folder / log / layout.segment_name(0)
    segment.write_bytes(segment.read_bytes() + b'{"index":')
    Ledger.open(folder).close()
    (resumed,) = _first_leaves(folder, log, "resumed")
    assert resumed["unsealed_from"] == 0
    assert int(str(resumed["cut_bytes"])) >= 9


class _Disk:
    """Refuses to write while it is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        real = writer._write

        def write(file: object, content: bytes) -> None:
            if self.full:
                raise OSError(28, "No space left on device")
            real(file, content)  # type: ignore[arg-type]

        monkeypatch.setattr(writer, "_write", write)


def _until(condition: Callable[[], object]) -> None:
    pause = threading.Event()
    for _ in range(2000):
        if condition():
            return
        pause.wait(0.005)
    raise AssertionError("it never came about")


def test_a_full_disk_refuses_requests_loudly_and_recovers_by_itself(
    opened: Opener, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    disk = _Disk(monkeypatch)
    ledger = opened()
    assert ledger.sync()
    disk.full = True
    with caplog.at_level(logging.WARNING, "tundish.ledger"):
        ledger.record(receipt("waiting"), new_salt())
        _until(lambda: ledger.accepting)
        assert "No space left" in (ledger.problem or "")
        assert "RECEIPTS CANNOT BE WRITTEN" in caplog.text
        disk.full = False
        _until(lambda: ledger.accepting is None)
        assert "can be written again" in caplog.text
    assert ledger.sync()
    assert ledger.find("waiting").sealed
    assert ledger.lost == 0
    assert verify(folder, [ledger.public_key]).ok


def test_going_on_without_receipts_leaves_a_gap_that_says_how_many(
    opened: Opener, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tundish.ledger.ledger.MAX_WAITING", 10)
    disk = _Disk(monkeypatch)
    ledger = opened(OnProblem.CONTINUE)
    assert ledger.sync()
    disk.full = True
    ledger.record(receipt("first"), new_salt())
    _until(lambda: ledger.problem)
    for number in range(100):
        ledger.record(receipt(f"req-{number}"), new_salt())
    assert ledger.accepting is None
    assert ledger.problem
    lost = ledger.lost
    assert 80 <= lost <= 100
    disk.full = False
    _until(lambda: ledger.problem is None)
    ledger.record(receipt("last"), new_salt())
    assert ledger.sync()
    _until(lambda: _first_leaves(folder, ledger.log, "gap"))
    (gap,) = _first_leaves(folder, ledger.log, "gap")
    assert gap["lost"] == lost
    assert "No space left" in str(gap["reason"])
    assert ledger.sync()
    report = verify(folder, [ledger.public_key])
    assert report.ok
    assert (report.logs[0].receipts, report.logs[0].lost) == (102 - lost, lost)


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_the_systems_own_refusal_is_survived(folder: Path) -> None:
    """A limit on the size of files, which this process's own disk has in truth; then it is lifted."""
    answer = subprocess.run([sys.executable, "-c", _LIMITED, folder], capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0, answer.stderr
    assert "RECEIPTS CANNOT BE WRITTEN" in answer.stderr
    report = verify(folder, [_public_key(folder)])
    assert report.ok, report.findings
    assert report.logs[0].receipts == 2000


_LIMITED = f"""
import resource, sys, time
from pathlib import Path
sys.path.insert(0, {str(_SCRIPT.parent)!r})
from writing_process import receipt
from tundish.ledger.digest import new_salt
from tundish.ledger.ledger import Ledger, Timing

ledger = Ledger.open(Path(sys.argv[1]), timing=Timing(flush_s=0.002, seal_s=0.01, retry_s=0.01))
ledger.sync()
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
for number in range(2000):
    ledger.record(receipt(f"req-{{number}}"), new_salt())
while ledger.accepting is None:
    time.sleep(0.002)
assert "File too large" in ledger.accepting, ledger.accepting
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
while ledger.accepting is not None:
    time.sleep(0.002)
ledger.close()
"""


def test_what_finds_no_room_is_counted_once() -> None:
    waiting = backlog.Backlog([], limit=2)
    assert waiting.take(receipt("1"), layout.NO_SALT)
    assert waiting.take(receipt("2"), layout.NO_SALT)
    assert not waiting.take(receipt("3"), layout.NO_SALT)
    assert waiting.lose(5, "full")
    assert not waiting.lose(7, "full")
    assert waiting.unwritten == 4
    assert len(waiting.batch(64)) == 2
    waiting.settle()
    ((gap, _),) = waiting.batch(64)
    assert (gap.lost, gap.first_us, gap.last_us) == (2, 5, 7)  # type: ignore[union-attr]
    waiting.settle()
    assert not waiting.batch(64)
    assert (waiting.taken, waiting.settled, waiting.lost, waiting.unwritten) == (3, 3, 2, 0)


def test_a_damaged_log_is_left_as_evidence_and_another_is_begun(
    opened: Opener, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = opened()
    for number in range(10):
        ledger.record(receipt(f"req-{number}"), new_salt())
    ledger.close()
    segment = folder / ledger.log / layout.segment_name(0)
    segment.write_bytes(segment.read_bytes()[:-500])
    fresh = opened()
    assert fresh.log != ledger.log
    assert "left as it is" in caplog.text
    fresh.record(receipt("after"), new_salt())
    assert fresh.sync()
    report = verify(folder, [fresh.public_key])
    assert {found.log for found in report.findings} == {ledger.log}
    (opening,) = _first_leaves(folder, fresh.log, "opened")
    assert [other["log"] for other in opening["others"]] == [ledger.log]  # type: ignore[attr-defined,index,union-attr]


def test_a_new_key_is_taken_up_by_running_and_by_idle_logs(opened: Opener, folder: Path) -> None:
    idle, running = opened(), opened()
    idle.record(receipt("idle"), new_salt())
    running.record(receipt("before"), new_salt())
    idle.close()
    assert running.sync()
    old = _public_key(folder)
    rotation = upkeep.rotate_key(folder)
    assert (rotation.old, rotation.waiting) == (old, ())
    running.record(receipt("after"), new_salt())
    assert running.sync()
    assert running.public_key == rotation.new == _public_key(folder) != old
    for key in (old, rotation.new):
        report = verify(folder, [key])
        assert report.ok, report.findings
        assert {log.keys for log in report.logs} == {(old, rotation.new)}
    assert LedgerKeys(folder / "keys").of(old) is None  # its private half is no more
    assert upkeep.rotate_key(folder).old == rotation.new
    assert verify(folder, [old]).ok


def test_amending_while_the_endpoint_runs_keeps_the_original(opened: Opener, folder: Path) -> None:
    running = opened()
    running.record(receipt("req-1"), new_salt())
    assert running.sync()
    before = running.find("req-1")
    upkeep.amend(folder, "req-1", by="ops", reason="the price was wrong", changes={"cost_nano_usd": 0})
    after = running.find("req-1")
    assert after.line == before.line
    (amendment,) = after.amendments
    assert (amendment.changes, amendment.index) == ({"cost_nano_usd": 0}, before.index)
    report = verify(folder, [running.public_key])
    assert report.ok
    assert sum(log.amendments for log in report.logs) == 1


def test_a_folder_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerUnavailable, match="cannot be used"):
        Ledger.open(tmp_path / "file" / "receipts")
    with pytest.raises(LedgerUnavailable, match="no receipts"):
        upkeep.rotate_key(tmp_path / "nothing")


def test_a_wrong_salt_does_not_shift_the_others(opened: Opener, folder: Path) -> None:
    ledger = opened()
    right = new_salt()
    ledger.record(receipt("none"), b"")
    ledger.record(receipt("wrong"), b"short")
    ledger.record(receipt("right"), right)
    assert ledger.sync()
    salts = [
        layout.salt_of(ReceiptsFolder(folder), ledger.log, ledger.find(name).index)
        for name in ("none", "wrong", "right")
    ]
    assert salts == [None, None, right]


def test_receipts_are_taken_while_others_record_and_nothing_waits(opened: Opener, folder: Path) -> None:
    """Many threads at once: the ledger is for one loop, but must not break where a thread settles a request."""
    ledger = opened()
    threads = [
        threading.Thread(
            target=lambda name=name: [ledger.record(receipt(f"{name}-{number}"), new_salt()) for number in range(300)]
        )
        for name in "abcd"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger.close()
    report = verify(folder, [_public_key(folder)])
    assert report.ok
    assert report.logs[0].receipts == 1200
