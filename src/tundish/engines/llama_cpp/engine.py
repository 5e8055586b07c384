"""A model in a child process, as a `TokenEngine`: admission, generation, cancellation."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine

import msgspec

from tundish.core.backend import BackendStatus
from tundish.core.errors import BackendError, ContextLengthExceeded
from tundish.core.request import Sampling
from tundish.core.tokens import TokenEvent, TokenRequest, TokensFinished, TokenStop
from tundish.engines.llama_cpp import grammar_check, silence, slot_actions, wire
from tundish.engines.llama_cpp.admission import Admission, Share
from tundish.engines.llama_cpp.launch import UNGUIDED, Launch
from tundish.engines.llama_cpp.options import EngineOptions
from tundish.engines.llama_cpp.prefix_cache import PrefixCache
from tundish.engines.llama_cpp.supervisor import Link, Supervisor
from tundish.engines.llama_cpp.token_stream import TokenStream
from tundish.http.client import Response
from tundish.http.errors import HttpError

__all__ = ["EngineOptions", "LlamaCppEngine"]

_log = logging.getLogger("tundish.engines.llama_cpp")

_SLOT_FREE_POLL_S = 0.02
_CANCEL_GRACE_S = 3.0
"""How long an abandoned request may at least go on computing before its child is replaced."""
_WARM_UP_AFTER_S = 2.0
_WARM_UP = TokenRequest(prompt=(0,), sampling=Sampling(max_tokens=1), grammar="%llguidance {}\nstart: /[a-z]/")


class LlamaCppEngine:
    """Draws tokens with llama.cpp."""

    def __init__(self, options: EngineOptions, *, prefixes: PrefixCache | None = None) -> None:
        """`prefixes`: what is saved in the options' slot folder."""
        self._options = options
        self._prefixes = prefixes
        self._admission = Admission(
            slots=options.slots, kv_tokens=options.kv_pool_tokens, queue_limit=options.queue_limit
        )
        self._supervisor = Supervisor(options, launched=self._launched)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def context_length(self) -> int:
        return self._options.context_length

    @property
    def options(self) -> EngineOptions:
        """How the model is run."""
        return self._options

    @property
    def pid(self) -> int | None:
        """The child's process id, while there is one."""
        link = self._supervisor.link
        return None if link is None else link.child.pid

    def status(self) -> BackendStatus:
        return BackendStatus(
            health=self._supervisor.health,
            detail=self._supervisor.detail,
            slots=self._admission.slots,
            slots_busy=self._admission.busy,
            queued=self._admission.queued,
            queue_limit=self._admission.queue_limit,
            restarts=self._supervisor.restarts,
            load_progress=self._supervisor.progress.fraction(),
        )

    async def start(self) -> None:
        if self._prefixes is not None:
            await self._open(self._prefixes)
        await self._supervisor.start()

    async def _open(self, prefixes: PrefixCache) -> None:
        try:
            await prefixes.open()
        except OSError as error:
            _log.warning("no prefixes are kept: %s", error)
            self._prefixes = None

    async def stop(self) -> None:
        await self._supervisor.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._prefixes is not None:
            await self._prefixes.close()

    async def generate(self, request: TokenRequest) -> AsyncGenerator[TokenEvent, None]:
        """See `TokenEngine.generate`. More choices than slots are drawn in several rounds."""
        length, prompt_tokens = self._options.context_length, len(request.prompt)
        if prompt_tokens >= length:
            raise ContextLengthExceeded(prompt_tokens=prompt_tokens, context_length=length)
        if request.grammar is not None:
            grammar_check.check(request.grammar)
        wanted = request.sampling.max_tokens
        room = length - prompt_tokens
        if wanted == 0:  # llama.cpp would draw one
            for choice in range(request.n):
                yield TokensFinished(TokenStop.LENGTH, prompt_tokens, 0, 0, choice)
            return
        need = prompt_tokens + (room if wanted is None else min(wanted, room))
        at_once = min(self._options.slots, self._options.kv_pool_tokens // need)
        for first in range(0, request.n, at_once):
            choices = min(request.n - first, at_once)
            async with contextlib.aclosing(self._round(request, choices, first, need)) as events:
                async for event in events:
                    yield event

    @contextlib.asynccontextmanager
    async def connection(
        self, *, slots: int = 1, kv_tokens: int = 0, left_early: Callable[[], bool] = lambda: False
    ) -> AsyncGenerator[Link, None]:
        """The child, once `slots` of it and so many tokens of its KV cache are free; they are given back on leaving.

        Args:
            slots: of the child.
            kv_tokens: of its KV cache.
            left_early: asked on leaving: whether the child may still be at work, so that giving back waits for its end.

        Raises:
            Overloaded, Unavailable: no turn, no child.
            BackendDied, BackendTimeout, BackendStopped, BackendError, Unavailable: instead of any `HttpError` inside.
        """
        share = Share(slots, kv_tokens)
        await self._admission.enter(share)
        started_s = time.monotonic()
        link: Link | None = None
        finished = False
        try:
            link = await self._supervisor.connect()
            yield link
            finished = not left_early()
        except HttpError as error:
            assert link is not None  # noqa: S101 - only what goes through it raises this
            meaning = self._supervisor.broken(link, error)
            finished = link is not self._supervisor.link  # else it lives, and may still be at work on this
            raise meaning from error
        finally:
            if finished or link is None:
                self._admission.leave(share, held_s=time.monotonic() - started_s if finished else None)
            else:
                self._in_background(self._leave_when_free(share, link))

    def listen(self, link: Link, response: Response) -> AsyncIterator[bytes]:
        """The body of a child's answer; a child that stops in the middle of it is replaced.

        Raises:
            BackendTimeout: it did; and what `Response.body` raises.
        """
        return silence.listen(
            response.body(),
            limit_s=self._options.silence_timeout_s,
            hung=functools.partial(self._supervisor.hung, link),
        )

    async def _round(
        self, request: TokenRequest, choices: int, first: int, need: int
    ) -> AsyncGenerator[TokenEvent, None]:
        last: TokensFinished | None = None
        async with self.connection(slots=choices, kv_tokens=choices * need) as link:
            complaints = link.child.grammar_complaints
            stream = TokenStream(
                request, choices=choices, first=first, tokenize=functools.partial(self._tokenize, link)
            )
            async with self._launched_request(link, request, choices, first) as (launch, response):
                if response.status != 200:
                    raise wire.failure(response.status, await response.read())
                async for event in stream.events(self.listen(link, response)):
                    if request.grammar is not None and link.child.grammar_complaints != complaints:
                        raise BackendError("The model's engine gave up the grammar of this request. Send it again.")
                    if last is not None:
                        yield last
                        last = None
                    if isinstance(event, TokensFinished):
                        last = launch.corrected(event)  # held back, so that the child is free before the caller leaves
                    else:
                        yield event
                if stream.whole:
                    await response.read()
                if self._prefixes is not None and stream.slot >= 0:
                    self._prefixes.answered(launch, slot=stream.slot, cached_tokens=stream.cached_tokens)
        if last is not None:
            yield last

    @contextlib.asynccontextmanager
    async def _launched_request(
        self, link: Link, request: TokenRequest, choices: int, first: int
    ) -> AsyncGenerator[tuple[Launch, Response], None]:
        """The child's answer to a round of `request`, in the slot that has its prefix if that was restored."""
        launch = UNGUIDED if self._prefixes is None else await self._prefixes.launch(link, request, self.listen)
        try:
            body = wire.encode_request(
                request, choices=choices, first=first, context_length=self.context_length, slot=launch.slot
            )
            async with link.client.stream("POST", "/completion", headers=link.headers, body=body) as response:
                launch.begun()
                yield launch, response
        finally:
            launch.begun()

    async def _tokenize(self, link: Link, text: str) -> tuple[int, ...]:
        """llama-server withholds the ids of tokens that end within a character, and sends the text when it is whole.

        The ids of that text may be others than those drawn, but they spell the same.
        """
        body = msgspec.json.encode({"content": text, "add_special": False, "parse_special": False})
        status, answer = await link.client.request("POST", "/tokenize", headers=link.headers, body=body)
        return tuple(wire.decode_tokens(answer).tokens) if status == 200 else ()

    # --- what goes on beside the requests ---

    def _launched(self, link: Link) -> None:
        if self._prefixes is not None:
            self._prefixes.new_child()
        self._in_background(self._warm_up(link))

    async def _warm_up(self, link: Link) -> None:
        """Show llama.cpp a first grammar while nobody is there: everything stands still while it prepares for it."""
        with contextlib.suppress(HttpError):
            if self._prefixes is not None:
                await self._prefixes.look_ahead()
            await asyncio.sleep(_WARM_UP_AFTER_S)
            await self._admission.idle()
            if link is self._supervisor.link:
                async with self._launched_request(link, _WARM_UP, 1, 0) as (_, response):
                    await response.read()

    async def _leave_when_free(self, share: Share, link: Link) -> None:
        """Give `share` back when the child has really left it, which is when the batch it is in is computed.

        When that takes longer than loading took, and nobody else uses the child, it is replaced.
        """
        patience_s = max(_CANCEL_GRACE_S, link.loaded_in_s)
        try:
            async with asyncio.timeout(patience_s) as patience:
                while (
                    link is self._supervisor.link
                    and await slot_actions.computing(link) > self._admission.busy - share.slots
                ):
                    await asyncio.sleep(_SLOT_FREE_POLL_S)
                    if self._admission.busy > share.slots:
                        patience.reschedule(asyncio.get_running_loop().time() + patience_s)
        except TimeoutError:
            self._supervisor.replace(link, "a cancelled request did not stop, so its engine is being restarted")
        finally:
            self._admission.leave(share, held_s=None)

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
