"""The doctor in its own process, in a home made for it, and on real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tundish.cli.doctor import neighbours as doctor_neighbours
from tundish.cli.doctor.neighbours import Neighbour

Report = Callable[..., tuple[int, dict[str, list[dict[str, str]]]]]


@pytest.fixture
def report(tmp_path: Path) -> Report:
    """Runs `tundish doctor --json`: exit code, and findings by topic."""

    def run(**variables: str) -> tuple[int, dict[str, list[dict[str, str]]]]:
        folders = {name: str(tmp_path / name.lower()) for name in ("DATA_DIR", "CACHE_DIR", "STATE_DIR")}
        own = {f"TUNDISH_{name}": value for name, value in {**folders, "PORT": "0", **variables}.items()}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TUNDISH_")}
        answer = subprocess.run(
            [sys.executable, "-P", "-c", _RUN], capture_output=True, text=True, env={**inherited, **own}, timeout=60
        )
        assert answer.stderr == ""
        findings: dict[str, list[dict[str, str]]] = {}
        for finding in json.loads(answer.stdout)["findings"]:
            findings.setdefault(finding["topic"], []).append(finding)
        return answer.returncode, findings

    return run


_RUN = """
import argparse, sys
from tundish.cli.doctor import examination as doctor
from tundish.settings import from_environment
sys.exit(doctor.COMMAND.run(argparse.Namespace(json=True), from_environment()))
"""


def test_a_fresh_machine_has_no_problem(report: Report, tmp_path: Path) -> None:
    code, findings = report()
    assert code == 0, findings
    assert not any(finding["level"] == "problem" for found in findings.values() for finding in found)
    assert set(findings) >= {"memory", "processor", "llama.cpp", "gpu", "vocabulary", "gpt-oss-nano", "key", "port"}
    assert "made on the first start" in findings["key"][0]["text"]
    assert list(tmp_path.iterdir()) == []  # it only looked


def test_a_taken_port_is_a_problem_with_its_holders_name(report: Report) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        code, findings = report(PORT=str(holder.getsockname()[1]))
    assert code == 1
    assert findings["port"][0]["level"] == "problem"
    assert "--port" in findings["port"][0]["advice"]
    if sys.platform == "linux":
        assert str(os.getpid()) in findings["port"][0]["text"]


def test_a_file_where_a_folder_should_be_is_a_problem(report: Report, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, findings = report(CACHE_DIR=str(tmp_path / "file" / "cache"))
    assert code == 1
    (finding,) = findings["cache folder"]
    assert finding["level"] == "problem"
    assert "TUNDISH_CACHE_DIR" in finding["advice"]


def test_models_are_judged_one_by_one(report: Report, tmp_path: Path, tiny_gpt_oss: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(tiny_gpt_oss.read_bytes()[:5_000])
    code, findings = report(MODELS=f"{tiny_gpt_oss},own={broken},gpt-oss-nano")
    assert code == 1
    whole, cut = findings["model"]
    assert whole["level"] == "ok"
    assert "fits" in whole["text"]
    assert cut["level"] == "problem"
    assert "cut short" in cut["text"]


if sys.platform != "win32":

    def test_a_key_that_others_can_read_is_a_problem(report: Report, tmp_path: Path) -> None:
        key = tmp_path / "data_dir" / "api-key"
        key.parent.mkdir()
        key.write_text("td-key\n")
        key.chmod(0o644)
        code, findings = report()
        assert code == 1
        assert f"chmod 600 {key}" in findings["key"][0]["advice"]
        key.chmod(0o600)
        code, findings = report()
        assert code == 0
        assert findings["key"][0]["level"] == "ok"


# --- other servers ---


async def _server(answer: bytes | None) -> asyncio.Server:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answer is None:
            await reader.read()  # says nothing until the other gives up
        else:
            writer.write(answer)
            await writer.drain()
        writer.close()

    return await asyncio.start_server(respond, "127.0.0.1", 0)


def _http(status: str, document: Any) -> bytes:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (_http("200 OK", {"object": "list", "data": [{"id": "gpt-oss:20b"}, {"id": "qwen"}]}), "has gpt-oss:20b, qwen"),
        (_http("200 OK", {"data": [{"id": f"m{index}"} for index in range(9)]}), "m4 and 4 more"),
        (_http("200 OK", {"object": "list", "data": None}), "has no models yet"),
        (_http("401 Unauthorized", {"error": "key"}), "wants a key"),
        (_http("404 Not Found", b"<html>"), None),
        (_http("200 OK", b"<html>a web application</html>"), None),
        (_http("200 OK", {"data": "nonsense"}), None),
        (b"SSH-2.0-OpenSSH_9.2\r\n", None),
        (None, None),
    ],
)
async def test_what_answers_on_a_usual_port_is_named(answer: bytes | None, expected: str | None) -> None:
    server = await _server(answer)
    async with server:
        number = server.sockets[0].getsockname()[1]
        (finding,) = await doctor_neighbours.examine([Neighbour("Ollama", number)])
        assert (expected or "no other model server") in finding.text
        if expected is not None:
            assert f"127.0.0.1:{number}" in finding.text
            assert "Ollama" in finding.text
        (none,) = await doctor_neighbours.examine([Neighbour("Ollama", number)], own_port=number)
        assert "no other" in none.text


async def test_a_closed_port_is_silence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
    (finding,) = await doctor_neighbours.examine([Neighbour("vLLM", number)])
    assert "no other model server" in finding.text
