"""A contender at work: installed when it is not, started on its core, waited for, ended."""

from __future__ import annotations

import dataclasses
import http.client
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.gateway import machine
from benchmarks.gateway.contenders import Contender, NotHad, Setup, environment
from benchmarks.gateway.load import Target

START_TIMEOUT_S = 120.0
_END_TIMEOUT_S = 15.0


class DidNotStart(Exception):
    """It ended, or was silent for too long; with the end of what it printed."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A started contender that has answered once."""

    pid: int
    target: Target
    start_s: float
    folder: Path


def installed(contender: Contender, cache: Path) -> Path:
    """The folder that holds it; installs it the first time.

    Raises:
        NotHad: it cannot be had here.
    """
    folder = cache / f"{contender.name}-{contender.version.replace(' ', '-')}"
    done = folder / ".done"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            contender.install(folder)
        except (NotHad, OSError, subprocess.SubprocessError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise NotHad(str(error)) from error
        done.touch()
    return folder


@contextmanager
def running(contender: Contender, cache: Path, upstream_port: int) -> Iterator[Running]:
    """The contender, from its first answer until the context is left.

    Raises:
        NotHad, DidNotStart: with the reason.
    """
    where = installed(contender, cache)
    with tempfile.TemporaryDirectory(prefix=f"bench-{contender.name}-") as temporary:
        folder = Path(temporary)
        setup = Setup(installed=where, folder=folder, port=machine.free_port(), upstream_port=upstream_port)
        command = contender.command(setup)
        with (folder / "output.txt").open("wb") as output:
            began_s = time.perf_counter()
            with machine.on_core(machine.GATEWAY_CORE):
                process = subprocess.Popen(
                    command, env=environment(contender, setup), cwd=folder, stdout=output, stderr=subprocess.STDOUT
                )
            try:
                target = _first_answer(contender, setup, process, began_s)
                start_s = time.perf_counter() - began_s
                yield Running(pid=process.pid, target=target, start_s=start_s, folder=folder)
            finally:
                _end(process, graceful=contender.graceful)


def _first_answer(contender: Contender, setup: Setup, process: subprocess.Popen[bytes], began_s: float) -> Target:
    said = ""
    while time.perf_counter() - began_s < START_TIMEOUT_S and process.poll() is None:
        with suppress(OSError, http.client.HTTPException, IndexError):
            target = contender.target(setup)
            status, said = _ask(target)
            if status == 200:
                return target
        time.sleep(0.01)  # polling another program's port: there is nothing to wait on
    printed = (setup.folder / "output.txt").read_text(encoding="utf-8", errors="replace")
    raise DidNotStart(f"{contender.name} did not answer. It said: {said[-400:]} {printed[-800:]}")


def _ask(target: Target) -> tuple[int, str]:
    head, _, body = target.request().partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")[1:]
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=30)
    try:
        connection.request("POST", target.path, body, dict(line.split(": ", 1) for line in lines))
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    finally:
        connection.close()


def _end(process: subprocess.Popen[bytes], *, graceful: bool) -> None:
    family = machine.family(process.pid) if process.poll() is None else []
    if graceful:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_TIMEOUT_S)
    for member in family:
        with suppress(Exception):
            member.kill()
    process.wait()
