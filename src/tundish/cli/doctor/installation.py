"""The doctor on the installation: folders, packaged files, the key, the port, the way to the network."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from tundish.catalog.fit.plan import gigabytes
from tundish.cli.doctor.finding import Finding, ok, problem, warning
from tundish.cli.endpoint import discover
from tundish.core.errors import TundishError
from tundish.engines.embedded.packed import Pack
from tundish.harmony.vocabulary import O200K_HARMONY
from tundish.settings import EMBEDDED_MODEL, Settings, proxy_for

_LITTLE_SPACE = 2 * 10**9
_HUB = "https://huggingface.co"


def folders(settings: Settings) -> Iterator[Finding]:
    """Whether the folders can be written, and what room there is."""
    for name, path, variable in (
        ("data folder", settings.data_dir, "TUNDISH_DATA_DIR"),
        ("models folder", settings.models_folder, "TUNDISH_MODELS_DIR"),
        ("cache folder", settings.cache_dir, "TUNDISH_CACHE_DIR"),
        ("state folder", settings.state_dir, "TUNDISH_STATE_DIR"),
    ):
        yield _folder(name, path, variable)


def _folder(name: str, path: Path, variable: str) -> Finding:
    there = path if path.exists() else _nearest_existing(path)
    advice = f"Make it yours and writable, or set {variable} to another folder."
    if not there.is_dir():
        return problem(name, f"{path}: {there} is not a folder", advice)
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
        free = shutil.disk_usage(there).free
    except OSError as error:
        return problem(name, f"{path} cannot be written ({error.strerror or error})", advice)
    text = f"{path}, {gigabytes(free)} free" + ("" if path.exists() else " (made when it is needed)")
    if free < _LITTLE_SPACE:
        return warning(name, text, "Little room for models: free some, or remove models with `tundish model remove`.")
    return ok(name, text)


def _nearest_existing(path: Path) -> Path:
    return next((parent for parent in path.absolute().parents if parent.exists()), Path(path.anchor or "."))


def packaged_files() -> Iterator[Finding]:
    """Whether what comes with Tundish is whole."""
    try:
        vocabulary = O200K_HARMONY()
        yield ok("vocabulary", f"o200k_harmony is intact, {vocabulary.size} tokens")
    except (TundishError, OSError) as error:
        yield problem("vocabulary", str(error), "Install tundish again.")
    try:
        Pack.installed().payload()
        yield ok(EMBEDDED_MODEL, "the embedded model is intact")
    except (TundishError, OSError) as error:
        yield problem(EMBEDDED_MODEL, str(error), "Install tundish again.")


def key(settings: Settings) -> Finding:
    """Where the key is, and who can read it."""
    if not settings.auth:
        return warning("key", "none is asked for: every program on this machine may use the models", "Leave auth on.")
    if settings.api_key is not None:
        return ok("key", "the one in TUNDISH_API_KEY")
    path = settings.key_file
    try:
        information = path.stat()
        path.read_bytes()
    except FileNotFoundError:
        return ok("key", f"made on the first start, in {path}")
    except OSError as error:
        return problem(
            "key", f"{path} cannot be read ({error.strerror or error})", "Give it back to yourself, or delete it."
        )
    if sys.platform != "win32":
        if information.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            return problem("key", f"{path} can be read by others", f"Keep it to yourself: chmod 600 {path}")
        if information.st_uid != os.getuid():
            return warning("key", f"{path} belongs to another user", "Delete it: a new one is made at the next start.")
    return ok("key", f"{path}, for its owner only")


async def port(settings: Settings) -> Finding:
    """Whether an endpoint could listen, or who does."""
    where = f"{settings.host}:{settings.port}"
    try:
        async with discover(settings) as client:
            if client is not None:
                return ok("port", f"a Tundish answers at {client.url}")
    except TundishError as error:
        return warning("port", "a Tundish runs here that this command may not ask", error.message)
    if not settings.port:
        return ok("port", "any free one")
    try:
        family, _, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        with socket.create_server(address[:2], family=family):
            return ok("port", f"{where} is free")
    except OSError as error:
        holder = _holder(settings.port)
        return problem(
            "port",
            f"{where} cannot be listened on ({error.strerror or error}{f': {holder} does' if holder else ''})",
            "End that program, or choose another port: tundish serve --port 8643 (TUNDISH_PORT).",
        )


def _holder(number: int) -> str:
    """The program that listens on a port, as far as this user may know."""
    try:
        for connection in psutil.net_connections("tcp"):
            address, pid = connection.laddr, connection.pid
            if connection.status == psutil.CONN_LISTEN and address and address.port == number and pid is not None:
                return f"{psutil.Process(pid).name()}, process {pid},"
    except (psutil.Error, OSError):
        pass  # on macOS only root is told
    return ""


def network(settings: Settings) -> Finding:
    """How models would be fetched; nothing is contacted."""
    if settings.offline:
        return ok("network", "offline: no model is fetched (TUNDISH_OFFLINE)")
    proxy = proxy_for(_HUB)
    if proxy is None:
        return ok("network", "models are fetched directly, without a proxy")
    return ok("network", f"models are fetched through the proxy {without_password(proxy)}")


def without_password(url: str) -> str:
    """A URL as it may be shown."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
