"""A client of the site, with nothing but HTTP: one question, and the answer byte for byte."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from tundish.core.errors import TundishError
from tundish.core.events import TextDelta
from tundish.core.request import Request, Sampling, UserMessage
from tundish.http.client import HttpClient, Origin, Timeouts
from tundish.wire import chat_completions
from tundish.wire import errors as wire_errors

_ANSWER_S = 120.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back."""

    request_id: str
    status: int
    body: bytes
    """As it came; what the receipt's digest is of."""
    text: str
    error: TundishError | None = None
    """What the site said instead of an answer, or at its end."""


class Caller:
    """Asks one endpoint."""

    def __init__(self, url: str, key: str) -> None:
        self._http = HttpClient(Origin.of(url), timeouts=Timeouts(first_byte_s=_ANSWER_S, between_bytes_s=_ANSWER_S))
        self._key = key

    async def ask(self, question: str, *, route: str, data_class: str, heard: Callable[[str], None]) -> Reply:
        """Ask and listen; `heard` is given the text as it comes. What the site refuses is in the reply.

        Raises:
            HttpError: the site cannot be reached.
        """
        body = chat_completions.encode_request(
            Request(model=route, messages=(UserMessage(text=question),), sampling=Sampling(temperature=0.0)),
            stream=True,
        )
        headers = {
            "content-type": "application/json",
            "authorization": f"Bearer {self._key}",
            "x-tundish-class": data_class,
        }
        kept: list[bytes] = []
        texts: list[str] = []
        error: TundishError | None = None
        async with self._http.stream("POST", "/v1/chat/completions", headers=headers, body=body) as response:
            request_id, status = response.headers.get("x-request-id", ""), response.status
            if response.status != 200:
                kept.append(await response.read())
                error = wire_errors.decode_response(response.status, response.headers, kept[0])
            else:
                try:
                    async for event in chat_completions.decode_stream(_keeping(response.body(), kept)):
                        if isinstance(event, TextDelta):
                            texts.append(event.text)
                            heard(event.text)
                    # What comes after the last event belongs to the answer, too.
                    kept.extend([chunk async for chunk in response.body()])
                except TundishError as failure:
                    error = failure
        return Reply(request_id=request_id, status=status, body=b"".join(kept), text="".join(texts), error=error)

    def close(self) -> None:
        """Close its connections."""
        self._http.close()


async def _keeping(chunks: AsyncIterator[bytes], kept: list[bytes]) -> AsyncGenerator[bytes, None]:
    async for chunk in chunks:
        kept.append(chunk)
        yield chunk
