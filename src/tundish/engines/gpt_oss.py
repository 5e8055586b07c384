"""gpt-oss as a backend: harmony over any engine that draws tokens."""

from __future__ import annotations

import asyncio
import codecs
import dataclasses
import datetime
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

from tundish.core.backend import BackendStatus, Capabilities
from tundish.core.clock import Clock
from tundish.core.errors import ContextLengthExceeded, InvalidRequest
from tundish.core.events import (
    Alternative,
    ChoiceFinished,
    Finished,
    FinishReason,
    GenerationEvent,
    TextDelta,
    TokenLogprob,
    Usage,
)
from tundish.core.json_value import JsonValue
from tundish.core.request import AssistantMessage, CompletionRequest, Request, TextFormat
from tundish.core.tokens import (
    TokenDelta,
    TokenEngine,
    TokenProbability,
    TokenRequest,
    TokensFinished,
    TokenStop,
)
from tundish.harmony.grammar import binds, turn_grammar
from tundish.harmony.parse import HarmonyParser
from tundish.harmony.render import Prompt, answer_header, offered_tools, render_prompt
from tundish.harmony.stop_strings import StopStrings
from tundish.harmony.tokens import STOP_TOKENS
from tundish.harmony.vocabulary import O200K_HARMONY

_LARGE_REQUEST_CHARACTERS = 50_000
"""Above this, rendering takes milliseconds and moves to a thread, so that other streams flow on; so do grammars."""
_LARGE_PROMPT_TOKENS = 2_000
_MARKUP_CHARACTERS = 10
"""What a tool and each part of its schema are counted with beside their text."""


class GptOssBackend:
    """Renders a request to tokens, has an engine continue them, parses what comes back."""

    def __init__(self, engine: TokenEngine, *, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(context_length=self._engine.context_length, continues=True)

    def status(self) -> BackendStatus:
        return self._engine.status()

    async def start(self) -> None:
        O200K_HARMONY()  # loaded now and not in the first request
        await self._engine.start()

    async def stop(self) -> None:
        await self._engine.stop()

    async def generate(self, request: Request) -> AsyncGenerator[GenerationEvent, None]:
        today = self._clock.now().date()
        if _is_large(request) or binds(request):
            prompt, grammar = await asyncio.to_thread(_prepare, request, today)
        else:
            prompt, grammar = _prepare(request, today)
        token_request = self._token_request(prompt.tokens, request, grammar, prefix_tokens=prompt.prefix_tokens)
        names = [tool.name for tool in offered_tools(request)]
        choices = [
            HarmonyParser(
                new_call_id=_new_call_id,
                tools=names,
                stop=request.sampling.stop,
                parallel_calls=request.parallel_tool_calls,
                grammar=grammar,
                json_answer=not isinstance(request.response_format, TextFormat),
                choice=choice,
            )
            for choice in range(request.n)
        ]
        if request.answer_begun:
            for choice in choices:
                choice.feed(answer_header())  # it is in the prompt; what comes is the answer's text
        async for event in self._drive(token_request, choices):
            yield event

    async def complete(self, request: CompletionRequest) -> AsyncGenerator[GenerationEvent, None]:
        if request.suffix:
            raise InvalidRequest("gpt-oss cannot fill in text before a suffix. Leave 'suffix' out.", param="suffix")
        if not isinstance(request.prompt, str):
            self._room_after(len(request.prompt))  # too many ids are not even looked at
        if isinstance(request.prompt, str) or len(request.prompt) > _LARGE_PROMPT_TOKENS:
            prompt, echoed = await asyncio.to_thread(_raw_prompt, request)
        else:
            prompt, echoed = _raw_prompt(request)
        choices = [_TextChoice(choice=choice, stop=request.sampling.stop, echoed=echoed) for choice in range(request.n)]
        async for event in self._drive(self._token_request(prompt, request, None), choices):
            yield event

    def _token_request(
        self,
        prompt: Sequence[int],
        request: Request | CompletionRequest,
        grammar: str | None,
        *,
        prefix_tokens: int = 0,
    ) -> TokenRequest:
        room = self._room_after(len(prompt))
        wanted = request.sampling.max_tokens
        sampling = dataclasses.replace(
            request.sampling, stop=(), max_tokens=room if wanted is None else min(wanted, room)
        )
        return TokenRequest(
            prompt=prompt,
            sampling=sampling,
            stop_tokens=STOP_TOKENS,
            grammar=grammar,
            n=request.n,
            prefix_tokens=prefix_tokens,
        )

    def _room_after(self, prompt_tokens: int) -> int:
        """Tokens that an answer may have."""
        room = self._engine.context_length - prompt_tokens
        if room < 1:
            raise ContextLengthExceeded(prompt_tokens=prompt_tokens, context_length=self._engine.context_length)
        return room

    async def _drive(
        self, request: TokenRequest, choices: Sequence[HarmonyParser | _TextChoice]
    ) -> AsyncGenerator[GenerationEvent, None]:
        """Feed each choice its tokens until all have ended; one that needs no more tokens is not waited for."""
        open_choices = set(range(len(choices)))
        finished: list[TokensFinished] = []
        drawn = [0] * len(choices)
        async with aclosing(self._engine.generate(request)) as tokens:
            async for event in tokens:
                if event.choice not in open_choices:
                    continue
                choice = choices[event.choice]
                if isinstance(event, TokenDelta):
                    drawn[event.choice] += len(event.tokens)
                    for made in choice.feed(event.tokens, _logprobs(event.probabilities)):
                        yield made
                    if not choice.ended or event.tokens[-1] in request.stop_tokens:
                        continue  # after a stop token the engine is done, too, and says what it counted
                else:
                    finished.append(event)
                cut = isinstance(event, TokensFinished) and event.stop is TokenStop.LENGTH
                for made in choice.finish(cut=cut):
                    yield made
                open_choices.discard(event.choice)
                if not open_choices:
                    break
        reasoning = sum(choice.reasoning_tokens for choice in choices)
        counted = {event.choice: event.completion_tokens for event in finished}
        yield Finished(
            Usage(
                prompt_tokens=len(request.prompt),
                cached_tokens=max((event.cached_tokens for event in finished), default=0),
                completion_tokens=sum(counted.get(index, count) for index, count in enumerate(drawn)),
                reasoning_tokens=reasoning,
            )
        )


class _TextChoice:
    """One choice of a raw text completion."""

    reasoning_tokens = 0

    def __init__(self, *, choice: int, stop: Sequence[str], echoed: str) -> None:
        self._choice = choice
        self._stop = StopStrings(stop)
        self._echoed = echoed
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._logprobs: list[TokenLogprob] = []

    @property
    def ended(self) -> bool:
        return self._stop.reached

    def feed(self, tokens: Sequence[int], logprobs: Sequence[TokenLogprob]) -> list[GenerationEvent]:
        vocabulary = O200K_HARMONY()
        shown = [token for token in tokens if token not in STOP_TOKENS]
        self._logprobs.extend(logprobs[: len(shown)])
        return self._show(self._stop.feed(self._decoder.decode(b"".join(map(vocabulary.token_bytes, shown)))))

    def finish(self, *, cut: bool) -> list[GenerationEvent]:
        events = self._show(self._stop.flush() + ("" if cut else self._decoder.decode(b"", final=True)))
        reason = FinishReason.LENGTH if cut and not self._stop.reached else FinishReason.STOP
        return [*events, ChoiceFinished(reason, self._choice)]

    def _show(self, text: str) -> list[GenerationEvent]:
        text, self._echoed = self._echoed + text, ""
        if not text:
            return []
        logprobs, self._logprobs = tuple(self._logprobs), []
        return [TextDelta(text, self._choice, logprobs=logprobs)]


def _prepare(request: Request, today: datetime.date) -> tuple[Prompt, str | None]:
    return render_prompt(request, today=today), turn_grammar(request)


def _raw_prompt(request: CompletionRequest) -> tuple[list[int], str]:
    """The tokens to be continued, and the text to be echoed before them."""
    vocabulary = O200K_HARMONY()
    if isinstance(request.prompt, str):
        prompt, echoed = vocabulary.encode(request.prompt), request.prompt if request.echo else ""
    else:
        prompt = list(request.prompt)
        if any(not 0 <= token < vocabulary.size for token in prompt):
            raise InvalidRequest(f"Token ids are from 0 to {vocabulary.size - 1}.", param="prompt")
        echoed = vocabulary.decode(prompt) if request.echo else ""
    return prompt or [vocabulary.special("<|startoftext|>")], echoed


def _is_large(request: Request) -> bool:
    """Whether rendering takes long, roughly; no more is counted than it takes to know."""
    left = _LARGE_REQUEST_CHARACTERS
    for message in request.messages:
        left -= len(message.text or "")
        if isinstance(message, AssistantMessage):
            left -= len(message.reasoning or "") + sum(len(call.arguments) for call in message.tool_calls)
    for tool in request.tools:
        left -= _MARKUP_CHARACTERS + len(tool.name) + len(tool.description or "")
        if left > 0 and tool.parameters is not None:
            left -= _characters(tool.parameters, limit=left)
    return left < 0


def _characters(schema: JsonValue, *, limit: int) -> int:
    """How much text a schema has, roughly; counting ends beyond `limit`."""
    count = 0
    parts = [schema]
    while parts and count <= limit:
        part = parts.pop()
        count += _MARKUP_CHARACTERS
        if isinstance(part, str):
            count += len(part)
        elif isinstance(part, Mapping):
            count += sum(map(len, part))
            parts.extend(part.values())
        elif isinstance(part, Sequence):
            parts.extend(part)
    return count


def _new_call_id() -> str:
    return "call_" + secrets.token_urlsafe(18)


def _logprobs(probabilities: Sequence[TokenProbability]) -> list[TokenLogprob]:
    token_bytes = O200K_HARMONY().token_bytes
    return [
        TokenLogprob(
            token=token_bytes(entry.token).decode("utf-8", "replace"),
            token_bytes=token_bytes(entry.token),
            logprob=entry.logprob,
            top=tuple(
                Alternative(
                    token=token_bytes(token).decode("utf-8", "replace"),
                    token_bytes=token_bytes(token),
                    logprob=logprob,
                )
                for token, logprob in entry.top
            ),
        )
        for entry in probabilities
    ]
