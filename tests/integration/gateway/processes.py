"""A gateway and its upstreams as processes: started, asked, killed."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import os
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path

from tundish.access import endpoint_file
from tundish.ledger import layout, leaf
from tundish.ledger.layout import ReceiptsFolder
from tundish.ledger.receipt import Receipt
from tundish.ledger.verify import Report, verify

KEY = "td-test-key"
START_S = 60.0
_UPSTREAM = Path(__file__).with_name("upstream_process.py")


@dataclasses.dataclass(frozen=True, kw_only=True)
class UpstreamProcess:
    """An upstream that runs."""

    process: subprocess.Popen[str]
    port: int
    diary: Path

    def url(self, weather: str) -> str:
        return f"http://127.0.0.1:{self.port}/{weather}/v1"

    @property
    def connections(self) -> int:
        """How many there have been."""
        return self._lines().count("connection")

    def requests(self, weather: str) -> int:
        """How many there have been of that kind."""
        return self._lines().count(weather)

    def _lines(self) -> list[str]:
        return self.diary.read_text(encoding="utf-8").splitlines()


@contextlib.contextmanager
def upstream(folder: Path, name: str, *tls: Path) -> Generator[UpstreamProcess]:
    """Start one."""
    diary = folder / f"{name}.diary"
    diary.touch()
    process = subprocess.Popen(
        [sys.executable, str(_UPSTREAM), str(diary), *map(str, tls)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield UpstreamProcess(process=process, port=int(process.stdout.readline()), diary=diary)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answered:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["x-request-id"]

    @property
    def error(self) -> Mapping[str, str]:
        """What it says went wrong: the whole of it, or the last event of a stream."""
        text = self.body if self.headers["content-type"].startswith("application/json") else self._events()[-1]
        return json.loads(text)["error"]

    @property
    def text(self) -> str:
        """What the model said, whole or in a stream."""
        if self.headers["content-type"].startswith("application/json"):
            return json.loads(self.body)["choices"][0]["message"]["content"]
        choices = [choice for event in self._events() for choice in json.loads(event).get("choices", [])]
        return "".join(choice["delta"].get("content") or "" for choice in choices)

    def _events(self) -> list[bytes]:
        return [part[6:] for part in self.body.split(b"\n\n") if part.startswith(b"data: {")]


class Begun:
    """A stream whose first bytes are here."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self._connection = connection
        self._response = response
        self._first = response.read1(1)
        self.id = response.headers["x-request-id"]

    def rest(self) -> Answered:
        """All of it, when it has ended."""
        response = self._response
        shown = {name.lower(): value for name, value in response.getheaders()}
        return Answered(status=response.status, headers=shown, body=self._first + response.read())

    def close(self) -> None:
        """Leave."""
        self._response.close()
        self._connection.close()


class GatewayProcess:
    """`tundish serve --config`, running."""

    def __init__(self, process: subprocess.Popen[str], url: str, folder: Path) -> None:
        self.process = process
        self.url = url
        self.folder = folder
        self.printed: list[str] = []
        """Its output so far."""
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def receipts_folder(self) -> Path:
        return self.folder / "data" / "receipts"

    def call(self, method: str, path: str, body: object = None, **headers: str) -> Answered:
        """One request, over a connection of its own.

        Raises:
            OSError, http.client.HTTPException: it was not answered.
        """
        connection = self.connect()
        try:
            return self.ask(connection, method, path, body, **headers)
        finally:
            connection.close()

    def connect(self) -> http.client.HTTPConnection:
        address = urllib.parse.urlsplit(self.url)
        assert address.hostname is not None
        return http.client.HTTPConnection(address.hostname, address.port, timeout=30)

    def ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: object = None, **headers: str
    ) -> Answered:
        """One request over `connection`."""
        response = _send(connection, method, path, body, headers)
        shown = {name.lower(): value for name, value in response.getheaders()}
        return Answered(status=response.status, headers=shown, body=response.read())

    def chat(self, route: str, *, stream: bool = False, **headers: str) -> Answered:
        return self.call("POST", "/v1/chat/completions", chat_body(route, stream=stream), **headers)

    def begin(self, route: str, **headers: str) -> Begun:
        """A stream, once it has begun."""
        connection = self.connect()
        body = chat_body(route, stream=True)
        return Begun(connection, _send(connection, "POST", "/v1/chat/completions", body, headers))

    def metric(self, name: str) -> float:
        """The sum of all samples whose name begins so."""
        text = self.call("GET", "/metrics").body.decode()
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))

    def stop(self) -> int:
        """End it gracefully; its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(30)
        finally:
            self.close()

    def kill(self) -> None:
        """End it as a power switch would."""
        self.process.kill()
        self.process.wait()
        self.close()

    def close(self) -> None:
        """Let its output go; it has ended, or is ended now."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reading.join(10)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with contextlib.suppress(ValueError):  # closed
            self.printed.extend(self.process.stdout)


def _send(
    connection: http.client.HTTPConnection, method: str, path: str, body: object, headers: Mapping[str, str]
) -> http.client.HTTPResponse:
    content = None if body is None else json.dumps(body)
    given = {"content-type": "application/json", "api-key": KEY, **headers}
    connection.request(method, path, content, {name.replace("_", "-"): value for name, value in given.items()})
    return connection.getresponse()


def chat_body(route: str, *, stream: bool = False) -> Mapping[str, object]:
    return {"model": route, "messages": [{"role": "user", "content": "Hi"}], "stream": stream}


def serve(folder: Path, config: Path, *flags: str) -> GatewayProcess:
    """Start a gateway whose records are under `folder`, and wait until it is ready.

    Raises:
        AssertionError: it did not start; with its output.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TUNDISH_")}
    environment = kept | {
        "TUNDISH_DATA_DIR": str(folder / "data"),
        "TUNDISH_STATE_DIR": str(folder / "state"),
        "TUNDISH_CACHE_DIR": str(folder / "cache"),
        "TUNDISH_API_KEY": KEY,
        "PYTHONUNBUFFERED": "1",
        "NO_COLOR": "1",
    }
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tundish",
            "serve",
            "--port",
            "0",
            "--config",
            str(config),
            "--no-serve-library",
            *flags,
        ],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    gateway = GatewayProcess(process, "", folder)
    record_file = folder / "state" / "endpoint.json"
    deadline_s = time.monotonic() + START_S
    while (record := endpoint_file.read(record_file)) is None or record.pid != process.pid:
        if process.poll() is not None or time.monotonic() > deadline_s:
            gateway.close()
            raise AssertionError(f"tundish serve did not start:\n{''.join(gateway.printed)}")
        time.sleep(0.02)  # another process's file: there is nothing to wait on
    gateway.url = record.url
    return gateway


def until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Wait for what another process does; fails when it does not come."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come to pass in time"
        time.sleep(0.02)


def receipts_in(folder: Path) -> Iterator[Receipt]:
    """All that are written."""
    found = ReceiptsFolder(folder)
    for log in found.logs():
        for line in layout.lines(found, log):
            held = leaf.decode(line)
            if held is not None and held.receipt is not None:
                yield held.receipt


def receipts_of(folder: Path, request_ids: Sequence[str]) -> Mapping[str, list[Receipt]]:
    """Those of these requests, once each of them has one; there may be more of one."""
    found: dict[str, list[Receipt]] = {}

    def all_there() -> bool:
        found.clear()
        for receipt in receipts_in(folder):
            found.setdefault(receipt.request_id, []).append(receipt)
        return all(request_id in found for request_id in request_ids)

    until(all_there)
    return {request_id: found[request_id] for request_id in request_ids}


def examine(folder: Path) -> Report:
    """What an examiner with the public key finds."""
    return verify(folder, [(folder / layout.PUBLIC_KEY).read_text(encoding="utf-8").strip()])
