"""A model that runs elsewhere, behind an API like OpenAI's. What is special about a provider is data: see `profile`."""

from __future__ import annotations

import dataclasses
import time
import urllib.parse
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import TypeAlias

from tundish.core.backend import BackendStatus, Capabilities, Health
from tundish.core.errors import InvalidRequest, NotFound, TundishError
from tundish.core.events import GenerationEvent
from tundish.core.rate_limits import RateLimits
from tundish.core.relay import RawRequest, Relayed, RelayedWhole
from tundish.core.request import AssistantMessage, CompletionRequest, DeveloperMessage, Message, Request, SystemMessage
from tundish.providers import profile as profiles
from tundish.providers import rate_headers
from tundish.providers.errors import SpecInvalid
from tundish.providers.exchange import Exchange
from tundish.providers.profile import PARAMETERS_OF, Paths, Profile
from tundish.providers.relayed import RelayedStream, relayed_whole
from tundish.providers.request_shape import CHAT_COMPLETIONS, COMPLETIONS, RequestShape, split
from tundish.providers.service import Service
from tundish.providers.spec import RemoteSpec
from tundish.wire import chat_completions, completions

_Decode: TypeAlias = Callable[[AsyncIterable[bytes]], AsyncGenerator[GenerationEvent, None]]

_FAILED_FOR_S = 10.0
"""How long a failure to reach the server is taken for its state: nobody but a request finds out that it is back."""


def remote_backend(spec: RemoteSpec) -> RemoteBackend:
    """The backend of a remote deployment; nothing is connected or looked up yet.

    Raises:
        SpecInvalid: the description cannot work, with what to change.
    """
    return RemoteBackend(spec)


class RemoteBackend:
    """A `Backend` and a `RelayBackend` that asks its server for each answer. READY as long as the server answers."""

    def __init__(self, spec: RemoteSpec) -> None:
        profile = profiles.load(spec.profile)
        self._spec = spec
        self._profile = profile
        paths = _paths(profile, spec)
        refuses = _refuses(profile, spec)
        self._capabilities = spec.capabilities or _capabilities(paths, refuses, spec.context_length)
        self._paths: dict[str, str] = {CHAT_COMPLETIONS: paths.chat_completions}
        if paths.completions is not None:
            self._paths[COMPLETIONS] = paths.completions
        self._shapes = {
            surface: RequestShape(profile, surface, model=spec.model, refuses=refuses) for surface in self._paths
        }
        self._service = Service(spec, profile, url=base_url(profile, spec), scope=paths.scope, paths=self._paths)
        self._started = False

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def status(self) -> BackendStatus:
        service = self._service
        health = Health.READY
        if not self._started:
            health = Health.STOPPED
        elif service.problem and time.monotonic() < service.failed_at_s + _FAILED_FOR_S:
            health = Health.FAILED
        return BackendStatus(
            health=health,
            detail=service.problem if self._started else "",
            slots=self._spec.max_connections,
            slots_busy=service.running - service.waiting,
            queued=service.waiting,
            queue_limit=self._spec.max_waiting,
        )

    def rate_limits(self) -> RateLimits | None:
        seen = self._service.rate_headers
        return None if seen is None else rate_headers.read(seen[1], seen[0])

    async def start(self) -> None:
        """Nothing to load: the server may even come later."""
        if not self._started:
            self._started = True
            self._service.start()

    async def stop(self) -> None:
        if self._started:
            self._started = False
            self._service.stop()

    def generate(self, request: Request) -> AsyncGenerator[GenerationEvent, None]:
        def body() -> bytes:
            here = dataclasses.replace(request, messages=tuple(self._message(message) for message in request.messages))
            name = self._profile.past_reasoning or "reasoning"
            return self._shaped(CHAT_COMPLETIONS, chat_completions.encode_request(here, reasoning_name=name))

        return self._events(CHAT_COMPLETIONS, body, chat_completions.decode_stream)

    def complete(self, request: CompletionRequest) -> AsyncGenerator[GenerationEvent, None]:
        if COMPLETIONS not in self._shapes:
            raise InvalidRequest(
                f"The model '{request.model}' runs in another program, which is asked by chat completions only. "
                "Use /v1/chat/completions.",
                param="model",
            )

        def body() -> bytes:
            return self._shaped(COMPLETIONS, completions.encode_request(request))

        return self._events(COMPLETIONS, body, completions.decode_stream)

    def _shaped(self, surface: str, encoded: bytes) -> bytes:
        shape, members = self._shapes[surface], split(encoded)
        shape.check(members)
        return shape.body(members, stream=True, usage_asked=True)

    async def _events(
        self, surface: str, body: Callable[[], bytes], decode: _Decode
    ) -> AsyncGenerator[GenerationEvent, None]:
        async with Exchange(self._service, surface, body(), stream=True) as exchange:
            try:
                async with aclosing(decode(exchange.chunks())) as events:
                    async for event in events:
                        exchange.check_running()
                        yield event
            except TundishError as error:
                raise exchange.refusals.of_event(error) from error.__cause__
            await exchange.finish()

    def can_relay(self, raw: RawRequest) -> bool:
        shape = self._shapes.get(raw.surface)
        if shape is None or shape.refused(raw.fields) is not None:
            return False
        if raw.stream and not shape.usage_is_told(asked=raw.include_usage):
            return False
        messages = raw.fields.get("messages")
        return messages is None or shape.messages_fit(messages)

    def relay(self, raw: RawRequest) -> AbstractAsyncContextManager[Relayed]:
        return RelayedStream(self._exchange(raw), keep_usage=raw.include_usage)

    async def relay_whole(self, raw: RawRequest) -> RelayedWhole:
        return await relayed_whole(self._exchange(raw))

    def _exchange(self, raw: RawRequest) -> Exchange:
        shape = self._shapes.get(raw.surface)
        if shape is None:
            raise NotFound(f"The service of this model has no '{raw.surface}'.")
        shape.check(raw.fields)
        body = shape.body(raw.fields, stream=raw.stream, usage_asked=raw.include_usage)
        return Exchange(self._service, raw.surface, body, stream=raw.stream)

    def _message(self, message: Message) -> Message:
        if isinstance(message, DeveloperMessage) and not self._profile.developer_role:
            return SystemMessage(text=message.text)
        if isinstance(message, AssistantMessage) and self._profile.past_reasoning is None and message.reasoning:
            return dataclasses.replace(message, reasoning=None)
        return message


def _paths(profile: Profile, spec: RemoteSpec) -> Paths:
    """The profile's templates, filled in and behind the base URL's own path."""
    templates = profile.paths
    if spec.api_version is not None:
        if profile.versioned_paths is None:
            raise SpecInvalid(f"{profile.title} has no api_version. Leave it out.")
        templates = profile.versioned_paths
    if not spec.model:
        raise SpecInvalid("The deployment does not say which model it is: 'model' is empty.")
    base = urllib.parse.urlsplit(base_url(profile, spec)).path.rstrip("/")
    named = {
        "model": urllib.parse.quote(spec.model, safe=""),
        "api_version": urllib.parse.quote(spec.api_version or "", safe=""),
    }

    def filled(template: str | None) -> str | None:
        return None if template is None else base + template.format(**named)

    return Paths(
        chat_completions=filled(templates.chat_completions) or "",
        completions=filled(templates.completions),
        models=filled(templates.models),
        scope=templates.scope,
    )


def base_url(profile: Profile, spec: RemoteSpec) -> str:
    """Where the paths begin.

    Raises:
        SpecInvalid: there is no such place.
    """
    url = (spec.base_url or profile.base_url or "").rstrip("/")
    if not url:
        raise SpecInvalid(f"{profile.title} needs a 'base_url'.")
    suffix = next((end for end in profile.base_suffixes if url.endswith(end)), "")
    return url.removesuffix(suffix)


def _refuses(profile: Profile, spec: RemoteSpec) -> frozenset[str]:
    refuses = profile.refuses | spec.refuses
    if spec.capabilities is None:
        return refuses
    for capability, parameters in PARAMETERS_OF.items():
        can = bool(getattr(spec.capabilities, capability))
        refuses = refuses.difference(parameters) if can else refuses.union(parameters)
    return refuses


def _capabilities(paths: Paths, refuses: frozenset[str], context_length: int | None) -> Capabilities:
    can = {capability: refuses.isdisjoint(parameters) for capability, parameters in PARAMETERS_OF.items()}
    return Capabilities(context_length=context_length, completions=paths.completions is not None, **can)
