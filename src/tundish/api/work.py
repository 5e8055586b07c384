"""The surfaces' requests as the dispatcher takes them: put to a backend, and their answers put into the wire format."""

from __future__ import annotations

import abc
import asyncio
import dataclasses
import secrets
from collections.abc import Callable
from typing import TypeVar

from tundish.api.call import Call
from tundish.api.completion_batch import complete_all
from tundish.core.backend import Backend
from tundish.core.clock import Clock
from tundish.core.errors import InvalidRequest, TundishError
from tundish.core.events import GenerationEvent
from tundish.core.relay import RawRequest
from tundish.core.request import AssistantMessage, Request, UserMessage
from tundish.dispatch.said import Said
from tundish.dispatch.work import NO_NEEDS, Events, Lineage, Work
from tundish.routing.decision import Needs
from tundish.wire import chat_completions, completions, sse
from tundish.wire.chat_completions import PartialAnswer
from tundish.wire.history import History
from tundish.wire.history import read as read_history
from tundish.wire.members import Members, conversation_key, estimate_tokens

T = TypeVar("T")

CLASS_HEADER = "x-tundish-class"
CONVERSATION_HEADER = "x-tundish-conversation"

_GO_ON = (
    "Your answer was cut off by a technical fault. Go on exactly where it ends, in the middle of a word if need be: "
    "repeat nothing, and do not mention this."
)
_LARGE_BODY_BYTES = 64 * 1024
"""Above this a body is decoded in a thread, so that other streams keep flowing."""
_PROMPT = ("messages", "tools", "response_format")
_FLAGS = (None, b"true", b"false", b"null")


class SurfaceWork(Work):
    """One request of a surface."""

    __slots__ = ("_call", "_clock", "_members", "stream")

    def __init__(
        self,
        call: Call,
        members: Members,
        *,
        surface: str,
        needs: Needs,
        prompt_tokens: int,
        max_output_tokens: int | None,
        affinity: str | None = None,
        clock: Clock,
    ) -> None:
        model = members.text("model")
        if not model:
            raise InvalidRequest("'model' is missing. GET /v1/models lists the names.", param="model")
        if members.fields.get("stream") not in _FLAGS:
            raise InvalidRequest("'stream' must be true or false.", param="stream")
        stream = members.is_true("stream")
        super().__init__(
            route=model,
            surface=surface,
            request_id=call.id,
            caller=call.principal,
            claimed_class=call.request.headers.get(CLASS_HEADER),
            conversations=(named := _named(call)),
            affinity=named[0] if named else affinity,
            needs=needs,
            prompt_tokens=prompt_tokens,
            max_output_tokens=max_output_tokens,
            body=call.sent_body,
            raw=RawRequest(
                surface=surface,
                fields=members.fields,
                stream=stream,
                include_usage=stream and members.include_usage(),
            ),
        )
        self.stream = stream
        self._call = call
        self._members = members
        self._clock = clock

    def refused(self, error: TundishError) -> bytes:
        return self._call.admission.encode_error(error)

    @abc.abstractmethod
    def encoder(self) -> Callable[[GenerationEvent], bytes]:
        """Events → the bytes of a stream."""

    @abc.abstractmethod
    def builder(self) -> chat_completions.ChatCompletionBuilder | completions.CompletionBuilder:
        """Events → a whole answer."""

    def _created_s(self) -> int:
        return int(self._clock.now().timestamp())

    async def _decoded(self, decode: Callable[[bytes], T]) -> T:
        body = self._call.request.body
        return await asyncio.to_thread(decode, body) if len(body) > _LARGE_BODY_BYTES else decode(body)


class ChatWork(SurfaceWork):
    """`POST /v1/chat/completions`."""

    __slots__ = ("_begun", "_history", "_wanted")

    def __init__(self, call: Call, members: Members, *, clock: Clock) -> None:
        fields = members.fields
        super().__init__(
            call,
            members,
            surface="chat_completions",
            needs=_needs(members),
            prompt_tokens=estimate_tokens(
                fields.get("messages", b""), fields.get("tools", b""), fields.get("response_format", b"")
            ),
            max_output_tokens=_output_limit(members),
            affinity=_affinity(call, fields.get("messages", b"")),
            clock=clock,
        )
        self._wanted: chat_completions.ChatCompletionRequest | None = None
        self._begun: PartialAnswer | None = None
        self._history: History | None = None

    async def prepare(self) -> None:
        if self._wanted is None:
            self._wanted = await self._decoded(chat_completions.decode_request)

    def lineage(self) -> Lineage:
        names = self.conversations
        self._history = history = read_history(self._members.fields.get("messages", b""))
        if history is None:
            return super().lineage()
        own = self._key(history.own)
        earlier = (*names, *map(self._key, history.earlier))
        if not history.answered:
            return Lineage(earlier=earlier, own=names, opening=own)
        return Lineage(earlier=earlier, own=(*names, own))

    def ends_answer(self, data: bytes) -> bool:
        return not self.stream or data.endswith(sse.DONE)

    def answered(self, given: bytes) -> tuple[str, ...] | None:
        keys = None if self._history is None else self._history.after(given, stream=self.stream)
        return None if keys is None else tuple(map(self._key, keys))

    def _key(self, digest: str) -> str:
        return f"{_owner(self._call)}/{digest}"

    def events(self, backend: Backend) -> Events:
        return backend.generate(self._request)

    def read(self, said: Said) -> Said | None:
        if self._members.wants_json() or self._members.fields.get("n", b"1") not in (b"1", b"null"):
            return None  # a grammar starts at the beginning, and of several answers nobody knows which one broke
        if said.chunks:
            begun = chat_completions.decode_partial(said.chunks)
            if begun is None or not begun.plain:
                return None
            self._begun = begun
            said = Said(text=begun.text, tokens=begun.tokens)
        limit = self.max_output_tokens
        return said if limit is None or said.tokens < limit else None

    def continued(self, backend: Backend, said: Said) -> Events:
        return backend.generate(continued_request(self._request, said, natively=_continues(backend)))

    def encoder(self) -> Callable[[GenerationEvent], bytes]:
        begun = self._begun
        include_usage = self._members.include_usage()
        if begun is not None:
            return chat_completions.ChatCompletionStream(
                completion_id=begun.completion_id,
                created_s=begun.created_s,
                model=begun.model,
                include_usage=include_usage,
                goes_on=True,
            ).encode
        return chat_completions.ChatCompletionStream(
            completion_id=new_id("chatcmpl"), created_s=self._created_s(), model=self.route, include_usage=include_usage
        ).encode

    def builder(self) -> chat_completions.ChatCompletionBuilder:
        return chat_completions.ChatCompletionBuilder(
            completion_id=new_id("chatcmpl"), created_s=self._created_s(), model=self.route
        )

    @property
    def _request(self) -> Request:
        assert self._wanted is not None, "prepare() comes first"  # noqa: S101
        return self._wanted.request


class CompletionsWork(SurfaceWork):
    """`POST /v1/completions`. Several prompts are one request: one decision, one deployment, one receipt."""

    __slots__ = ("_wanted",)

    def __init__(self, call: Call, members: Members, *, clock: Clock) -> None:
        super().__init__(
            call,
            members,
            surface="completions",
            needs=_COMPLETIONS,
            prompt_tokens=estimate_tokens(members.fields.get("prompt", b"")),
            max_output_tokens=members.whole_number("max_tokens"),
            clock=clock,
        )
        self._wanted: completions.CompletionsRequest | None = None

    async def prepare(self) -> None:
        if self._wanted is None:
            self._wanted = await self._decoded(completions.decode_request)

    def events(self, backend: Backend) -> Events:
        assert self._wanted is not None, "prepare() comes first"  # noqa: S101
        requests = self._wanted.requests
        return backend.complete(requests[0]) if len(requests) == 1 else complete_all(requests, backend.complete)

    def encoder(self) -> Callable[[GenerationEvent], bytes]:
        return completions.CompletionStream(
            completion_id=new_id("cmpl"),
            created_s=self._created_s(),
            model=self.route,
            include_usage=self._members.include_usage(),
        ).encode

    def builder(self) -> completions.CompletionBuilder:
        return completions.CompletionBuilder(
            completion_id=new_id("cmpl"), created_s=self._created_s(), model=self.route
        )


def continued_request(request: Request, said: Said, *, natively: bool = False) -> Request:
    """The request for the rest of an answer: the beginning as the assistant's turn, and the wish to go on.

    `natively`: the backend can take up the answer itself, in the middle of a word if need be.
    """
    if not said.text:
        return request
    limit = request.sampling.max_tokens
    sampling = (
        request.sampling
        if limit is None
        else dataclasses.replace(request.sampling, max_tokens=max(1, limit - said.tokens))
    )
    if natively and not request.tools:  # with tools the rest might begin in another channel, or under a grammar
        return dataclasses.replace(request, answer_begun=said.text, sampling=sampling)
    asked = (AssistantMessage(text=said.text), UserMessage(text=_GO_ON))
    return dataclasses.replace(request, messages=(*request.messages, *asked), sampling=sampling)


def _continues(backend: Backend) -> bool:
    try:
        return backend.capabilities.continues
    except TundishError:
        return False  # not loaded yet, so nobody knows


def new_id(kind: str) -> str:
    """An id for an answer."""
    return f"{kind}-{secrets.token_hex(16)}"


_COMPLETIONS = Needs(completions=True)
_NEEDED_FOR = frozenset({"tools", "reasoning_effort", "logprobs", "response_format"})


def _output_limit(members: Members) -> int | None:
    """The lower of the two limits that a client may set."""
    limit, older = members.whole_number("max_completion_tokens"), members.whole_number("max_tokens")
    return older if limit is None else limit if older is None else min(limit, older)


def _needs(members: Members) -> Needs:
    if _NEEDED_FOR.isdisjoint(members.fields):
        return NO_NEEDS
    tools, effort = members.is_set("tools"), members.is_set("reasoning_effort")
    logprobs, structured = members.is_true("logprobs"), members.wants_json()
    if not (tools or effort or logprobs or structured):
        return NO_NEEDS
    return Needs(tools=tools, structured_output=structured, reasoning_effort=effort, logprobs=logprobs)


def _owner(call: Call) -> str:
    """Whose conversations they are: part of their keys, so that nobody moves another one's."""
    caller = call.principal
    return f"project {caller.project}" if caller.project else f"key {caller.key_id}"


def _named(call: Call) -> tuple[str, ...]:
    """What the client calls its conversation."""
    named = call.request.headers.get(CONVERSATION_HEADER)
    return (f"{_owner(call)}/{named[:200]}",) if named else ()


def _affinity(call: Call, messages: bytes) -> str | None:
    """What the messages begin with: those that begin alike share a prefix cache, whoever sends them."""
    derived = conversation_key(messages) if messages else None
    return None if derived is None else f"{_owner(call)}/{derived}"
