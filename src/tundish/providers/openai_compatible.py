"""A model behind somebody else's OpenAI-compatible endpoint: vLLM, llama-server, Ollama, LM Studio, another Tundish."""

from __future__ import annotations

import asyncio
import dataclasses
import urllib.parse
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from tundish.core.backend import BackendStatus, Capabilities, Health
from tundish.core.errors import (
    BackendError,
    BackendStopped,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    TundishError,
    Unauthenticated,
)
from tundish.core.events import GenerationEvent
from tundish.core.request import CompletionRequest, Request
from tundish.http.client import HttpClient, Origin, Response, Timeouts
from tundish.http.errors import HttpError, ResponseTimeout
from tundish.wire import chat_completions, errors, models
from tundish.wire.models import ModelEntry

_LIST_TIMEOUT_S = 5.0
_FIRST_BYTE_S = 600.0
"""A local engine may have to load the model first, and to read a long prompt."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where an OpenAI-compatible endpoint is, and how it is opened."""

    base_url: str
    """Up to and with `/v1`."""
    api_key: str | None = dataclasses.field(default=None, repr=False)

    def client(self, timeouts: Timeouts) -> HttpClient:
        """A pool of connections to it."""
        return HttpClient(Origin.of(self.base_url), timeouts=timeouts)

    def path(self, name: str) -> str:
        """The path of one of its operations."""
        return f"{urllib.parse.urlsplit(self.base_url).path.rstrip('/')}/{name}"

    @property
    def headers(self) -> Mapping[str, str]:
        """What every request carries."""
        authorization = {} if self.api_key is None else {"authorization": f"Bearer {self.api_key}"}
        return {"content-type": "application/json", "accept": "application/json, text/event-stream", **authorization}


async def list_models(server: Server, *, timeout_s: float = _LIST_TIMEOUT_S) -> Sequence[ModelEntry]:
    """What the server serves now; it has `timeout_s` for the whole of its answer.

    Raises:
        HttpError: it cannot be reached.
        TundishError: it refuses, or answers what is no list of models.
    """
    client = server.client(Timeouts(connect_s=None))
    try:
        async with (
            asyncio.timeout(timeout_s),
            client.stream("GET", server.path("models"), headers=server.headers) as response,
        ):
            body = await response.read()
            if response.status != 200:
                raise errors.decode_response(response.status, response.headers, body)
            return models.decode_list(body)
    except TimeoutError:
        raise ResponseTimeout(f"{server.base_url} did not list its models within {timeout_s:g} s.") from None
    finally:
        client.close()


class _Run:
    """From a start to the next stop: its connections, and who waits for what comes over them."""

    def __init__(self, client: HttpClient) -> None:
        self.client = client
        self.over = False
        self._waits: set[asyncio.Timeout] = set()

    @asynccontextmanager
    async def wait(self) -> AsyncGenerator[None, None]:
        """A wait for the server, which the end of the run cuts short.

        Raises:
            BackendStopped: the run is over.
        """
        if self.over:
            raise _stopped()
        # A deadline that is set when the run ends, and not a race of tasks: this is passed for each token.
        wait = asyncio.timeout(None)
        try:
            async with wait:
                self._waits.add(wait)
                try:
                    yield
                finally:
                    self._waits.discard(wait)
        except TimeoutError:
            if wait.expired():
                raise _stopped() from None
            raise

    async def body(self, response: Response) -> AsyncGenerator[bytes, None]:
        """The response's body as it comes. Raises as `wait` and `Response.body` do."""
        chunks = response.body()
        while True:
            async with self.wait():
                chunk = await anext(chunks, b"")
            if not chunk:
                return
            yield chunk

    def end(self) -> None:
        """Nothing is waited for any more."""
        self.over = True
        self.client.close()
        now_s = asyncio.get_running_loop().time()
        for wait in self._waits:
            wait.reschedule(now_s)
        self._waits.clear()


def _stopped() -> BackendStopped:
    return BackendStopped("This model's connection to its server was closed: the model is unloaded, or this stops.")


class OpenAICompatibleBackend:
    """A `Backend` that asks the server for each answer. It is READY as long as the server answers."""

    def __init__(self, server: Server, *, model: str, context_length: int | None = None) -> None:
        """
        Args:
            server: who answers.
            model: what the server calls the model.
            context_length: tokens, where the server says so.
        """
        self._server = server
        self._model = model
        self._capabilities = Capabilities(context_length=context_length, completions=False)
        self._run: _Run | None = None
        self._running = 0
        self._problem = ""

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def status(self) -> BackendStatus:
        if self._run is None:
            return BackendStatus(health=Health.STOPPED, slots_busy=self._running)
        health = Health.FAILED if self._problem else Health.READY
        return BackendStatus(health=health, detail=self._problem, slots_busy=self._running)

    async def start(self) -> None:
        """Nothing to load: the server may even come later."""
        if self._run is None:
            self._run = _Run(self._server.client(Timeouts(connect_s=10.0, first_byte_s=_FIRST_BYTE_S)))
            self._problem = ""

    async def stop(self) -> None:
        run, self._run = self._run, None
        if run is not None:
            run.end()

    async def generate(self, request: Request) -> AsyncGenerator[GenerationEvent, None]:
        body = chat_completions.encode_request(dataclasses.replace(request, model=self._model), stream=True)
        path = self._server.path("chat/completions")
        run = self._run
        if run is None:
            raise _stopped()
        self._running += 1
        try:
            async with AsyncExitStack() as stack:
                exchange = run.client.stream("POST", path, headers=self._server.headers, body=body)
                async with run.wait():
                    response = await stack.enter_async_context(exchange)
                    if response.status != 200:
                        failure = errors.decode_response(response.status, response.headers, await response.read())
                        raise self._passed_on(failure)
                self._problem = ""
                async for event in chat_completions.decode_stream(run.body(response)):
                    if run.over:
                        raise _stopped()
                    yield event
        except HttpError as error:
            self._problem = f"{self._server.base_url}: {error}"
            raise BackendError(f"The server of this model failed ({self._problem}) Is it running?") from error
        finally:
            self._running -= 1

    def complete(self, request: CompletionRequest) -> AsyncGenerator[GenerationEvent, None]:
        raise InvalidRequest(
            f"The model '{request.model}' runs in another program, which is asked by chat completions only. "
            "Use /v1/chat/completions.",
            param="model",
        )

    def _passed_on(self, error: TundishError) -> TundishError:
        """What the client is told: its own mistakes as they are, ours as the backend's failure."""
        if isinstance(error, Unauthenticated | PermissionDenied | NotFound):
            return BackendError(f"The server of this model at {self._server.base_url} refused the request: {error}")
        return error
