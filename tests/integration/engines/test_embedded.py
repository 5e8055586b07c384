"""Expanding gpt-oss-nano in real folders, by real processes, some of which are killed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import gguf
import pytest

from tundish.catalog.gguf.header import read_header
from tundish.engines import embedded
from tundish.harmony.vocabulary import O200K_HARMONY

_EXPAND = """
import json, sys, logging
from pathlib import Path
from tundish.core.errors import TundishError
from tundish.engines import embedded
logging.basicConfig(format="%(message)s")
if len(sys.argv) > 2:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
print("ready", flush=True)
try:
    print(json.dumps({"path": str(embedded.expand(Path(sys.argv[1])))}))
except TundishError as error:
    print(json.dumps({"code": error.code, "message": error.message}))
"""
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits, signals and permissions")


def start(folder: Path, *more: str, temporary: Path | None = None) -> subprocess.Popen[str]:
    environment = os.environ | ({} if temporary is None else {"TMPDIR": str(temporary)})
    return subprocess.Popen(
        [sys.executable, "-c", _EXPAND, str(folder), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def result(process: subprocess.Popen[str]) -> tuple[dict[str, str], str]:
    """What it said on stdout, and its log."""
    out, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    return json.loads(out.splitlines()[-1]), log


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache") / "not" / "there" / "yet"


@pytest.fixture(scope="module")
def expanded(cache: Path) -> Path:
    return embedded.expand(cache)


def test_the_file_is_a_whole_gpt_oss(expanded: Path) -> None:
    header = read_header(expanded)
    size = O200K_HARMONY().size
    assert header.metadata["general.architecture"] == "gpt-oss"
    shapes = {tensor.name: tensor.dims for tensor in header.tensors}
    assert shapes["token_embd.weight"] == shapes["output.weight"] == (header.metadata["gpt-oss.embedding_length"], size)
    reader = gguf.GGUFReader(expanded)
    assert len(reader.fields["tokenizer.ggml.tokens"].data) == size
    assert list(expanded.parent.iterdir()) == [expanded]


def test_it_is_written_once(cache: Path, expanded: Path) -> None:
    before = expanded.stat()
    assert embedded.expand(cache) == expanded
    assert embedded.sha256() == hashlib.sha256(expanded.read_bytes()).hexdigest()
    after = expanded.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("damage", ["byte", "short", "empty"])
def test_a_damaged_file_is_written_again(cache: Path, expanded: Path, damage: str) -> None:
    whole = expanded.read_bytes()
    if damage == "byte":
        with expanded.open("r+b") as file:
            file.seek(len(whole) // 2)
            file.write(bytes([whole[len(whole) // 2] ^ 1]))
    else:
        os.truncate(expanded, len(whole) - 1 if damage == "short" else 0)
    assert embedded.expand(cache) == expanded
    assert expanded.read_bytes() == whole


@posix
@pytest.mark.parametrize("delay_s", [0.0, 0.4, 0.8])
def test_killed_while_it_expands(tmp_path: Path, expanded: Path, delay_s: float) -> None:
    process = start(tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(delay_s)  # the point is to be killed at some moment of the work
    process.send_signal(signal.SIGKILL)
    process.communicate()
    for left in tmp_path.glob("*.gguf"):
        assert left.read_bytes() == expanded.read_bytes()
    assert embedded.expand(tmp_path).read_bytes() == expanded.read_bytes()


def test_drafts_of_the_dead_are_removed(tmp_path: Path, expanded: Path) -> None:
    dead, alive = (tmp_path / f".{expanded.name}.{name}.part" for name in ("dead", "alive"))
    for draft in (dead, alive):
        draft.write_bytes(b"GGUF")
    an_hour_ago = time.time() - 3600
    os.utime(dead, (an_hour_ago, an_hour_ago))
    embedded.expand(tmp_path)
    assert not dead.exists()
    assert alive.exists()


def test_two_at_once(tmp_path: Path, expanded: Path) -> None:
    first, second = start(tmp_path), start(tmp_path)
    assert result(first)[0] == result(second)[0] == {"path": str(tmp_path / expanded.name)}
    assert [path.name for path in tmp_path.iterdir()] == [expanded.name]
    assert (tmp_path / expanded.name).read_bytes() == expanded.read_bytes()


@posix
def test_no_room(tmp_path: Path) -> None:
    answer, _ = result(start(tmp_path, "20000000"))
    assert answer["code"] == "embedded_model_unavailable"
    assert "MB are needed" in answer["message"]
    assert "TUNDISH_CACHE_DIR" in answer["message"]
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def unwritable(tmp_path: Path) -> Path:
    """A folder that nobody can make, not even root."""
    (tmp_path / "file").write_text("in the way")
    return tmp_path / "file" / "cache"


@posix
def test_a_folder_that_cannot_be_written_is_replaced_and_it_says_so(unwritable: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    answer, log = result(start(unwritable, temporary=temporary))
    path = Path(answer["path"])
    assert path.is_relative_to(temporary)
    assert path.parent.stat().st_mode & 0o077 == 0
    assert f"{unwritable} cannot be written" in log
    again, _ = result(start(unwritable, temporary=temporary))
    assert again == answer


@posix
@pytest.mark.parametrize("trap", ["symlink", "open to others"])
def test_what_others_put_into_the_temporary_folder_is_not_used(unwritable: Path, tmp_path: Path, trap: str) -> None:
    temporary, elsewhere = tmp_path / "temporary", tmp_path / "elsewhere"
    temporary.mkdir()
    elsewhere.mkdir()
    planted = temporary / f"tundish-{os.getuid()}"
    if trap == "symlink":
        planted.symlink_to(elsewhere)
    else:
        planted.mkdir()
        planted.chmod(0o777)
    answer, _ = result(start(unwritable, temporary=temporary))
    assert Path(answer["path"]).parent.parent == temporary
    assert Path(answer["path"]).parent != planted
    assert list(elsewhere.iterdir()) == []


@posix
def test_nowhere_to_write(unwritable: Path) -> None:
    # Python looks for a folder that it can write and takes the current one at last; with a limit of nothing, none is.
    answer, _ = result(start(unwritable, "0", temporary=unwritable))
    assert answer["code"] == "embedded_model_unavailable"
    assert "TUNDISH_CACHE_DIR" in answer["message"]
