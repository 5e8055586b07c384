"""The commands as a person and a pipe use them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import Served, environment_in, start, tundish


def test_run_answers_on_stdout_and_nothing_else_there(served: Served) -> None:
    done = tundish(served.environment, "run", "gpt-oss-nano", "What is 2+2?", "--temperature", "0", "--show-reasoning")
    assert done.returncode == 0, done.stderr
    assert "4" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr.strip()  # the reasoning


def test_run_reads_a_pipe(served: Served) -> None:
    done = tundish(served.environment, "run", "gpt-oss-nano", "-", "--temperature", "0", stdin="What is 3+4?")
    assert done.returncode == 0, done.stderr
    assert "7" in done.stdout


def test_run_starts_an_endpoint_when_none_runs(served: Served, tmp_path: Path) -> None:
    own = environment_in(tmp_path) | {"TUNDISH_CACHE_DIR": served.environment["TUNDISH_CACHE_DIR"]}
    done = tundish(own, "run", "gpt-oss-nano", "What is 2+2?", "--temperature", "0")
    assert done.returncode == 0, done.stderr
    assert "4" in done.stdout
    assert not (tmp_path / "state" / "endpoint.json").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "gpt-9", "Hello"), "gpt-9"),
        (("run", "gpt-oss-nano", ""), "empty"),
        (("run", "gpt-oss-nano", "Hello", "--temperature", "9"), "temperature"),
    ],
)
def test_errors_are_one_sentence_and_an_exit_code(served: Served, arguments: tuple[str, ...], said: str) -> None:
    done = tundish(served.environment, *arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_a_misspelt_setting_is_an_error(tmp_path: Path) -> None:
    done = tundish(environment_in(tmp_path) | {"TUNDISH_QUEU_LIMIT": "3"}, "serve")
    assert done.returncode == 1
    assert "TUNDISH_QUEU_LIMIT" in done.stderr


def test_status_tells_what_runs(served: Served) -> None:
    told = json.loads(tundish(served.environment, "status", "--json").stdout)
    assert told["running"]
    assert told["url"] == served.url
    (model,) = told["models"]
    assert model["name"] == "gpt-oss-nano"
    assert model["health"] == "ready"
    assert model["context_length"] >= 4096
    text = tundish(served.environment, "status").stdout
    assert served.url in text
    assert served.key not in text


def test_status_and_stop_without_an_endpoint(tmp_path: Path) -> None:
    environment = environment_in(tmp_path)
    assert tundish(environment, "status").returncode == 1
    assert tundish(environment, "stop").returncode == 1


def test_a_record_of_a_killed_endpoint_misleads_nobody(served: Served, tmp_path: Path) -> None:
    running = start(tmp_path, extra={"TUNDISH_CACHE_DIR": served.environment["TUNDISH_CACHE_DIR"]})
    running.process.kill()
    running.process.communicate(timeout=20)
    done = tundish(running.environment, "status")
    assert done.returncode == 1
    assert "No endpoint is running" in done.stdout


def test_stop_ends_the_endpoint(served: Served, tmp_path: Path) -> None:
    running = start(tmp_path, extra={"TUNDISH_CACHE_DIR": served.environment["TUNDISH_CACHE_DIR"]})
    done = tundish(running.environment, "stop")
    assert done.returncode == 0, done.stderr
    assert running.process.wait(timeout=20) == 0
    running.process.communicate()


def test_a_piped_chat_keeps_the_conversation(served: Served, tmp_path: Path) -> None:
    saved = tmp_path / "talk.md"
    lines = ["/effort low", "My name is Ada.", "What is my name?", f"/save {saved}", "/nonsense", "/exit"]
    done = tundish(served.environment, "chat", stdin="\n".join(lines) + "\n")
    assert done.returncode == 0, done.stderr
    assert "There is no command /nonsense" in done.stdout
    assert "My name is Ada." in saved.read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["serve", "chat", "run", "status", "stop"])
def test_help_reads_like_documentation(tmp_path: Path, command: str) -> None:
    done = tundish(environment_in(tmp_path), command, "--help")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) >= 5


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_ctrl_c_stops_the_answer_and_not_the_program(served: Served, tmp_path: Path) -> None:
    import pty

    leader, follower = pty.openpty()
    environment = served.environment | {"TERM": "dumb", "TUNDISH_DATA_DIR": str(tmp_path)}
    environment |= {"TUNDISH_API_KEY": served.key}
    process = subprocess.Popen(
        [sys.executable, "-m", "tundish", "chat", "--effort", "high"],
        env=environment,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
        preexec_fn=_take_terminal(follower),
    )
    os.close(follower)
    try:
        _read_until(leader, b"> ")
        os.write(leader, b"Tell me a joke\r")
        _read_until(leader, b"\n")
        os.write(leader, b"\x03")
        time.sleep(0.2)  # whether it came during the answer or after it, the program must live on
        os.write(leader, b"/effort\r")
        _read_until(leader, b"The effort is high")
        os.write(leader, b"/exit\r")
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(leader)


def _take_terminal(follower: int):
    def take() -> None:
        import fcntl
        import termios

        fcntl.ioctl(follower, termios.TIOCSCTTY, 0)

    return take


def _read_until(leader: int, wanted: bytes, timeout_s: float = 30.0) -> bytes:
    import select

    seen = b""
    deadline = time.monotonic() + timeout_s
    while wanted not in seen:
        left = deadline - time.monotonic()
        assert left > 0, f"{wanted!r} did not come: {seen!r}"
        if select.select([leader], [], [], left)[0]:
            seen += os.read(leader, 65536)
    return seen
