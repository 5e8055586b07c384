"""The surfaces that generate: chat completions and completions."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import TypeVar

from tundish.api.call import Call
from tundish.api.completion_batch import complete_all
from tundish.api.delivery import deliver_stream, deliver_whole
from tundish.api.heartbeat import PING_AFTER_S
from tundish.core.clock import Clock
from tundish.dispatch.dispatcher import Dispatcher
from tundish.wire import chat_completions, completions

T = TypeVar("T")

_LARGE_BODY_BYTES = 64 * 1024
"""Above this a body is decoded in a thread, so that other streams keep flowing."""


class Inference:
    """Decode, generate, deliver. Errors are raised; the application answers with them."""

    def __init__(self, dispatcher: Dispatcher, clock: Clock, *, ping_after_s: float = PING_AFTER_S) -> None:
        self._dispatcher = dispatcher
        self._clock = clock
        self._ping_after_s = ping_after_s

    async def chat_completions(self, call: Call) -> None:
        """`POST /v1/chat/completions`."""
        wanted = await _decoded(call.request.body, chat_completions.decode_request)
        events = self._dispatcher.generate(wanted.request)
        answer_id, created_s, model = _new_id("chatcmpl"), self._now_s(), wanted.request.model
        if wanted.stream:
            stream = chat_completions.ChatCompletionStream(
                completion_id=answer_id, created_s=created_s, model=model, include_usage=wanted.include_usage
            )
            await deliver_stream(call, events, stream.encode, ping_after_s=self._ping_after_s)
        else:
            builder = chat_completions.ChatCompletionBuilder(completion_id=answer_id, created_s=created_s, model=model)
            await deliver_whole(call, events, builder)

    async def completions(self, call: Call) -> None:
        """`POST /v1/completions`."""
        wanted = await _decoded(call.request.body, completions.decode_request)
        first = wanted.requests[0]
        events = (
            self._dispatcher.complete(first)
            if len(wanted.requests) == 1
            else complete_all(wanted.requests, self._dispatcher.complete)
        )
        answer_id, created_s = _new_id("cmpl"), self._now_s()
        if wanted.stream:
            stream = completions.CompletionStream(
                completion_id=answer_id, created_s=created_s, model=first.model, include_usage=wanted.include_usage
            )
            await deliver_stream(call, events, stream.encode, ping_after_s=self._ping_after_s)
        else:
            builder = completions.CompletionBuilder(completion_id=answer_id, created_s=created_s, model=first.model)
            await deliver_whole(call, events, builder)

    def _now_s(self) -> int:
        return int(self._clock.now().timestamp())


async def _decoded(body: bytes, decode: Callable[[bytes], T]) -> T:
    return await asyncio.to_thread(decode, body) if len(body) > _LARGE_BODY_BYTES else decode(body)


def _new_id(kind: str) -> str:
    return f"{kind}-{secrets.token_hex(16)}"
