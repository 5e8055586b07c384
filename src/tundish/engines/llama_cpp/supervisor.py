"""A child's life: started, watched, replaced when it dies, ended."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import random
import secrets
import time
from collections.abc import Callable, Mapping

from tundish.core.backend import Health
from tundish.core.errors import (
    BackendDied,
    BackendError,
    BackendStopped,
    BackendTimeout,
    ModelLoadFailed,
    TundishError,
    Unavailable,
)
from tundish.engines.llama_cpp.child import ChildOptions
from tundish.engines.llama_cpp.load_progress import LoadProgress
from tundish.engines.llama_cpp.options import EngineOptions
from tundish.engines.llama_cpp.process import ChildProcess
from tundish.http.client import HttpClient, Origin, Timeouts
from tundish.http.errors import ConnectFailed, ConnectionLost, HttpError, ResponseTimeout

_log = logging.getLogger("tundish.engines.llama_cpp")

_WAIT_FOR_RESTART_S = 10.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One living child and the way to it."""

    child: ChildProcess
    client: HttpClient
    headers: Mapping[str, str]
    """What opens it: its key is made for this one start."""
    loaded_in_s: float


class Supervisor:
    """Keeps one child alive."""

    def __init__(self, options: EngineOptions, *, launched: Callable[[Link], None] = lambda link: None) -> None:
        """`launched` is told of each child when it is ready."""
        self._launched = launched
        self._options = options
        self._policy = options.restart
        self._link: Link | None = None
        self._changed = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = False
        self._replacing = ""
        self.health = Health.STOPPED
        self.detail = "not started"
        self.restarts = 0
        self.progress = LoadProgress(options.resident_bytes)

    @property
    def link(self) -> Link | None:
        """The child now; None while there is none."""
        return self._link

    async def start(self) -> None:
        """Start the first child.

        Raises:
            ModelLoadFailed: it does not load, with the reason.
            BackendStopped: `stop` came before it was loaded.
        """
        self._stopping = False
        self._set_health(Health.STARTING, "loading the model")
        loaded = asyncio.get_running_loop().create_future()

        def ended(_: asyncio.Task[None]) -> None:
            if not loaded.done():
                loaded.set_exception(BackendStopped("This model was stopped while it was being loaded."))

        self._keeper = asyncio.create_task(self._keep(loaded))
        self._keeper.add_done_callback(ended)
        try:
            await loaded
        except asyncio.CancelledError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the child; what waits for it or works on it raises BackendStopped."""
        self._stopping = True
        self._set_health(Health.STOPPED, "stopped")
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeper

    async def connect(self) -> Link:
        """The child; one that is being restarted is waited for, within reason.

        Raises:
            BackendStopped, Unavailable: there is none.
        """
        if self._link is None and self.health is Health.RESTARTING:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WAIT_FOR_RESTART_S):
                    while self._link is None and self.health is Health.RESTARTING:
                        await self._changed.wait()
        if self._link is not None:
            return self._link
        if self._stopping:
            raise BackendStopped("This model was stopped.")
        raise Unavailable(f"This model cannot be used now: {self.detail}.", retry_after_s=self._policy.limit_s / 6)

    def replace(self, link: Link, reason: str) -> None:
        """End this child on purpose and start another at once; it does not count as a death."""
        if link is self._link:
            self._replacing = reason
            self._give_up(link, reason)

    def hung(self, link: Link) -> None:
        """Replace a child that says nothing any more."""
        self.replace(link, "the engine hung and is being restarted")

    def broken(self, link: Link, error: HttpError) -> TundishError:
        """What a broken connection to `link`'s child means to the request that it carried.

        Only what the child itself did ends it: when it is we who have no socket left or will not read so long an
        answer, it still works for others.
        """
        if self._stopping:
            return BackendStopped("The endpoint is shutting down and ended this answer.")
        if isinstance(error, ResponseTimeout):
            self.hung(link)
            return BackendTimeout(
                f"The model's engine said nothing for {self._options.silence_timeout_s:g} s and is being restarted. "
                "Send the request again."
            )
        if not isinstance(error, ConnectionLost) and link.child.alive:
            if isinstance(error, ConnectFailed):
                return Unavailable(f"The model's engine cannot be reached now: {error.message} Send the request again.")
            return BackendError(f"The answer of the model's engine cannot be read: {error.message}")
        self._give_up(link, "the engine ended and is being restarted")
        return BackendDied(
            "The model's engine ended while it worked on this and is being restarted. Send the request again."
        )

    def _give_up(self, link: Link, reason: str) -> None:
        """Nobody is sent to this child any more. It is dead or about to be: the keeper is told by its end."""
        if link is self._link and not self._stopping:
            self._link = None
            self._set_health(Health.RESTARTING, reason)
            link.child.kill()

    async def _keep(self, loaded: asyncio.Future[None]) -> None:
        """Launch a child, and another whenever one dies."""
        try:
            link = await self._launch()
        except ModelLoadFailed as error:
            self._set_health(Health.FAILED, error.message)
            if not loaded.done():
                loaded.set_exception(error)
            return
        if not loaded.done():
            loaded.set_result(None)
        deaths = 0
        while True:
            born_s = time.monotonic()
            try:
                code = await link.child.ended()
            finally:
                self._link = None
                link.client.close()
                await link.child.end()
            reason, self._replacing = self._replacing, ""
            if reason:
                deaths = 0
            else:
                deaths = 1 if time.monotonic() - born_s > self._policy.stable_after_s else deaths + 1
                reason = f"the engine ended and is being restarted ({link.child.death(code)})"
                _log.warning("%s: %s", self._options.model_path.name, reason)
            link, deaths = await self._relaunch(deaths, reason)

    async def _relaunch(self, deaths: int, reason: str) -> tuple[Link, int]:
        """Another child, and how many young deaths there have been by then."""
        while True:
            if deaths > self._policy.deaths_allowed:
                self._set_health(Health.FAILED, f"the engine died {deaths} times in a row; the last time, {reason}")
            else:
                self._set_health(Health.RESTARTING, reason)
            if deaths:
                await asyncio.sleep(self._policy.delay_s(deaths) * random.uniform(0.5, 1.0))
            self.restarts += 1
            try:
                return await self._launch(), deaths
            except ModelLoadFailed as error:
                deaths += 1
                reason = error.message
                _log.warning("%s: the engine cannot be restarted: %s", self._options.model_path.name, reason)

    async def _launch(self) -> Link:
        options = self._options
        key = secrets.token_urlsafe(32)
        started_s = time.monotonic()
        try:
            child = await ChildProcess.spawn(
                ChildOptions(
                    model_path=str(options.model_path),
                    api_key=key,
                    context_length=options.context_length,
                    kv_pool_tokens=options.kv_pool_tokens,
                    slots=options.slots,
                    batch_tokens=options.batch_tokens,
                    threads=options.threads,
                    gpu_layers=options.gpu_layers,
                    prompt_cache_mib=options.prompt_cache_mib,
                    kv_type=options.kv_type,
                    repack=options.repack,
                    chat_template=options.chat_template,
                    slot_folder="" if options.slot_folder is None else f"{options.slot_folder}/",
                ),
                timeout_s=options.load_timeout_s,
                started=self.progress.begin,
            )
        finally:
            self.progress.end()
        silence_s = options.silence_timeout_s
        client = HttpClient(
            Origin.of(child.url),
            timeouts=Timeouts(connect_s=10.0, first_byte_s=silence_s),  # between bytes, silence.listen waits
        )
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        link = Link(child=child, client=client, headers=headers, loaded_in_s=time.monotonic() - started_s)
        self._link = link
        self._set_health(Health.READY, "")
        self._launched(link)
        return link

    def _set_health(self, health: Health, detail: str) -> None:
        self.health, self.detail = health, detail
        self._changed.set()
        self._changed = asyncio.Event()
