"""Everything that can be set, in one frozen object. The only module that reads the environment.

A setting comes from a flag of `tundish serve`, else from `TUNDISH_<NAME>` in the environment, else from its default.
A `TUNDISH_…` variable that is not a setting is an error: a misspelt limit must not be silently absent.
docs/settings.md is generated from the fields below.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import types
import typing
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import platformdirs

from tundish.access.loopback import is_loopback
from tundish.core.errors import TundishError
from tundish.core.secret import Secret as Secret

PREFIX = "TUNDISH_"
EMBEDDED_MODEL = "gpt-oss-nano"


class InvalidSetting(TundishError):
    """A setting's value cannot be used; the message names the setting and what it takes."""

    code = "invalid_setting"


def _described(text: str, default: typing.Any) -> typing.Any:
    return dataclasses.field(default=default, metadata={"description": text})


def _directory(text: str, kind: typing.Callable[[], Path]) -> typing.Any:
    return dataclasses.field(default_factory=kind, metadata={"description": text})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """See docs/settings.md."""

    config: Path | None = _described(
        "The site's configuration file: docs/configuration.md. Without it: every model answers on this device.", None
    )
    host: str = _described("Address to listen on. Anything but a loopback address needs `api_key`.", "127.0.0.1")
    port: int = _described("Port to listen on; 0 takes a free one.", 8642)
    workers: int = _described(
        "Processes that serve the port together, each on a core; more than one is for sites whose models all run "
        "elsewhere, and not for Windows: docs/operating.md.",
        1,
    )
    tls_cert: Path | None = _described(
        "PEM file with the certificate to listen with (https), intermediate ones after it. Read again when it changes.",
        None,
    )
    tls_key: Path | None = _described(
        "PEM file with the certificate's key, without a passphrase. Without it: the key is in `tls_cert`.", None
    )
    api_key: Secret | None = _described(
        "The key clients must send. Without it one is generated on the first start and kept in `data_dir`.",
        None,
    )
    auth: bool = _described("Whether a key is asked for. Can be turned off on a loopback address only.", True)
    models: tuple[str, ...] = _described(
        f"What to load at the start: `{EMBEDDED_MODEL}` (the embedded model), a model that `tundish model list` shows, "
        "`FILE.gguf`, or `NAME=` and one of these; comma-separated in the environment.",
        (EMBEDDED_MODEL,),
    )
    serve_library: bool = _described("Whether the other models that `tundish model list` shows are offered, too.", True)
    servers: tuple[str, ...] = dataclasses.field(
        default=(),
        repr=False,  # a URL may hold a key
        metadata={
            "description": "OpenAI-compatible servers of other programs on this machine whose models are offered, too: "
            "`[NAME=]URL`, with `/v1`. In the environment, where they are comma-separated, a key may stand in the URL: "
            "`http://KEY@127.0.0.1:8000/v1`."
        },
    )
    load_on_demand: bool = _described(
        "Whether the first request for a model loads it; else only `tundish load` does.", True
    )
    keep_alive_s: float = _described(
        "Seconds after its last request until a model that was loaded on demand is unloaded.", 300.0
    )
    slots: int = _described("Requests that one model works on at the same time.", 4)
    queue_limit: int = _described("Requests that may wait for a slot; one more is refused with 429.", 64)
    context_length: int | None = _described(
        "Tokens of context that a request may use. Without it: what the model has and the memory holds.", None
    )
    threads: int | None = _described("Threads that a model computes with. Without it: the physical cores.", None)
    gpu_layers: int | None = _described("Layers to put on the GPU. Without it: as many as fit.", None)
    prefix_cache_mib: int = _described(
        "MiB on disk for what prompts begin with again and again (instructions, tools), already computed: so an answer "
        "begins soon after a restart, too. In `cache_dir`, for all models together; 0 keeps none and erases what is "
        "there.",
        4096,
    )
    load_timeout_s: float = _described("Seconds that loading a model may take.", 900.0)
    max_body_bytes: int = _described("Largest request body that is read.", 32 * 1024 * 1024)
    drain_s: float = _described("Seconds that running answers get to finish when the endpoint stops.", 30.0)
    allowed_hosts: tuple[str, ...] = _described(
        "Names that a request's Host header may have, beside loopback names and `host`; `*` allows all.", ()
    )
    allowed_origins: tuple[str, ...] = _described(
        "Web origins (`https://app.example`) whose pages may call; `*` allows all.", ()
    )
    data_dir: Path = _directory(
        "Where the generated key and the chat history are kept.", lambda: _home("user_data_path")
    )
    models_dir: Path | None = _described(
        "Where pulled and imported models are kept. Without it: `models` in `data_dir`.", None
    )
    offline: bool = _described(
        "Whether every source of models (the Hugging Face Hub, plain URLs) is refused without being contacted.",
        False,
    )
    cache_dir: Path = _directory(
        "Where the embedded model is expanded and computed prefixes are kept; may be deleted at any time.",
        lambda: _home("user_cache_path"),
    )
    state_dir: Path = _directory(
        "Where a running endpoint writes its address for the other commands.",
        lambda: _home("user_state_path"),
    )

    def __post_init__(self) -> None:
        _require(0 <= self.port <= 65_535, "port", "a number from 0 to 65535", self.port)
        _require(1 <= self.workers <= 64, "workers", "a number from 1 to 64", self.workers)
        _require(self.workers == 1 or sys.platform != "win32", "workers", "1 on Windows", self.workers)
        _require(
            self.workers == 1 or self.config is not None,
            "workers",
            "1 unless `config` names a site whose models run elsewhere",
            self.workers,
        )
        _require(
            self.workers == 1 or self.models == (EMBEDDED_MODEL,),
            "workers",
            "1 when `models` are loaded here: each worker would load them again",
            self.workers,
        )
        _require(1 <= self.slots <= 256, "slots", "a number from 1 to 256", self.slots)
        _require(0 <= self.queue_limit <= 100_000, "queue_limit", "a number from 0 to 100000", self.queue_limit)
        _require(
            self.context_length is None or 16 <= self.context_length <= 16_777_216,
            "context_length",
            "a number from 16 to 16777216",
            self.context_length,
        )
        _require(self.threads is None or 1 <= self.threads <= 1024, "threads", "1 to 1024", self.threads)
        _require(self.gpu_layers is None or self.gpu_layers >= 0, "gpu_layers", "0 or more", self.gpu_layers)
        _require(
            0 <= self.prefix_cache_mib <= 16_777_216,
            "prefix_cache_mib",
            "MiB from 0 to 16777216",
            self.prefix_cache_mib,
        )
        _require(self.keep_alive_s >= 0, "keep_alive_s", "0 or more seconds", self.keep_alive_s)
        _require(0 < self.load_timeout_s <= 86_400, "load_timeout_s", "seconds up to a day", self.load_timeout_s)
        _require(
            1024 <= self.max_body_bytes <= 2**31,
            "max_body_bytes",
            "from 1024 to 2147483648",
            self.max_body_bytes,
        )
        _require(0 <= self.drain_s <= 3600, "drain_s", "seconds from 0 to 3600", self.drain_s)
        _require(self.tls_cert is not None or self.tls_key is None, "tls_cert", "set when tls_key is", self.tls_cert)
        _require(bool(self.models), "models", "at least one model", self.models)
        _require(
            self.api_key is None or _is_usable_key(self.api_key.reveal()),
            "api_key",
            "at least 8 printable ASCII characters without spaces",
            "***",
        )
        self._require_safe_exposure()

    def _require_safe_exposure(self) -> None:
        if self.is_loopback:
            return
        if not self.auth:
            raise InvalidSetting(
                f"auth cannot be turned off on {self.host}, which other machines can reach. "
                "Leave it on and set TUNDISH_API_KEY, or listen on 127.0.0.1."
            )
        if self.api_key is None:
            raise InvalidSetting(
                f"Listening on {self.host}, which other machines can reach, needs a key of your own: "
                "set TUNDISH_API_KEY (at least 8 characters), or listen on 127.0.0.1."
            )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach `host`."""
        return is_loopback(self.host)

    @property
    def key_file(self) -> Path:
        """Where the generated key is kept."""
        return self.data_dir / "api-key"

    @property
    def endpoint_file(self) -> Path:
        """Where a running endpoint says how to reach it."""
        return self.state_dir / "endpoint.json"

    @property
    def models_folder(self) -> Path:
        """Where models are kept."""
        return self.data_dir / "models" if self.models_dir is None else self.models_dir

    @property
    def cards_folder(self) -> Path:
        """Where the user's own model cards are."""
        return self.data_dir / "cards"

    @property
    def keys_folder(self) -> Path:
        """Where the keys that sign and check bundles are."""
        return self.data_dir / "keys"

    @property
    def prefix_folder(self) -> Path:
        """Where computed prefixes are kept."""
        return self.cache_dir / "prefixes"

    @property
    def store_file(self) -> Path:
        """What operators added at run time, and which classes conversations have had."""
        return self.data_dir / "store.sqlite3"

    @property
    def receipts_folder(self) -> Path:
        """Where receipts are kept."""
        return self.data_dir / "receipts"

    @property
    def history_file(self) -> Path:
        """What was typed into `tundish chat`."""
        return self.data_dir / "chat-history"


def _is_usable_key(key: str) -> bool:
    return len(key) >= 8 and key.isascii() and key.isprintable() and " " not in key


def _home(kind: str) -> Path:
    return typing.cast(Path, getattr(platformdirs.PlatformDirs("tundish", appauthor=False), kind))


def _require(holds: bool, name: str, expected: str, actual: object) -> None:
    if not holds:
        raise InvalidSetting(f"{name} must be {expected}, not {actual!r}. Set it with TUNDISH_{name.upper()}.")


def from_environment(overrides: Mapping[str, object] | None = None) -> Settings:
    """The settings of this process; see `load`."""
    return load(os.environ, overrides)


def process_environment() -> Mapping[str, str]:
    """The variables of this process, for secrets that a configuration names by their variable."""
    return os.environ


def proxy_for(url: str) -> str | None:
    """The proxy that this machine's settings (`HTTPS_PROXY` and kin, or the system's) name for `url`, if any."""
    address = urllib.parse.urlsplit(url)
    if urllib.request.proxy_bypass(address.netloc.rpartition("@")[2]):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(address.scheme) or proxies.get("all")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


def load(environment: Mapping[str, str], overrides: Mapping[str, object] | None = None) -> Settings:
    """The settings that `environment` and then `overrides` (field name → value, None is absent) make.

    Raises:
        InvalidSetting: an unknown TUNDISH_ variable, or a value that cannot be used.
    """
    fields = {field.name: field for field in dataclasses.fields(Settings)}
    hints = typing.get_type_hints(Settings)
    values: dict[str, typing.Any] = {}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name not in fields:
            known = ", ".join(PREFIX + field.upper() for field in fields)
            raise InvalidSetting(f"{variable} is not a setting. Known: {known}.")
        if text != "":
            values[name] = _parse(name, text, hints[name])
    for name, value in (overrides or {}).items():
        if name not in fields:
            raise InvalidSetting(f"{name} is not a setting.")
        if value is not None:
            values[name] = value
    return Settings(**values)


def _parse(name: str, text: str, hint: typing.Any) -> object:
    kind = _without_none(hint)
    try:
        if kind is bool:
            return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[text.lower()]
        if kind in (int, float, str, Secret):
            return kind(text)
        if kind is Path:
            return Path(text).expanduser()
        return tuple(part.strip() for part in text.split(",") if part.strip())
    except (ValueError, KeyError):
        shown = "***" if kind is Secret else repr(text)
        raise InvalidSetting(f"{PREFIX}{name.upper()} must be {_type_name(kind)}, not {shown}.") from None


def _without_none(hint: typing.Any) -> typing.Any:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return next(part for part in typing.get_args(hint) if part is not type(None))
    return hint


def _type_name(kind: typing.Any) -> str:
    return {bool: "true or false", int: "a whole number", float: "a number", Path: "a path"}.get(kind, "text")


def documentation() -> str:
    """docs/settings.md, made from the fields."""
    lines = [
        "# Settings",
        "",
        "<!-- generated: python scripts/build_docs.py -->",
        "",
        "Each is a flag of `tundish serve` (`--queue-limit 8`) or an environment variable (`TUNDISH_QUEUE_LIMIT=8`);",
        "the flag wins. `api_key` has no flag, since flags show in the process list.",
        "",
        "| variable | default | meaning |",
        "| --- | --- | --- |",
    ]
    for field in dataclasses.fields(Settings):
        default = "" if field.default in (None, dataclasses.MISSING) else field.default
        if isinstance(default, tuple):
            default = ", ".join(typing.cast("tuple[str, ...]", default))
        if field.default is dataclasses.MISSING:
            default = "the platform's folder"
        lines.append(f"| `{PREFIX}{field.name.upper()}` | {default} | {field.metadata['description']} |")
    return "\n".join(lines) + "\n"
