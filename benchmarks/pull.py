"""Pull of one big file over loopback, against a plain copy of it over the same loopback.

The pull hashes while it writes, forces the file to disk and keeps notes from which it could go on after a crash; the
plain copy (curl, or a loop over http.client where there is none) does nothing but write. Both ask the same server,
in turn. What counts is the quickest of each: whatever else the machine does can only add to it.

    python -m benchmarks pull
    python -m benchmarks pull --megabytes 4000 --hub
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import hashlib
import http.client
import json
import multiprocessing
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from tundish.catalog.card import HubSource, ModelCard, ModelFile, UrlSource, Variant, WeightFormat
from tundish.catalog.catalog import keep_card
from tundish.core.clock import SystemClock
from tundish.sources.hub import Hub
from tundish.sources.library import Folders, Library
from tundish.sources.plain_http import PlainHttp

_FILE = "noise.gguf"
_REPO = "somebody/noise"
_BLOCK_BYTES = 1024 * 1024
_GOAL = 1.3


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What one copy took."""

    seconds: float
    cpu_s: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pulled(Copied):
    """What one pull took."""

    resident_before_bytes: int
    resident_peak_bytes: int


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns 1 when the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000, help="size of the file (default: 1000)")
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--hub", action="store_true", help="through the client of the Hugging Face Hub")
    parser.add_argument("--json", action="store_true", help="for programs")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="tundish-pull-") as name:
        report = _measure(Path(name), arguments.megabytes * 1_000_000, arguments.rounds, through_hub=arguments.hub)
    print(json.dumps(report) if arguments.json else "\n".join(f"{key:24} {value}" for key, value in report.items()))
    return 0 if report["ratio"] <= _GOAL else 1


def _measure(folder: Path, size_bytes: int, rounds: int, *, through_hub: bool) -> dict[str, float]:
    file = folder / _FILE
    sha256 = _write_noise(file, size_bytes)
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    server = spawn.Process(target=_serve, args=(file, sha256, theirs), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{ours.recv()}"
    copies: list[Copied] = []
    pulls: list[Pulled] = []
    try:
        for _ in range(rounds):
            _settle_disk()
            copies.append(_copy(f"{url}/{_FILE}", folder / "copy"))
            _settle_disk()
            process = spawn.Process(target=_pull, args=(url, sha256, folder / "library", through_hub, theirs))
            process.start()
            pulls.append(ours.recv())
            process.join()
            shutil.rmtree(folder / "library")
    finally:
        server.terminate()
        server.join()
    copy_s, pull_s = (min(one.seconds for one in taken) for taken in (copies, pulls))
    copy_cpu_s, pull_cpu_s = (min(one.cpu_s for one in taken) for taken in (copies, pulls))
    peak = max(pulled.resident_peak_bytes for pulled in pulls)
    grown = max(pulled.resident_peak_bytes - pulled.resident_before_bytes for pulled in pulls)
    ratios = [pulled.seconds / copy.seconds for pulled, copy in zip(pulls, copies, strict=True)]
    return {
        "megabytes": size_bytes / 1e6,
        "copy_s": round(copy_s, 3),
        "pull_s": round(pull_s, 3),
        "pull_megabytes_per_s": round(size_bytes / 1e6 / pull_s, 1),
        "ratio": round(pull_s / copy_s, 3),
        "ratio_median": round(statistics.median(ratios), 3),
        "ratio_goal": _GOAL,
        "copy_cpu_s": round(copy_cpu_s, 3),
        "pull_cpu_s": round(pull_cpu_s, 3),
        "resident_peak_megabytes": round(peak / 1e6, 1),
        "resident_grown_megabytes": round(grown / 1e6, 1),
    }


def _settle_disk() -> None:
    # The system writes what a copy left in memory when it likes; it must not do so while the next one is timed.
    if sys.platform != "win32":
        os.sync()


def _write_noise(file: Path, size_bytes: int) -> str:
    digest, left = hashlib.sha256(), size_bytes
    noise = os.urandom(_BLOCK_BYTES)
    with file.open("wb") as out:
        block = b"GGUF" + noise[4:]
        while left:
            block = block[:left]
            out.write(block)
            digest.update(block)
            left -= len(block)
            block = noise
    return digest.hexdigest()


# --- the plain copy -----------------------------------------------------------------------------------------


def _copy(url: str, target: Path) -> Copied:
    curl = shutil.which("curl")
    started_s, cpu_s = time.perf_counter(), _cpu_s()
    if curl:
        subprocess.run([curl, "--silent", "--fail", "--noproxy", "*", "--output", target, url], check=True)
    else:
        _copy_loop(url, target)
    copied = Copied(seconds=time.perf_counter() - started_s, cpu_s=_cpu_s() - cpu_s)
    target.unlink()
    return copied


def _cpu_s() -> float:
    """Of this process and of those that it has waited for (Windows does not say of them)."""
    return sum(os.times()[:4])


def _copy_loop(url: str, target: Path) -> None:
    address = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port)
    connection.request("GET", address.path)
    with connection.getresponse() as response, target.open("wb", buffering=0) as out:
        while block := response.read(_BLOCK_BYTES):
            out.write(block)
    connection.close()


# --- the pull, in a process of its own so that its memory is its own ----------------------------------------


def _pull(url: str, sha256: str, folder: Path, through_hub: bool, result: Connection) -> None:
    if through_hub:
        source = HubSource(repo=_REPO, include=("*.gguf",))
        variant = Variant(id="f32-gguf", format=WeightFormat.GGUF, quantisation="f32", source=source)
    else:
        files = (ModelFile(path=_FILE, url=f"{url}/{_FILE}", sha256=sha256),)
        variant = Variant(id="f32-gguf", format=WeightFormat.GGUF, quantisation="f32", source=UrlSource(), files=files)
    card = ModelCard(publisher="somebody", name="noise", version="1", licence="mit", variants=(variant,))
    folders = Folders(models=folder / "models", cards=folder / "cards", keys=folder / "keys")
    keep_card(folders.cards, card)
    library = Library(folders, http=PlainHttp(), hub=Hub(endpoint=url), clock=SystemClock())
    before = _resident_bytes()
    started_s, cpu_s = time.perf_counter(), _cpu_s()
    asyncio.run(library.pull("noise", lambda _: None))
    pulled = Pulled(
        seconds=time.perf_counter() - started_s,
        cpu_s=_cpu_s() - cpu_s,
        resident_before_bytes=before,
        resident_peak_bytes=_resident_bytes(),
    )
    result.send(pulled)


def _resident_bytes() -> int:
    """The most memory that this process has had so far; 0 where the system does not say."""
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


# --- the server ---------------------------------------------------------------------------------------------


def _serve(file: Path, sha256: str, result: Connection) -> None:
    """Answers with the file, or with a listing of a Hub's repository that has it; a thread for each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        result.send(listening.getsockname()[1])
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=_answer, args=(connection, file, sha256), daemon=True).start()


def _answer(connection: socket.socket, file: Path, sha256: str) -> None:
    with connection:
        head = b""
        while b"\r\n\r\n" not in head:
            received = connection.recv(65536)
            if not received:
                return
            head += received
        size_bytes = file.stat().st_size
        if head.startswith(b"GET /api/"):
            entry = {"rfilename": _FILE, "size": size_bytes, "blobId": sha256[:40], "lfs": {"sha256": sha256}}
            entry["lfs"] |= {"size": size_bytes, "pointerSize": 134}
            listing = {"id": _REPO, "modelId": _REPO, "sha": sha256[:40], "private": False, "siblings": [entry]}
            body = json.dumps(listing | {"tags": [], "downloads": 0, "likes": 0}).encode()
            connection.sendall(_head("application/json", len(body)) + body)
            return
        connection.sendall(_head("application/octet-stream", size_bytes))
        with file.open("rb") as content:
            connection.sendfile(content)


def _head(kind: str, size_bytes: int) -> bytes:
    lines = ("HTTP/1.1 200 OK", f"content-type: {kind}", f"content-length: {size_bytes}", "connection: close")
    return "\r\n".join((*lines, "", "")).encode()


if __name__ == "__main__":
    sys.exit(main())
