"""The surfaces that generate: chat completions and completions."""

from __future__ import annotations

import asyncio

from tundish.api.call import Call
from tundish.api.delivery import deliver
from tundish.api.heartbeat import PING_AFTER_S
from tundish.api.work import ChatWork, CompletionsWork
from tundish.core.clock import Clock
from tundish.dispatch.dispatcher import Dispatcher
from tundish.wire.members import Members, decode_members

_LARGE_BODY_BYTES = 1024 * 1024
"""Above this even the members of a body are found in a thread: about 0.4 ms a megabyte."""


class Inference:
    """Decode what the decision needs, dispatch, deliver. Errors are raised; the application answers with them."""

    def __init__(self, dispatcher: Dispatcher, clock: Clock, *, ping_after_s: float = PING_AFTER_S) -> None:
        self._dispatcher = dispatcher
        self._clock = clock
        self._ping_after_s = ping_after_s

    async def chat_completions(self, call: Call) -> None:
        """`POST /v1/chat/completions`."""
        body = call.request.body
        members = decode_members(body) if len(body) <= _LARGE_BODY_BYTES else await _decoded_aside(body)
        work = ChatWork(call, members, clock=self._clock)
        await deliver(call, self._dispatcher.begin(work), work, ping_after_s=self._ping_after_s)

    async def completions(self, call: Call) -> None:
        """`POST /v1/completions`."""
        body = call.request.body
        members = decode_members(body) if len(body) <= _LARGE_BODY_BYTES else await _decoded_aside(body)
        work = CompletionsWork(call, members, clock=self._clock)
        await deliver(call, self._dispatcher.begin(work), work, ping_after_s=self._ping_after_s)


async def _decoded_aside(body: bytes) -> Members:
    return await asyncio.to_thread(decode_members, body)
