"""The two endpoints of the tour: real processes with folders of their own, ended whatever happens."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from tundish.access import endpoint_file
from tundish.core.errors import TundishError
from tundish.settings import EMBEDDED_MODEL, PREFIX, Settings

_START_S = 120.0
_POLL_S = 0.05
_END_S = 10.0

CLOUD_MODEL = "gpt-oss-120b"
"""What the cloud calls its model; it is played by the embedded one."""
ROUTE, CLOUD_ROUTE = "assistant", "frontier"
HERE, CLOUD = "here", "cloud"
_SITE_NAME, _SAID = "site", "said.txt"

_SITE = """\
# What `tundish demo` serves: two deployments, two routes, four classes of data.
[site]
name = "demo"

[places.building]
reach = "site"
geography = "EU"
owner = "us"

# A server of 1500 dollars that computes three hours in ten: about a dollar for a million generated tokens.
[local_cost]
watts = 30
tariff_usd_per_kwh = 0.30
hardware_usd = 1500
years = 4
utilisation = 0.3
prefill_tokens_per_s = 400
decode_tokens_per_s = 40

[deployments.{here}]
backend = "local"
model = "{embedded}"
place = "building"

# Azure AI Foundry's surface, played by a second Tundish. A GlobalStandard deployment computes anywhere on earth.
[deployments.{cloud}]
backend = "azure"
model = "{cloud_model}"
base_url = "{cloud_url}"
api_version = "2024-10-21"
sku = "GlobalStandard"
auth = {{ api_key = {{ env = "DEMO_CLOUD_KEY" }} }}

[routes.{route}]
mode = "cost"
deployments = ["{here}", "{cloud}"]
baseline = "{cloud}"

[routes.{cloud_route}]
default_class = "public"
deployments = ["{cloud}"]

# One failure is enough to leave a deployment alone for a while; in earnest it would be five.
[breaker]
failures = 1
open_s = 60

[policy]
classes = ["public", "internal", "confidential", "restricted"]
default_class = "internal"
[[policy.rules]]
class = "public"
places = ["*"]
[[policy.rules]]
class = "internal"
places = ["reach:device", "reach:site"]
[[policy.rules]]
class = "confidential"
places = ["reach:device", "reach:site"]
"""


class StageBroken(TundishError):
    """An endpoint of the tour did not start; the message ends with what it said."""

    code = "demo_failed"


@dataclasses.dataclass(slots=True, kw_only=True)
class Stage:
    """The running endpoints."""

    folder: Path
    cache: Path
    site_url: str = ""
    key: str = dataclasses.field(default_factory=lambda: f"td-{secrets.token_hex(16)}")
    _cloud_key: str = dataclasses.field(default_factory=lambda: f"td-{secrets.token_hex(16)}")
    _cloud_port: int = 0
    _processes: dict[str, subprocess.Popen[bytes]] = dataclasses.field(
        default_factory=dict[str, "subprocess.Popen[bytes]"]
    )

    @property
    def receipts(self) -> Path:
        """Where the site keeps its receipts."""
        return self.folder / _SITE_NAME / "data" / "receipts"

    @property
    def configuration(self) -> Path:
        """The site's."""
        return self.folder / "tundish.toml"

    def start(self) -> None:
        """Start both, side by side.

        Raises:
            StageBroken: one of them does not start.
        """
        self._cloud_port = _free_port()
        self._launch_cloud()
        self._launch_site()
        self._wait_for(CLOUD)
        self.site_url = self._wait_for(_SITE_NAME)

    def restart_cloud(self) -> None:
        """Start the killed cloud again, at the same address.

        Raises:
            StageBroken: it does not start.
        """
        self._launch_cloud()
        self._wait_for(CLOUD)

    def _launch_cloud(self) -> None:
        models = ("--model", f"{CLOUD_MODEL}={EMBEDDED_MODEL}", "--no-serve-library")
        self._launch(CLOUD, {"TUNDISH_API_KEY": self._cloud_key}, "--port", str(self._cloud_port), *models)

    def _launch_site(self) -> None:
        text = _SITE.format(
            here=HERE,
            cloud=CLOUD,
            embedded=EMBEDDED_MODEL,
            cloud_model=CLOUD_MODEL,
            cloud_url=f"http://127.0.0.1:{self._cloud_port}",
            route=ROUTE,
            cloud_route=CLOUD_ROUTE,
        )
        self.configuration.write_text(text, encoding="utf-8")
        keys = {"TUNDISH_API_KEY": self.key, "DEMO_CLOUD_KEY": self._cloud_key}
        self._launch(_SITE_NAME, keys, "--port", "0", "--config", str(self.configuration))

    def kill_cloud(self) -> None:
        """As a power cut would: without a word, in the middle of whatever it does."""
        process = self._processes.pop(CLOUD)
        family = _family(process)
        process.kill()
        _end(process, family)

    def close(self) -> None:
        """End both, with all that they started."""
        families = {name: _family(process) for name, process in self._processes.items()}
        for process in self._processes.values():
            with contextlib.suppress(OSError):
                process.terminate()
        for name, process in self._processes.items():
            _end(process, families[name])
        self._processes.clear()

    def _launch(self, name: str, keys: Mapping[str, str], *flags: str) -> None:
        home = self.folder / name
        home.mkdir(exist_ok=True)
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(PREFIX)},
            "TUNDISH_DATA_DIR": str(home / "data"),
            "TUNDISH_STATE_DIR": str(home),
            "TUNDISH_CACHE_DIR": str(self.cache),
            "TUNDISH_DRAIN_S": "0",
            **keys,
        }
        with (home / _SAID).open("wb") as out, _undisturbed():
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", "tundish", "serve", *flags],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def _wait_for(self, name: str) -> str:
        """Its address, once it is ready."""
        home, process = self.folder / name, self._processes[name]
        deadline_s = time.monotonic() + _START_S
        while time.monotonic() < deadline_s and process.poll() is None:
            record = endpoint_file.read(home / "endpoint.json")
            if record is not None and record.pid == process.pid:
                return record.url
            time.sleep(_POLL_S)  # another process's file: there is nothing to wait on
        last = (home / _SAID).read_text(encoding="utf-8", errors="replace").strip()[-600:]
        raise StageBroken(f"The {name} of the tour did not start. It said: {last or 'nothing'}")


@contextmanager
def stage(settings: Settings) -> Generator[Stage, None, None]:
    """Folders for both endpoints; when the context is left, the endpoints have ended and the folders are gone."""
    with tempfile.TemporaryDirectory(prefix="tundish-demo-", ignore_cleanup_errors=True) as folder:
        made = Stage(folder=Path(folder), cache=settings.cache_dir)
        try:
            yield made
        finally:
            made.close()


@contextmanager
def _undisturbed() -> Generator[None, None, None]:
    """An interruption waits until the process that is being started is known, so that it can be ended."""
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.Error:
        return []


def _end(process: subprocess.Popen[bytes], family: list[psutil.Process]) -> None:
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for member in family:
        with contextlib.suppress(psutil.Error):
            member.kill()
