"""`tundish run MODEL` on a machine that does not have the model: found, judged, fetched, checked, loaded, answered."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Served, environment_in, start, stop, tundish

CARD = """\
[[models]]
publisher = "acme"
name = "tiny"
version = "1"
licence = "apache-2.0"

[[models.variants]]
id = "f16-gguf"
format = "gguf"
quantisation = "f16"
source = {{ kind = "url" }}
files = [{{ path = "tiny.gguf", url = "{url}", sha256 = "{sha256}"{size} }}]
"""


@pytest.fixture
def file_server(served: Served) -> Iterator[tuple[str, Path]]:
    """The expanded embedded model, served over HTTP as any file."""
    (expanded,) = Path(served.environment["TUNDISH_CACHE_DIR"]).glob("*.gguf")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(expanded.parent)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/{expanded.name}", expanded
    server.shutdown()
    server.server_close()
    thread.join()


def write_card(environment: dict[str, str], url: str, sha256: str, size: str = "") -> None:
    cards = Path(environment["TUNDISH_DATA_DIR"]) / "cards"
    cards.mkdir(parents=True)
    (cards / "acme.toml").write_text(CARD.format(url=url, sha256=sha256, size=size), encoding="utf-8")


def test_the_first_run_fetches_and_the_second_just_answers(file_server: tuple[str, Path], tmp_path: Path) -> None:
    url, file = file_server
    environment = environment_in(tmp_path)
    write_card(environment, url, hashlib.sha256(file.read_bytes()).hexdigest())
    first = tundish(environment, "run", "tiny", "What is 2+2?", "--temperature", "0")
    assert first.returncode == 0, first.stderr
    assert "Pulling acme/tiny" in first.stderr
    second = tundish(environment, "run", "tiny", "What is 2+2?", "--temperature", "0")
    assert second.returncode == 0, second.stderr
    assert "Pulling" not in second.stderr
    assert first.stdout == second.stdout != ""


def test_a_running_endpoint_offers_what_came_later(file_server: tuple[str, Path], tmp_path: Path) -> None:
    url, file = file_server
    running = start(tmp_path)
    try:
        write_card(running.environment, url, hashlib.sha256(file.read_bytes()).hexdigest())
        done = tundish(running.environment, "run", "tiny", "Hello!", "--temperature", "0")
        assert done.returncode == 0, done.stderr
        assert "tiny" in tundish(running.environment, "ps").stdout
    finally:
        stop(running)


def test_wrong_bytes_are_no_model(file_server: tuple[str, Path], tmp_path: Path) -> None:
    url, _ = file_server
    environment = environment_in(tmp_path)
    write_card(environment, url, "0" * 64)
    done = tundish(environment, "run", "tiny", "Hello!")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert tundish(environment, "model", "list", "--json").stdout.count("tiny") == 0


def test_what_can_never_fit_is_not_even_fetched(file_server: tuple[str, Path], tmp_path: Path) -> None:
    url, _ = file_server
    environment = environment_in(tmp_path)
    write_card(environment, url, "0" * 64, size=", size_bytes = 900000000000000")
    done = tundish(environment, "run", "tiny", "Hello!")
    assert done.returncode == 1
    assert "does not fit" in done.stderr
