"""llama-server's stream of lines as token events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

from tundish.core.errors import BackendError
from tundish.core.tokens import TokenDelta, TokenEvent, TokenProbability, TokenRequest, TokensFinished, TokenStop
from tundish.engines.llama_cpp import wire

UNKNOWN_LOGPROB = -9999.0
"""OpenAI's value for a probability that is not told."""


class TokenStream:
    """Reads the answer to one `/completion` for `choices` choices, numbered from `first`."""

    def __init__(
        self,
        request: TokenRequest,
        *,
        choices: int,
        first: int,
        tokenize: Callable[[str], Awaitable[tuple[int, ...]]],
    ) -> None:
        """`tokenize` gives the ids of a text; it is asked for what llama-server does not send."""
        self._request = request
        self._first = first
        self._tokenize = tokenize
        self._running = set(range(choices))
        self._stopped: set[int] = set()
        self._drawn = [0] * choices
        self.slot = -1
        """Where the first choice was computed; -1 until it ends."""
        self.cached_tokens = 0
        """What of the prompt was there for the first choice."""
        self.whole = True
        """Whether llama.cpp itself ended each choice: else it goes on, until the connection is closed."""

    async def events(self, body: AsyncIterator[bytes]) -> AsyncGenerator[TokenEvent, None]:
        """The events in `body`, until each choice has ended.

        Raises:
            BackendError: the engine failed, or the stream ended too early.
        """
        rest = b""
        async for chunk in body:
            lines = (rest + chunk if rest else chunk).split(b"\n")
            rest = lines.pop()
            for line in lines:
                if line.startswith(b"data: {"):
                    event = wire.decode_event(line[6:])
                elif line.startswith(b"error: {"):
                    raise wire.failure(500, b'{"error":' + line[7:] + b"}")
                else:
                    continue
                if event.error is not None:
                    raise wire.error_of(event.error)
                if event.prompt_progress is not None or event.index not in self._running:
                    continue
                if event.stop or event.index in self._stopped:
                    yield self._finished(event)
                elif event.tokens:
                    tokens = await self._tokens(event)
                    self._drawn[event.index] = event.tokens_predicted
                    if not self._request.stop_tokens.isdisjoint(tokens):
                        self._stopped.add(event.index)
                    yield TokenDelta(tokens, self._first + event.index, self._probabilities(event, tokens))
            if not self._running:
                return
        raise BackendError("The model's engine ended its answer early. Send the request again.")

    async def _tokens(self, event: wire.Event) -> tuple[int, ...]:
        """The event's tokens, and those before them that llama-server withheld."""
        told = tuple(event.tokens)
        if event.tokens_predicted - self._drawn[event.index] <= len(told):
            return told
        return await self._tokenize(event.content) or told

    def _finished(self, event: wire.Event) -> TokensFinished:
        """The end of a choice. After a stop token that llama.cpp does not know as one, `event` is a token too many."""
        self._running.discard(event.index)
        if event.index == 0:
            self.slot, self.cached_tokens = event.id_slot, event.timings.cache_n
        self.whole = self.whole and event.stop
        drawn = event.tokens_predicted if event.stop else self._drawn[event.index]
        limited = event.stop_type == "limit" and event.index not in self._stopped
        stop = TokenStop.LENGTH if limited else TokenStop.END
        prompt_tokens, cached_tokens = len(self._request.prompt), event.timings.cache_n
        return TokensFinished(stop, prompt_tokens, cached_tokens, drawn, self._first + event.index)

    def _probabilities(self, event: wire.Event, tokens: tuple[int, ...]) -> tuple[TokenProbability, ...]:
        """One for each of `tokens`; of those that llama-server did not send it is unknown."""
        told = wire.probabilities(event, self._request.sampling.top_logprobs)
        if not told:
            return ()
        unknown = tokens[: len(tokens) - len(told)]
        return (*(TokenProbability(token, UNKNOWN_LOGPROB) for token in unknown), *told[-len(tokens) :])
