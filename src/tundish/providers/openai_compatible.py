"""A model behind somebody else's OpenAI-compatible endpoint: vLLM, llama-server, Ollama, LM Studio, another Tundish."""

from __future__ import annotations

import dataclasses
import urllib.parse
from collections.abc import AsyncGenerator, Mapping, Sequence

from tundish.core.backend import BackendStatus, Capabilities, Health
from tundish.core.errors import (
    BackendError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    TundishError,
    Unauthenticated,
)
from tundish.core.events import GenerationEvent
from tundish.core.request import CompletionRequest, Request
from tundish.http.client import HttpClient, Origin, Timeouts
from tundish.http.errors import HttpError
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


async def list_models(server: Server) -> Sequence[ModelEntry]:
    """What the server serves now.

    Raises:
        HttpError: it cannot be reached.
        TundishError: it refuses, or answers what is no list of models.
    """
    client = server.client(Timeouts(connect_s=_LIST_TIMEOUT_S, first_byte_s=_LIST_TIMEOUT_S))
    try:
        async with client.stream("GET", server.path("models"), headers=server.headers) as response:
            body = await response.read()
            if response.status != 200:
                raise errors.decode_response(response.status, response.headers, body)
            return models.decode_list(body)
    finally:
        client.close()


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
        self._client = server.client(Timeouts(connect_s=10.0, first_byte_s=_FIRST_BYTE_S))
        self._running = 0
        self._problem = ""

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def status(self) -> BackendStatus:
        health = Health.FAILED if self._problem else Health.READY
        return BackendStatus(health=health, detail=self._problem, slots_busy=self._running)

    async def start(self) -> None:
        """Nothing to load: the server may even come later."""

    async def stop(self) -> None:
        self._client.close()

    async def generate(self, request: Request) -> AsyncGenerator[GenerationEvent, None]:
        body = chat_completions.encode_request(dataclasses.replace(request, model=self._model), stream=True)
        path = self._server.path("chat/completions")
        self._running += 1
        try:
            async with self._client.stream("POST", path, headers=self._server.headers, body=body) as response:
                if response.status != 200:
                    failure = errors.decode_response(response.status, response.headers, await response.read())
                    raise self._passed_on(failure)
                self._problem = ""
                async for event in chat_completions.decode_stream(response.body()):
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
