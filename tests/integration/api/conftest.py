"""The API behind the real HTTP server, in front of a scripted backend; clients come over real connections."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import openai
import pytest

from tundish.access.keys import KeyRing
from tundish.api.application import Application
from tundish.api.guard import Guard
from tundish.api.metrics import Metrics
from tundish.core.clock import SystemClock
from tundish.core.events import ChoiceFinished, Finished, FinishReason, TextDelta, Usage
from tundish.dispatch.dispatcher import Dispatcher
from tundish.engines.scripted import EventStep, ScriptedBackend
from tundish.http.client import HttpClient, Origin
from tundish.http.server import HttpServer, Limits

KEY = "td-test-key"
ANSWER: list[EventStep] = [
    TextDelta("Hello"),
    TextDelta(" there"),
    ChoiceFinished(FinishReason.STOP),
    Finished(Usage(prompt_tokens=7, completion_tokens=2)),
]


@dataclasses.dataclass(slots=True, kw_only=True)
class Answered:
    """A response in one piece."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclasses.dataclass(slots=True, kw_only=True)
class Endpoint:
    """A running endpoint with one model, `m`."""

    port: int
    backend: ScriptedBackend
    dispatcher: Dispatcher
    http: HttpClient
    stops: list[str]

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @asynccontextmanager
    async def openai(self, **options: object) -> AsyncGenerator[openai.AsyncOpenAI, None]:
        async with openai.AsyncOpenAI(base_url=self.base_url, api_key=KEY, max_retries=0, **options) as client:
            yield client

    async def send(
        self, method: str, path: str, body: bytes = b"", *, key: str | None = KEY, **headers: str
    ) -> Answered:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent["api-key"] = key
        if body:
            sent.setdefault("content-type", "application/json")
        async with self.http.stream(method, path, headers=sent, body=body) as response:
            return Answered(status=response.status, headers=dict(response.headers), body=await response.read())

    async def scrape(self) -> str:
        return (await self.send("GET", "/metrics", key=None)).body.decode()


Serve = Callable[..., AbstractAsyncContextManager[Endpoint]]


@pytest.fixture
def serve() -> Serve:
    """Start an endpoint whose model replays the given scripts."""

    @asynccontextmanager
    async def start(
        *scripts: list[EventStep],
        guard: Guard | None = None,
        keys: KeyRing | None = None,
        limits: Limits | None = None,
        ping_after_s: float = 15.0,
        ready: bool = True,
    ) -> AsyncGenerator[Endpoint, None]:
        backend = ScriptedBackend(*(scripts or (ANSWER,)))
        if ready:
            await backend.start()
        metrics = Metrics()
        clock = SystemClock()
        dispatcher = Dispatcher(backends={"m": backend}, observer=metrics, clock=clock)
        stops: list[str] = []
        application = Application(
            dispatcher=dispatcher,
            keys=keys or KeyRing.of_owner(KEY, key_id="test"),
            guard=guard or Guard(host="127.0.0.1"),
            metrics=metrics,
            stop=lambda: stops.append("stop"),
            clock=clock,
            ping_after_s=ping_after_s,
        )
        server = HttpServer(application, limits=limits or Limits(), refuse=application.refuse, admit=application.admit)
        port = await server.listen("127.0.0.1", 0)
        http = HttpClient(Origin(host="127.0.0.1", port=port))
        try:
            yield Endpoint(port=port, backend=backend, dispatcher=dispatcher, http=http, stops=stops)
        finally:
            http.close()
            await server.close()

    return start
