"""The endpoint as its own commands see it: found by its record, or started for as long as one command needs it."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import msgspec
import psutil

from tundish import app
from tundish.access import endpoint_file, key_file
from tundish.access.endpoint_file import EndpointRecord
from tundish.access.keys import generate_key
from tundish.api.site import SiteObjects
from tundish.app.models import is_file
from tundish.cli.pull_screen import StatusLine
from tundish.core.errors import InvalidRequest, NotFound, TundishError, Unauthenticated
from tundish.core.events import GenerationEvent
from tundish.core.json_value import JsonObject
from tundish.core.request import Request
from tundish.http import tls
from tundish.http.client import HttpClient, Origin, Timeouts
from tundish.settings import Secret, Settings
from tundish.wire import chat_completions, deployments, endpoint_status, models, site_objects
from tundish.wire import errors as wire_errors
from tundish.wire.deployments import DeploymentEntry, DeploymentList
from tundish.wire.site_objects import SiteObject

_POLL_S = 0.05
_PROBE_S = 5.0
_LOOK_S = 0.5
_DEPLOYMENTS = "/tundish/v1/deployments"
_SITE = "/tundish/v1/site"
_IN_PATH = "/:@+"
"""Of what names may hold, what a path may hold as it is."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EndpointStatus:
    """What the endpoint says of itself, and what its record says."""

    record: EndpointRecord
    told: endpoint_status.EndpointStatus

    def as_json(self) -> Mapping[str, object]:
        """For programs."""
        return {**dataclasses.asdict(self.record), **msgspec.to_builtins(self.told)}


class EndpointClient:
    """Calls one endpoint."""

    def __init__(self, record: EndpointRecord, key: str | None) -> None:
        self._record = record
        self._key = key
        self._http = HttpClient(_origin(record), timeouts=Timeouts(connect_s=5.0))

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return self._record.url

    def model_name(self, argument: str) -> str:
        """What the endpoint calls the model that the user named by a name or a file."""
        return Path(argument).stem if is_file(argument) else argument

    async def models(self) -> list[str]:
        """The names that can be asked for."""
        return [entry.id for entry in models.decode_list(await self._call("GET", "/v1/models"))]

    async def first_model(self) -> str:
        """What is meant when no model is named.

        Raises:
            InvalidRequest: the endpoint has none.
        """
        known = await self.models()
        if not known:
            raise InvalidRequest("The endpoint serves no model. Start one with `tundish serve --model FILE.gguf`.")
        return known[0]

    async def generate(self, request: Request) -> AsyncGenerator[GenerationEvent, None]:
        """Answer a conversation; raises what the endpoint tells as the error it was."""
        body = chat_completions.encode_request(request, stream=True)
        async with self._http.stream("POST", "/v1/chat/completions", headers=self._headers(), body=body) as response:
            if response.status != 200:
                raise wire_errors.decode_response(response.status, response.headers, await response.read())
            async for event in chat_completions.decode_stream(response.body()):
                yield event

    async def status(self) -> EndpointStatus:
        """How it is."""
        return EndpointStatus(
            record=self._record, told=endpoint_status.decode(await self._call("GET", "/tundish/v1/status"))
        )

    async def deployments(self) -> DeploymentList:
        """The models and the memory that they share."""
        return deployments.decode_list(await self._call("GET", _DEPLOYMENTS))

    async def deploy(self, model: str) -> DeploymentEntry:
        """Offer a model of the library that came after the endpoint started."""
        return deployments.decode(await self._call("POST", _DEPLOYMENTS, deployments.encode_request(model)))

    async def change(
        self, action: str, model: str, *, keep_alive: str | None = None, force: bool = False
    ) -> DeploymentEntry:
        """`load`, `unload`, `pin` or `unpin` a model; returns when that is done."""
        body = deployments.encode_request(model, keep_alive_text=keep_alive, force=force)
        return deployments.decode(await self._call("POST", f"{_DEPLOYMENTS}/{action}", body))

    @property
    def site_objects(self) -> SiteObjects:
        """The places, deployments and routes of its site."""
        return _RemoteSiteObjects(self._call)

    async def stop(self) -> None:
        """Ask it to stop and wait until its process has ended, and with it whatever its models held."""
        await self._call("POST", "/tundish/v1/stop", b"{}")
        while _lives(self._record):  # noqa: ASYNC110 - another process's end: there is nothing to wait on
            await asyncio.sleep(_POLL_S)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    async def _call(self, method: str, path: str, body: bytes = b"") -> bytes:
        async with self._http.stream(method, path, headers=self._headers(), body=body) as response:
            content = await response.read()
            if response.status >= 400:
                raise wire_errors.decode_response(response.status, response.headers, content)
            return content

    def _headers(self) -> Mapping[str, str]:
        authorization = {} if self._key is None else {"authorization": f"Bearer {self._key}"}
        return {"content-type": "application/json", **authorization}


class _RemoteSiteObjects:
    """See `api.site.SiteObjects`."""

    def __init__(self, call: Callable[..., Awaitable[bytes]]) -> None:
        self._call = call

    async def list(self, kind: str) -> Sequence[SiteObject]:
        return site_objects.decode_list(await self._call("GET", f"{_SITE}/{kind}"))

    async def show(self, kind: str, name: str) -> SiteObject:
        return site_objects.decode(await self._call("GET", f"{_SITE}/{kind}/{quote(name, safe=_IN_PATH)}"))

    async def add(self, kind: str, name: str, fields: JsonObject) -> SiteObject:
        return site_objects.decode(await self._call("POST", f"{_SITE}/{kind}", site_objects.encode_new(name, fields)))

    async def remove(self, kind: str, name: str) -> None:
        await self._call("POST", f"{_SITE}/{kind}/remove", site_objects.encode_name(name))


def _origin(record: EndpointRecord) -> Origin:
    """Its certificate is in a file of this machine, which says more than any authority could."""
    origin = Origin.of(record.url)
    if record.certificate_file is None:
        return origin
    return dataclasses.replace(origin, tls=tls.pinned(Path(record.certificate_file)))


@asynccontextmanager
async def discover(settings: Settings) -> AsyncGenerator[EndpointClient | None, None]:
    """The endpoint that runs on this machine, or None.

    Raises:
        Unauthenticated: it runs with a key that is not known here.
    """
    record = endpoint_file.read(settings.endpoint_file)
    if record is None or not _lives(record):
        # What a killed endpoint left behind: its port may be another program's by now, which must not see our key.
        yield None
        return
    client = EndpointClient(record, _key(settings, record))
    try:
        yield client if await _answers(client) else None
    finally:
        client.close()


def _lives(record: EndpointRecord) -> bool:
    """Whether the process that wrote `record` still runs."""
    try:
        process = psutil.Process(record.pid)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= record.started_s + 1.0
    except psutil.Error:
        return False


async def _answers(client: EndpointClient) -> bool:
    try:
        async with asyncio.timeout(_PROBE_S):
            await client.status()
    except Unauthenticated:
        raise Unauthenticated(
            f"The endpoint at {client.url} runs with another key. Set TUNDISH_API_KEY to the one it was started with."
        ) from None
    except (TundishError, TimeoutError):
        return False
    return True


def _key(settings: Settings, record: EndpointRecord) -> str | None:
    if not record.key_required:
        return None
    if settings.api_key is not None:
        return settings.api_key.reveal()
    if record.key_file is None:
        raise Unauthenticated(
            f"The endpoint at {record.url} has a key of its own. Set TUNDISH_API_KEY to the one it was started with."
        )
    try:
        return key_file.read(Path(record.key_file))
    except OSError as error:
        raise Unauthenticated(f"The key in {record.key_file} cannot be read: {error.strerror or error}.") from error


@asynccontextmanager
async def connect(settings: Settings, *, model: str | None = None) -> AsyncGenerator[EndpointClient, None]:
    """The running endpoint if it has `model`, else one that is started for as long as the context is entered.

    Raises:
        TundishError: neither is possible, with the reason.
    """
    async with discover(settings) as client:
        if client is not None and await _offers(client, model):
            yield client
            return
    async with _private(settings, model) as started:
        yield started


async def _offers(client: EndpointClient, model: str | None) -> bool:
    if model is None:
        return True
    if is_file(model):
        return False  # the endpoint may serve another file of that name
    if model in await client.models():
        return True
    try:
        await client.deploy(model)
    except NotFound:
        return False
    return True


@asynccontextmanager
async def _private(settings: Settings, model: str | None) -> AsyncGenerator[EndpointClient, None]:
    """An endpoint inside this process, for this process."""
    key = generate_key()
    own = dataclasses.replace(
        settings,
        host="127.0.0.1",
        port=0,
        tls_cert=None,
        tls_key=None,
        auth=True,
        api_key=Secret(key),
        models=settings.models if model is None else (model,),
        serve_library=False,
        servers=(),
    )
    async with app.endpoint(own) as running:
        if sys.stderr.isatty():
            print("Loading the model; `tundish serve` in another terminal would keep it loaded.", file=sys.stderr)
        await _load(running)
        client = EndpointClient(running.record(), key)
        try:
            yield client
        finally:
            client.close()


async def _load(running: app.Endpoint) -> None:
    """Load its models, and say on stderr how far that is."""
    line = StatusLine()
    loading = asyncio.ensure_future(running.load())
    try:
        while not (await asyncio.wait([loading], timeout=_LOOK_S))[0]:
            for name, status in sorted(running.dispatcher.unready().items()):
                if status.detail and sys.stderr.isatty():
                    line.show(f"{name}: {status.detail}")
        await loading
    finally:
        line.end()
        loading.cancel()
