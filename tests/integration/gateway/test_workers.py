"""`tundish serve --workers N`: several processes, one port, one truth."""

from __future__ import annotations

import concurrent.futures
import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from .processes import GatewayProcess, UpstreamProcess, examine, receipts_in, receipts_of, serve, until, upstream

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SO_REUSEPORT")

WORKERS = 3


def site(near: str, far: str, *more: str) -> str:
    def deployment(name: str, url: str, place: str) -> str:
        return (
            f'[deployments.{name}]\nbackend = "openai_compatible"\nmodel = "m"\nremote_model = "{name}"\n'
            f'base_url = "{url}"\nplace = "{place}"\n'
        )

    return "\n".join(
        [
            '[places.rack]\nreach = "site"\n[places.cloud]\nreach = "global"',
            '[policy]\nclasses = ["public", "restricted"]\ndefault_class = "public"',
            '[[policy.rules]]\nclass = "public"\nplaces = ["*"]',
            '[[policy.rules]]\nclass = "restricted"\nplaces = ["rack"]',
            deployment("near", near, "rack"),
            deployment("far", far, "cloud"),
            '[routes.chat]\nmode = "order"\nsticky = false\ndeployments = ["far", "near"]',
            *more,
        ]
    )


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpstreamProcess]:
    with upstream(tmp_path_factory.mktemp("upstream"), "near") as running:
        yield running


@pytest.fixture
def config(tmp_path: Path, near: UpstreamProcess) -> Path:
    path = tmp_path / "tundish.toml"
    path.write_text(site(near.url("good"), near.url("good")), encoding="utf-8")
    return path


@pytest.fixture
def crew(tmp_path: Path, config: Path) -> Iterator[GatewayProcess]:
    gateway = serve(tmp_path, config, "--workers", str(WORKERS), "--drain-s", "10")
    yield gateway
    if gateway.process.poll() is None:
        gateway.stop()
    gateway.close()


def worker_of(gateway: GatewayProcess) -> str:
    """Which one a new connection leads to."""
    found = re.search(rb'worker="(\d+)"', gateway.call("GET", "/metrics").body)
    assert found is not None
    return found[1].decode()


def processes_of(gateway: GatewayProcess) -> Sequence[psutil.Process]:
    found: list[psutil.Process] = []
    for child in psutil.Process(gateway.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # or a zombie
            if "tundish.app.worker" in child.cmdline():
                found.append(child)
    return found


def all_workers(gateway: GatewayProcess) -> set[str]:
    return {worker_of(gateway) for _ in range(40)}


def everywhere(gateway: GatewayProcess, route: str, status: int) -> None:
    """Wait until whoever is asked answers so."""
    until(lambda: {gateway.chat(route).status for _ in range(30)} == {status})


def test_they_share_the_port_and_each_keeps_its_receipts(crew: GatewayProcess) -> None:
    until(lambda: all_workers(crew) == {"0", "1", "2"})
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda turn: crew.chat("chat", stream=bool(turn % 2)), range(120)))
    assert {answered.status for answered in answers} == {200}
    assert len(receipts_of(crew.receipts_folder, [answered.id for answered in answers])) == 120
    assert crew.stop() == 0
    report = examine(crew.receipts_folder)
    assert report.ok, report.findings
    assert len(report.logs) == WORKERS
    assert all(log.receipts for log in report.logs)
    assert len(list(receipts_in(crew.receipts_folder))) == 120
    with pytest.raises(OSError, match=r"."):
        crew.call("GET", "/healthz")


def test_a_conversations_class_rises_for_all_of_them_at_once(crew: GatewayProcess) -> None:
    """The very next request, over whatever connection."""
    for number in range(40):
        name = f"c-{number}"
        assert crew.chat("chat", x_tundish_conversation=name).headers["x-tundish-place"] == "cloud"
        crew.chat("chat", x_tundish_conversation=name, x_tundish_class="restricted")
        assert crew.chat("chat", x_tundish_conversation=name).headers["x-tundish-place"] == "rack"


def test_what_a_client_changes_in_one_is_changed_in_all(crew: GatewayProcess, config: Path) -> None:
    everywhere(crew, "extra", 404)
    added = crew.call("POST", "/tundish/v1/site/routes", {"name": "extra", "fields": {"deployments": ["near"]}})
    assert added.status in (200, 201), added.body
    everywhere(crew, "extra", 200)
    content = config.read_text(encoding="utf-8")
    config.write_text(content.replace("[routes.chat]", "[routes.talk]"), encoding="utf-8")
    assert crew.call("POST", "/tundish/v1/reload", {}).status == 200
    everywhere(crew, "talk", 200)
    everywhere(crew, "chat", 404)
    config.write_text("[[[", encoding="utf-8")
    crew.process.send_signal(signal.SIGHUP)
    until(lambda: sum("was not reloaded" in line for line in crew.printed) == WORKERS)
    everywhere(crew, "talk", 200)
    config.write_text(content, encoding="utf-8")
    crew.process.send_signal(signal.SIGHUP)
    everywhere(crew, "chat", 200)


def test_one_that_is_killed_is_replaced_while_the_others_serve(crew: GatewayProcess) -> None:
    before = processes_of(crew)
    assert len(before) == WORKERS
    given: list[str] = []
    victim = before[0]
    victim.kill()
    until(lambda: victim.pid not in [process.pid for process in processes_of(crew)])
    until(lambda: len(processes_of(crew)) == WORKERS)

    def serves() -> bool:
        try:
            given.append(crew.chat("chat").id)
        except OSError:
            return False  # was on its way to the one that died
        return all_workers(crew) == {"0", "1", "2"}

    until(serves)
    assert crew.stop() == 0
    receipts_of(crew.receipts_folder, given)
    report = examine(crew.receipts_folder)
    # One that dies in its first second has signed nothing yet, and receipted nothing.
    receipted = {log.log for log in report.logs if log.receipts}
    assert not [finding for finding in report.findings if finding.log in receipted]
    assert len(receipted) <= WORKERS


def test_a_stream_may_end_while_all_of_them_drain(tmp_path: Path, near: UpstreamProcess, config: Path) -> None:
    config.write_text(site(near.url("steady"), near.url("steady")), encoding="utf-8")
    gateway = serve(tmp_path, config, "--workers", "2", "--drain-s", "60")
    try:
        streams = [gateway.begin("chat") for _ in range(6)]
        assert gateway.call("POST", "/tundish/v1/stop", {}).status == 202
        until(lambda: sum("stopping" in line for line in gateway.printed) == 2)
        assert gateway.process.poll() is None
        for stream in streams:
            stream.close()
        assert gateway.process.wait(30) == 0
    finally:
        gateway.close()
    outcomes = [receipt.outcome for receipt in receipts_in(gateway.receipts_folder)]
    assert outcomes == ["cancelled"] * 6


def test_asked_again_they_end_at_once(tmp_path: Path, near: UpstreamProcess, config: Path) -> None:
    config.write_text(site(near.url("steady"), near.url("steady")), encoding="utf-8")
    gateway = serve(tmp_path, config, "--workers", "2", "--drain-s", "3000")
    with contextlib.ExitStack() as closing:
        closing.callback(gateway.close)
        stream = gateway.begin("chat")
        closing.callback(stream.close)
        gateway.process.terminate()
        until(lambda: sum("stopping" in line for line in gateway.printed) == 2)
        gateway.process.terminate()
        assert stream.rest().error["code"] == "server_shutting_down"
        assert gateway.process.wait(30) == 0


def test_without_their_supervisor_they_end(crew: GatewayProcess) -> None:
    workers = processes_of(crew)
    crew.kill()
    psutil.wait_procs(workers, timeout=20)
    assert not any(process.is_running() for process in workers)
    assert examine(crew.receipts_folder).ok


def refused(folder: Path, *flags: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tundish", "serve", "--port", "0", *flags],
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "TUNDISH_DATA_DIR": str(folder / "data")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_models_that_run_here_are_refused(tmp_path: Path, config: Path, near: UpstreamProcess) -> None:
    assert "config" in refused(tmp_path, "--workers", "2")
    assert "models" in refused(tmp_path, "--workers", "2", "--config", str(config), "--model", "a.gguf")
    local = '[deployments.here]\nbackend = "local"\nmodel = "gpt-oss-nano"\n'
    config.write_text(site(near.url("good"), near.url("good"), local), encoding="utf-8")
    told = refused(tmp_path, "--workers", "2", "--config", str(config))
    assert "deployments.here" in told
    assert "--workers" in told


def test_a_port_that_another_crew_has_is_taken(crew: GatewayProcess, tmp_path: Path, config: Path) -> None:
    port = crew.url.rpartition(":")[2]
    told = refused(tmp_path / "other", "--workers", "2", "--config", str(config), "--port", port)
    assert f"Port {port}" in told
