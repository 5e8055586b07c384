"""What an application sends with each request is computed once, also across a restart."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from .conftest import Served, start, stop

INSTRUCTIONS = "You help with small sums. " + " ".join(f"Rule {number}: be exact." for number in range(60))
TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds two numbers.",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
    },
}


def ask(served: Served, question: str) -> tuple[str, int]:
    """The greedy answer, reasoning and calls included, and how much of the prompt was there already."""
    body = {
        "model": "gpt-oss-nano",
        "messages": [{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": question}],
        "tools": [TOOL],
        "temperature": 0,
        "max_tokens": 40,
    }
    request = urllib.request.Request(
        served.base_url + "/chat/completions",
        json.dumps(body).encode(),
        {"content-type": "application/json", "authorization": f"Bearer {served.key}"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        told = json.load(response)
    message = told["choices"][0]["message"]
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    said = json.dumps([message.get("reasoning"), message.get("content"), calls])
    return said, told["usage"]["prompt_tokens_details"]["cached_tokens"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    return home


def entries(root: Path) -> list[Path]:
    return [path for path in root.glob("*/*.json") if ".json." not in path.name]


@pytest.mark.parametrize("sudden", [False, True], ids=["stopped", "killed"])
def test_after_a_restart_the_first_request_has_its_prefix(folder: Path, sudden: bool) -> None:
    cache = {"TUNDISH_CACHE_DIR": str(folder / "cache")}
    root = folder / "cache" / "prefixes"
    served = start(folder, extra=cache)
    cold, before = ask(served, "What is 2+3?")
    ask(served, "What is 4+4?")  # what it reuses is llama.cpp's own affair: another request may have come between
    deadline = time.monotonic() + 20
    while not entries(root):
        assert time.monotonic() < deadline, "nothing was saved"
        time.sleep(0.02)
    if sudden:
        os.kill(served.process.pid, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
        served.process.communicate(timeout=30)
    else:
        stop(served)
    if sys.platform != "win32":
        assert {stat.S_IMODE(path.stat().st_mode) for path in root.glob("*/*")} == {0o600}
    promised = json.loads(entries(root)[0].read_bytes())["tokens"]

    served = start(folder, extra=cache)
    again, cached = ask(served, "What is 2+3?")
    stop(served)
    assert before == 0
    assert cached == promised > 256
    assert again == cold


def test_zero_keeps_none_and_erases_what_is_there(folder: Path) -> None:
    root = folder / "cache" / "prefixes"
    root.mkdir(parents=True)
    (root / "state.kv").write_bytes(b"what somebody said")
    extra = {"TUNDISH_CACHE_DIR": str(folder / "cache"), "TUNDISH_PREFIX_CACHE_MIB": "0"}
    served = start(folder, extra=extra)
    for question in ("What is 1+1?", "What is 2+2?", "What is 3+3?"):
        ask(served, question)
    stop(served)
    assert not root.exists()
