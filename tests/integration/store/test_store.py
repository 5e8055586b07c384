"""The store against real files: other processes, kill -9, damage, a full disk."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tundish.store.conversations import ConversationStore
from tundish.store.database import Database
from tundish.store.errors import StoreDamaged, StoreTooNew, StoreUnavailable
from tundish.store.migrations import MIGRATIONS
from tundish.store.site_objects import ObjectExists, ObjectNotFound, SiteObjectStore, StoredObject

FIELDS = {"mode": "cost", "deployments": ["a", {"name": "b", "weight": 2.5}], "sticky": False}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "store.sqlite3"


def item(name: str = "r") -> StoredObject:
    return StoredObject(kind="routes", name=name, fields=FIELDS)


def test_objects_come_back_as_they_were(path: Path) -> None:
    store = SiteObjectStore(Database(path))
    assert store.all() == []
    store.add(item())
    store.add(StoredObject(kind="places", name="r", fields={"reach": "site"}))
    again = SiteObjectStore(Database(path))
    assert again.all() == [StoredObject(kind="places", name="r", fields={"reach": "site"}), item()]
    assert again.revision() == 2
    again.remove("routes", "r")
    assert [kept.kind for kept in store.all()] == ["places"]
    assert store.revision() == 3


def test_names_are_taken_once(path: Path) -> None:
    store = SiteObjectStore(Database(path))
    store.add(item())
    with pytest.raises(ObjectExists):
        store.add(item())
    with pytest.raises(ObjectNotFound):
        store.remove("places", "r")
    assert store.revision() == 1


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
def test_nobody_else_may_read_it(path: Path) -> None:
    SiteObjectStore(Database(path)).add(item())
    assert path.stat().st_mode & 0o077 == 0


def test_a_damaged_file(path: Path) -> None:
    store = SiteObjectStore(Database(path))
    for number in range(200):
        store.add(StoredObject(kind="routes", name=f"r{number}", fields=FIELDS))
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xaa" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(StoreDamaged, match="is damaged"):
        store.all()


def test_a_file_of_something_else(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreDamaged, match="move the file"):
        SiteObjectStore(Database(path)).all()


def test_another_programs_database(path: Path) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE other (x)")
    connection.close()
    with pytest.raises(StoreDamaged, match="another program's"):
        SiteObjectStore(Database(path)).all()


def test_a_newer_schema(path: Path) -> None:
    SiteObjectStore(Database(path, migrations=(*MIGRATIONS, "CREATE TABLE later (x)"))).all()
    with pytest.raises(StoreTooNew, match="newer Tundish"):
        SiteObjectStore(Database(path)).all()


def test_an_older_schema_is_brought_up(path: Path) -> None:
    old = SiteObjectStore(Database(path))
    old.add(item())
    newer = Database(path, migrations=(*MIGRATIONS, "CREATE TABLE later (x)"))
    assert SiteObjectStore(newer).all() == [item()]
    with newer.reading() as connection:
        assert connection.execute("SELECT count(*) FROM later").fetchone() == (0,)


def test_a_migration_that_fails_changes_nothing(path: Path) -> None:
    broken = SiteObjectStore(Database(path, migrations=(*MIGRATIONS, "CREATE NONSENSE")))
    with pytest.raises(StoreUnavailable):
        broken.all()
    assert SiteObjectStore(Database(path)).all() == []


def test_a_locked_file(path: Path) -> None:
    store = SiteObjectStore(Database(path, busy_s=0.05))
    store.add(item())
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="Another process"):
        store.add(item("s"))
    assert store.all() == [item()]
    other.execute("ROLLBACK")
    other.close()
    store.add(item("s"))


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        SiteObjectStore(Database(tmp_path / "data" / "store.sqlite3")).all()


WRITER = """
import sys
from pathlib import Path
from tundish.store.database import Database
from tundish.store.site_objects import SiteObjectStore, StoredObject
store = SiteObjectStore(Database(Path(sys.argv[1])))
number = int(sys.argv[2])
while True:
    store.add(StoredObject(kind="routes", name=f"r{number}", fields={"number": number}))
    print(number, flush=True)
    if number % 3 == 0:
        store.remove("routes", f"r{number}")
        print(-number, flush=True)
    number += 1
"""


def test_kill_9_loses_nothing_that_was_acknowledged(path: Path) -> None:
    first = 1
    expected: dict[str, int] = {}
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(first)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            said: list[int] = []
            while len(said) < 25:
                said.append(int(process.stdout.readline()))
            process.kill()
            said += [int(line) for line in process.stdout.read().splitlines() if line]
        for number in said:
            if number > 0:
                expected[f"r{number}"] = number
            else:
                expected.pop(f"r{-number}", None)
        kept = {kept.name: kept.fields["number"] for kept in SiteObjectStore(Database(path)).all()}
        doubtful = f"r{max(said) + 1}", f"r{max(said)}"  # done, and not said any more
        differing = {name for name in kept.keys() | expected.keys() if kept.get(name) != expected.get(name)}
        assert differing <= set(doubtful)
        expected = {name: int(str(number)) for name, number in kept.items()}
        first = max(said) + 2


FULL = """
import resource, signal, sys
from pathlib import Path
from tundish.store.database import Database
from tundish.store.errors import StoreUnavailable
from tundish.store.site_objects import SiteObjectStore, StoredObject
from tundish.store.conversations import ConversationStore
path = Path(sys.argv[1])
store = SiteObjectStore(Database(path))
store.add(StoredObject(kind="routes", name="kept", fields={}))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = path.with_name(path.name + "-wal").stat().st_size if path.with_name(path.name + "-wal").exists() else 0
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, resource.RLIM_INFINITY))
conversations = ConversationStore(Database(path), most_pending=10)
try:
    store.add(StoredObject(kind="routes", name="lost", fields={"text": "x" * 5_000_000}))
except StoreUnavailable as error:
    print(type(error).__name__, error)
for number in range(12):
    conversations.remember(f"c{number}" + "x" * 100_000, "public")
conversations.close()
print(conversations.problem, conversations.lost)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
conversations.flush()
print([item.name for item in store.all()], len(conversations.load()))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on files is POSIX's")
def test_a_full_disk(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=True)
    refused, problem, after = done.stdout.splitlines()
    assert refused.startswith("StoreUnavailable")
    assert "full" in refused
    assert "full" in problem
    assert problem.endswith(" 2")
    assert after == "['kept'] 10"


class Clock:
    def __init__(self) -> None:
        self.unix_s = 1_000_000.0

    def __call__(self) -> float:
        return self.unix_s


def test_conversations_keep_every_class(path: Path) -> None:
    clock = Clock()
    store = ConversationStore(Database(path), unix_s=clock)
    for data_class in ("public", "restricted", "public"):
        store.remember("c", data_class)
    store.remember("d", "public")
    store.close()
    loaded = ConversationStore(Database(path), unix_s=clock).load()
    assert {key: set(classes) for key, classes in loaded.items()} == {"c": {"public", "restricted"}, "d": {"public"}}


def test_a_running_writer_writes_by_itself(path: Path) -> None:
    store = ConversationStore(Database(path), interval_s=0.01)
    store.start()
    store.remember("c", "public")
    reader = ConversationStore(Database(path))
    while not reader.load():
        time.sleep(0.01)
    store.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "conversations"]


def test_other_processes_marks_are_seen(path: Path) -> None:
    ours, theirs = ConversationStore(Database(path)), ConversationStore(Database(path))
    assert ours.load() == {}
    theirs.remember("c", "restricted")
    theirs.flush()
    assert ours.updates() == {"c": ("restricted",)}
    assert ours.updates() == {}
    theirs.remember("c", "restricted")  # nothing new
    theirs.flush()
    assert ours.updates() == {}


def test_the_longest_unused_go_first_and_wholly(path: Path) -> None:
    clock = Clock()
    store = ConversationStore(Database(path), unix_s=clock, most=2, keep_s=86_400.0)
    for key in ("old", "middle", "new"):
        clock.unix_s += 4000
        store.remember(key, "public")
        store.remember(key, "restricted")
    clock.unix_s += 4000
    store.remember("old", "public")  # used again
    store.flush()
    assert {key: set(classes) for key, classes in store.load().items()} == {
        "old": {"public", "restricted"},
        "new": {"public", "restricted"},
    }
    clock.unix_s += 86_400.0 - 3000
    store.flush()
    assert set(store.load()) == {"old"}


def test_marks_that_are_pruned_never_hide_later_ones(path: Path) -> None:
    clock = Clock()
    store = ConversationStore(Database(path), unix_s=clock, keep_s=100.0)
    reader = ConversationStore(Database(path), unix_s=clock)
    store.remember("a", "public")
    store.flush()
    reader.load()
    clock.unix_s += 1000
    store.flush()
    assert store.load() == {}
    store.remember("b", "public")
    store.flush()
    assert reader.updates() == {"b": ("public",)}


def test_a_damaged_store_stops_nobody(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database" * 100)
    store = ConversationStore(Database(path))
    store.remember("c", "public")
    store.close()
    assert store.problem is not None
    assert "damaged" in store.problem
    assert "not written" in caplog.text
    path.unlink()
    store.close()
    assert store.problem is None
    assert store.load() == {"c": ("public",)}


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX's")
def test_kill_9_while_conversations_are_written(path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom tundish.store.database import Database\n"
        "from tundish.store.conversations import ConversationStore\n"
        "store = ConversationStore(Database(Path(sys.argv[1])))\nnumber = 0\n"
        "while True:\n  for _ in range(50):\n    store.remember(f'c{number}', 'public'); number += 1\n"
        "  store.flush(); print(number, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        flushed = [int(process.stdout.readline()) for _ in range(10)][-1]
        os.kill(process.pid, signal.SIGKILL)
    kept = ConversationStore(Database(path)).load()
    assert {f"c{number}" for number in range(flushed)} <= set(kept)
