"""The gateways that are measured: how each is had, started and called. Everything goes into a folder of its own."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.gateway.load import Target

KEY = "sk-benchmark-key-0123456789"
MODEL = "gpt-oss-20b"
UPSTREAM_KEY = "sk-upstream-key-0123456789"


class NotHad(Exception):
    """This contender cannot be had here, and why."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Where one run of a contender finds everything."""

    installed: Path
    """What `install` filled."""
    folder: Path
    """For configuration and state; empty at first."""
    port: int
    upstream_port: int

    @property
    def upstream_url(self) -> str:
        return f"http://127.0.0.1:{self.upstream_port}/v1"

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One gateway."""

    name: str
    version: str
    does: str
    """What it does for each request, in a few words: figures compare only with that beside them."""
    install: Callable[[Path], None]
    """Called once with an empty folder; raises NotHad."""
    command: Callable[[Setup], Sequence[str]]
    """May write into the setup's folder; the port that is listened on is the setup's."""
    target: Callable[[Setup], Target]
    environment: Callable[[Setup], Mapping[str, str]] = lambda _: {}
    graceful: bool = False
    """Whether it is asked to end, so that it can keep what it has; the others are killed."""


def _run(*command: str | Path, cwd: Path | None = None) -> None:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NotHad(f"`{Path(command[0]).name} {command[1]}` failed: {(done.stderr or done.stdout).strip()[-300:]}")


def _from_pypi(*requirements: str) -> Callable[[Path], None]:
    def install(folder: Path) -> None:
        venv.create(folder, with_pip=True)
        _run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", *requirements)

    return install


def _from_npm(*packages: str) -> Callable[[Path], None]:
    def install(folder: Path) -> None:
        if shutil.which("npm") is None or shutil.which("node") is None:
            raise NotHad("there is no node and npm")
        _run("npm", "install", "--no-audit", "--no-fund", "--prefix", folder, *packages)

    return install


def _nothing(_: Path) -> None:
    """It is here already."""


# --- nginx: the floor ---

_NGINX = """\
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  keepalive_requests 100000000;
  upstream models {{ server 127.0.0.1:{upstream_port}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://models; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
"""


def _install_nginx(folder: Path) -> None:
    if shutil.which("nginx") is not None:
        return
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise NotHad("there is no nginx and no apt-get")
    _run("apt-get", "download", "nginx", cwd=folder)
    for package in folder.glob("nginx_*.deb"):
        _run("dpkg-deb", "-x", package, folder)


def _nginx(setup: Setup) -> Sequence[str]:
    unpacked = setup.installed / "usr" / "sbin" / "nginx"
    binary = str(unpacked) if unpacked.is_file() else shutil.which("nginx") or "nginx"
    configuration = _NGINX.format(folder=setup.folder, port=setup.port, upstream_port=setup.upstream_port)
    return [binary, "-p", str(setup.folder), "-c", str(setup.write("nginx.conf", configuration))]


# --- TensorZero: its gateway is part of its Python package ---

_TENSORZERO = """\
[gateway]
observability.enabled = false
disable_pseudonymous_usage_analytics = true
[models."gpt-oss-20b"]
routing = ["upstream"]
[models."gpt-oss-20b".providers.upstream]
type = "openai"
model_name = "gpt-oss-20b"
api_base = "{url}/"
api_key_location = "env::UPSTREAM_KEY"
[models."gpt-oss-20b-paced"]
routing = ["upstream"]
[models."gpt-oss-20b-paced".providers.upstream]
type = "openai"
model_name = "gpt-oss-20b-paced"
api_base = "{url}/"
api_key_location = "env::UPSTREAM_KEY"
"""

# It listens on a port of its own choice and says which in a file: nothing but its own code is on the way of a request.
_TENSORZERO_START = """\
import sys, threading, pathlib
from tensorzero.tensorzero import _start_http_gateway
gateway = _start_http_gateway(
    config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False
)
draft = pathlib.Path(sys.argv[2] + ".new")
draft.write_text(gateway.base_url)
draft.rename(sys.argv[2])
threading.Event().wait()
"""


def _tensorzero(setup: Setup) -> Sequence[str]:
    configuration = setup.write("tensorzero.toml", _TENSORZERO.format(url=setup.upstream_url))
    program = setup.write("start.py", _TENSORZERO_START)
    return [str(setup.installed / "bin" / "python"), str(program), str(configuration), str(setup.folder / "url")]


# --- LiteLLM ---

_LITELLM = """\
model_list:
  - model_name: "{model}"
    litellm_params: {{model: "openai/{model}", api_base: "{url}", api_key: "{upstream_key}"}}
  - model_name: "{model}-paced"
    litellm_params: {{model: "openai/{model}-paced", api_base: "{url}", api_key: "{upstream_key}"}}
general_settings: {{master_key: "{key}"}}
litellm_settings: {{telemetry: false, set_verbose: false}}
"""


def _litellm(setup: Setup) -> Sequence[str]:
    text = _LITELLM.format(model=MODEL, url=setup.upstream_url, key=KEY, upstream_key=UPSTREAM_KEY)
    configuration = setup.write("litellm.yaml", text)
    program = str(setup.installed / "bin" / "litellm")
    return [program, "--config", str(configuration), "--host", "127.0.0.1", "--port", str(setup.port)]


# --- Portkey ---


def _portkey(setup: Setup) -> Sequence[str]:
    program = setup.installed / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    return [shutil.which("node") or "node", str(program), f"--port={setup.port}", "--headless"]


# --- Tundish ---

_TUNDISH = """\
[site]
name = "benchmark"

[places.cloud]
reach = "zone"
geography = "EU"
owner = "upstream"

[policy]
classes = ["public", "internal", "confidential", "restricted"]
default_class = "internal"
[[policy.rules]]
class = "public"
places = ["*"]
[[policy.rules]]
class = "internal"
places = ["reach:device", "reach:site", "geography:EU"]
[[policy.rules]]
class = "confidential"
places = ["reach:device", "reach:site"]

[projects.finance]
data_class = "internal"
[keys.load]
key = {{ env = "BENCHMARK_KEY" }}
project = "finance"

{deployments}
[routes."{model}"]
mode = "balanced"
deployments = ["first", "second"]
baseline = "second"
[routes."{model}-paced"]
mode = "balanced"
deployments = ["paced"]
"""
_TUNDISH_DEPLOYMENT = """\
[deployments.{name}]
backend = "openai_compatible"
model = "{model}"
base_url = "{url}"
place = "cloud"
auth = {{ bearer = {{ env = "UPSTREAM_KEY" }} }}
price = {{ input = 0.15, output = 0.6 }}
connections = {{ max_connections = 512 }}

"""


def _tundish(setup: Setup) -> Sequence[str]:
    deployments = "".join(
        _TUNDISH_DEPLOYMENT.format(name=name, model=model, url=setup.upstream_url)
        for name, model in (("first", MODEL), ("second", MODEL), ("paced", f"{MODEL}-paced"))
    )
    configuration = setup.write("tundish.toml", _TUNDISH.format(model=MODEL, deployments=deployments))
    return [sys.executable, "-m", "tundish", "serve", "--port", str(setup.port), "--config", str(configuration)]


def _tundish_environment(setup: Setup) -> Mapping[str, str]:
    kept = setup.folder / "state"
    return {
        "TUNDISH_DATA_DIR": str(kept / "data"),
        "TUNDISH_STATE_DIR": str(kept),
        "TUNDISH_CACHE_DIR": str(kept / "cache"),
        "TUNDISH_API_KEY": "another-key-than-the-load-has",
        "BENCHMARK_KEY": KEY,
        "UPSTREAM_KEY": UPSTREAM_KEY,
    }


def _openai_target(setup: Setup) -> Target:
    return Target(port=setup.port, key=KEY, model=MODEL)


CONTENDERS: Sequence[Contender] = (
    Contender(
        name="tundish",
        version="this checkout",
        does="key, class, policy, decision over 2 deployments, breaker, usage, cost, signed receipt",
        install=_nothing,
        command=_tundish,
        target=_openai_target,
        environment=_tundish_environment,
        graceful=True,
    ),
    Contender(
        name="nginx",
        version="of the system",
        does="nothing: the floor",
        install=_install_nginx,
        command=_nginx,
        target=_openai_target,
    ),
    Contender(
        name="tensorzero",
        version="2026.6.0",
        does="route; no key check, observability off",
        install=_from_pypi("tensorzero==2026.6.0"),
        command=_tensorzero,
        target=lambda setup: Target(
            port=int((setup.folder / "url").read_text().rstrip("/").split("/")[2].partition(":")[2]),
            path="/openai/v1/chat/completions",
            model=f"tensorzero::model_name::{MODEL}",
        ),
        environment=lambda _: {"UPSTREAM_KEY": UPSTREAM_KEY},
    ),
    Contender(
        name="portkey",
        version="1.15.2",
        does="route by headers; no key check",
        install=_from_npm("@portkey-ai/gateway@1.15.2"),
        command=_portkey,
        target=lambda setup: Target(
            port=setup.port,
            key=UPSTREAM_KEY,
            headers={"x-portkey-provider": "openai", "x-portkey-custom-host": setup.upstream_url},
        ),
        environment=lambda _: {"TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost", "NODE_ENV": "production"},
    ),
    Contender(
        name="litellm",
        version="1.106.2",  # of 2026-10; 1.107.0 was a compromised release
        does="key, route, cost; no database",
        install=_from_pypi("litellm[proxy]==1.106.2"),
        command=_litellm,
        target=_openai_target,
        environment=lambda setup: {"LITELLM_LOG": "ERROR", "HOME": str(setup.folder)},
    ),
)


def environment(contender: Contender, setup: Setup) -> dict[str, str]:
    """Of its process: ours without settings of other endpoints, and without proxies on the way to this machine."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TUNDISH_") and not name.lower().endswith("_proxy")
    }
    return kept | dict(contender.environment(setup))
