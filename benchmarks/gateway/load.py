"""The two native programs: the model server behind the gateways, and the load in front of them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.gateway import machine

_SOURCES = Path(__file__).with_name("native")
_PACED_MS = 510
"""That a paced stream takes."""
EVENTS = 51
"""Of a stream: 50 chunks and [DONE]."""
_SENTENCES = (
    "You are a helpful assistant for the finance department. " * 4,
    "Summarise the attached note, please. " * 8,
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where requests go, and what they need."""

    port: int
    path: str = "/v1/chat/completions"
    key: str = "sk-none"
    model: str = "gpt-oss-20b"
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])

    def request(self, *, stream: bool = False, paced: bool = False) -> bytes:
        """A whole HTTP request of about 0.7 KB body, as the openai client would send it."""
        system, user = _SENTENCES
        body: dict[str, object] = {
            "model": self.model + ("-paced" if paced else ""),
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
            "temperature": 0.2,
            "max_tokens": 64,
        }
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        content = json.dumps(body).encode()
        headers = {
            "host": f"127.0.0.1:{self.port}",
            "content-type": "application/json",
            "accept": "application/json",
            "authorization": f"Bearer {self.key}",
            "user-agent": "tundish-benchmark",
            **self.headers,
            "content-length": str(len(content)),
        }
        lines = [f"POST {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + content


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one run of the load saw."""

    seconds: float
    responses: int
    events: int
    body_bytes: int
    abandoned: int
    errors: int
    other_statuses: int
    reconnects: int
    p50_us: int
    p99_us: int
    first_p50_us: int
    first_p99_us: int

    @property
    def failed(self) -> int:
        return self.errors + self.other_statuses


class Tools:
    """The native programs, compiled once for each version of their sources."""

    def __init__(self, cache: Path) -> None:
        compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc") or shutil.which("clang")
        if compiler is None or not sys.platform.startswith("linux"):
            sys.exit("This benchmark needs Linux and a C compiler (cc): its load must cost less than what it measures.")
        self.upstream = _compiled(compiler, "upstream", cache)
        self._load = _compiled(compiler, "load", cache)

    @contextmanager
    def upstream_running(self) -> Iterator[int]:
        """The model server on the load's core; gives its port."""
        port = machine.free_port()
        with machine.on_core(machine.LOAD_CORE):
            process = subprocess.Popen([self.upstream, str(port)])
        try:
            machine.wait_for_port(port)
            yield port
        finally:
            process.kill()
            process.wait()

    def start(
        self,
        target: Target,
        *,
        connections: int,
        seconds: float,
        requests: int = 0,
        stream: bool = False,
        paced: bool = False,
        abandon_after: int = 0,
        stagger_ms: int = 0,
    ) -> subprocess.Popen[bytes]:
        """The load as a process on its core: ends after `seconds`, or after so many `requests` when that is not 0."""
        numbers = (
            target.port,
            connections,
            round(seconds * 1000),
            requests,
            EVENTS - 1 if stream else 0,  # some gateways say [DONE] in their own way
            abandon_after,
            stagger_ms,
        )
        with machine.on_core(machine.LOAD_CORE):
            process = subprocess.Popen(
                [self._load, *map(str, numbers)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        assert process.stdin is not None
        process.stdin.write(target.request(stream=stream, paced=paced))
        process.stdin.close()
        process.stdin = None  # `communicate` would flush it
        return process

    def run(
        self,
        target: Target,
        *,
        connections: int,
        seconds: float,
        stream: bool = False,
    ) -> Load:
        """Load the target and wait until that is over."""
        return finish(self.start(target, connections=connections, seconds=seconds, stream=stream))

    def run_paced(self, target: Target, *, connections: int, seconds: float) -> Load:
        """Streams with an event each 10 ms, each begun when the others are somewhere else: for times to first token."""
        stagger_ms = _PACED_MS // connections
        return finish(
            self.start(target, connections=connections, seconds=seconds, stream=True, paced=True, stagger_ms=stagger_ms)
        )


def finish(process: subprocess.Popen[bytes]) -> Load:
    """Wait for a load that was started."""
    output, said = process.communicate()
    if process.returncode != 0:
        raise LoadFailed(said.decode(errors="replace").strip() or f"load ended with {process.returncode}")
    load = Load(**json.loads(output))
    if load.responses + load.abandoned == 0 and (load.failed or load.events == 0):
        raise LoadFailed(f"no response of {load.failed} was good: {said.decode(errors='replace').strip()[:400]}")
    return load


class LoadFailed(Exception):
    """Nothing was measured, and why."""


def _compiled(compiler: str, name: str, cache: Path) -> str:
    source = _SOURCES / f"{name}.c"
    version = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    binary = cache / "native" / f"{name}-{version}"
    if not binary.is_file():
        binary.parent.mkdir(parents=True, exist_ok=True)
        draft = binary.with_suffix(".new")
        subprocess.run([compiler, "-O2", "-o", str(draft), str(source)], check=True)
        draft.replace(binary)
    return str(binary)
