"""One request to a remote deployment's server, and how everything that can come of it is understood."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from typing import Self

from tundish.core.errors import BackendError, TundishError
from tundish.http.client import HttpClient, read_body, with_body
from tundish.http.client_connection import ClientConnection
from tundish.http.errors import HttpError, PoolFull
from tundish.http.timeouts import Timeouts
from tundish.providers.refusals import Refusals
from tundish.providers.service import Service, stopped

_log = logging.getLogger("tundish.providers")

_BODY_LIMIT_BYTES = 64 * 1024 * 1024
_ERROR_LIMIT_BYTES = 1024 * 1024
_END_S = 1.0
"""What the rest of a stream may take after its last event, so that the connection can be used again."""


class Exchange:
    """One request; as a context, entered when the answer has begun with success.

    Raises when it is entered:
        InvalidRequest: (and its kin) the request was refused, as the client may be told.
        Overloaded, Unavailable, BackendError: it may be tried elsewhere.
    """

    __slots__ = ("_body", "_client", "_connection", "_service", "_stream", "_surface")

    def __init__(self, service: Service, surface: str, body: bytes, *, stream: bool) -> None:
        self._service = service
        self._surface = surface
        self._body = body
        self._stream = stream
        self._client: HttpClient | None = None
        self._connection: ClientConnection | None = None

    @property
    def refusals(self) -> Refusals:
        """What becomes of the server's failures."""
        return self._service.refusals

    @property
    def headers(self) -> Mapping[str, str]:
        """The answer's, by lower-case name."""
        return {} if self._connection is None else self._connection.headers

    def check_running(self) -> None:
        """Raises:
        BackendStopped: the deployment was stopped.
        """
        if self._client is None or self._client.aborted:
            raise stopped()

    async def __aenter__(self) -> Self:
        service = self._service
        self._client = client = service.client
        if client is None:
            raise stopped()
        service.running += 1
        try:
            head = service.current_head(self._surface)
            if head is None:
                head = await service.fetch_head(self._surface)
            connection = await client.open(with_body(head, self._body), timeouts=self._timeouts)
            if connection.status == 401 and service.refuse_credential(head, self._surface):
                connection = await self._again(client, connection, head)
            self._connection = connection
            headers = connection.headers
            service.took_note(headers)
            if service.problem:
                service.problem = ""
            if connection.status != 200 or not self._is_expected(headers.get("content-type")):
                raise await self._refusal(connection)
        except HttpError as error:
            self.leave()
            raise service.failed(error) from error
        except PoolFull as error:
            self.leave()
            raise service.refusals.of_pool(error) from error
        except BaseException:
            self.leave()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()

    @property
    def connection(self) -> ClientConnection:
        """What the answer comes over. Raises BackendStopped outside of the context."""
        if self._connection is None:
            raise stopped()
        return self._connection

    def failed(self, error: HttpError) -> TundishError:
        """The error to raise when the connection broke off."""
        return self._service.failed(error)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes.

        Raises:
            BackendError: (and its kin) it broke off.
        """
        connection = self.connection
        try:
            while chunk := await connection.next_chunk():
                yield chunk
        except HttpError as error:
            raise self._service.failed(error) from error

    async def read(self) -> bytes:
        """The whole body; raises as `chunks` does."""
        try:
            return await read_body(self.connection, _BODY_LIMIT_BYTES)
        except HttpError as error:
            raise self._service.failed(error) from error

    async def finish(self) -> None:
        """Nothing more is wanted of the body: let it end, so that its connection can be used again."""
        if self._connection is not None and not self._connection.complete:
            await self._connection.finish(_END_S)

    @property
    def _timeouts(self) -> Timeouts:
        return self._service.stream_timeouts if self._stream else self._service.whole_timeouts

    def _is_expected(self, content_type: str | None) -> bool:
        """A server that does not say what it sends is read and judged by what comes."""
        if content_type is None:
            return True
        return "text/event-stream" in content_type if self._stream else "json" in content_type

    async def _again(self, client: HttpClient, refused: ClientConnection, head: bytes) -> ClientConnection:
        """Once more with a credential that was looked up again, unless it is the same."""
        self._connection = refused
        fresh = await self._service.fetch_head(self._surface)
        if fresh == head:
            return refused
        self._connection = None
        client.release(refused)
        return await client.open(with_body(fresh, self._body), timeouts=self._timeouts)

    async def _refusal(self, connection: ClientConnection) -> TundishError:
        service, status, headers = self._service, connection.status, connection.headers
        body = await read_body(connection, _ERROR_LIMIT_BYTES)
        if status == 200:
            said = service.refusals.of_body(body)
            kind = headers.get("content-type", "nothing that it names")
            return said or service.refusals.of_content(repr(kind))
        error = service.refusals.of_response(status, headers, body)
        if isinstance(error, BackendError):
            text = body[:500].decode("utf-8", "replace")
            _log.warning("%s answered %d: %s", service.where, status, text)
        return error

    def leave(self) -> None:
        """What leaving the context does: a connection whose answer was read to its end is kept, another one closed."""
        connection, self._connection = self._connection, None
        client = self._client
        if client is None:
            return
        if connection is not None:
            client.release(connection)
        self._service.running -= 1
        self._client = None
