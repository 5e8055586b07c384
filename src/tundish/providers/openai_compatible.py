"""Servers that speak OpenAI's API, by their URL: vLLM, llama-server, Ollama, LM Studio, another Tundish."""

from __future__ import annotations

import asyncio
import dataclasses
import urllib.parse
from collections.abc import Mapping, Sequence

from tundish.http.client import HttpClient, Origin, Timeouts
from tundish.http.errors import ResponseTimeout
from tundish.providers.spec import ApiKey, RemoteSpec, fixed
from tundish.wire import errors, models
from tundish.wire.models import ModelEntry

_LIST_TIMEOUT_S = 5.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where an OpenAI-compatible endpoint is, and how it is opened."""

    base_url: str
    """Up to and with `/v1`."""
    api_key: str | None = dataclasses.field(default=None, repr=False)

    def deployment(self, model: str, *, name: str = "", context_length: int | None = None) -> RemoteSpec:
        """One of its models.

        Args:
            model: the server's name for it.
            name: what clients call it here.
            context_length: in tokens, where the server says so.
        """
        auth = None if self.api_key is None else ApiKey(source=fixed(self.api_key))
        return RemoteSpec(base_url=self.base_url, model=model, name=name, auth=auth, context_length=context_length)

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
