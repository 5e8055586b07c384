"""A model file as a backend: its header is checked, its fit computed, then it runs in a child process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from tundish.catalog import fit, gguf
from tundish.catalog.fit.plan import Plan, Wishes
from tundish.catalog.gguf.facts import GgufFacts
from tundish.core.backend import Backend, BackendStatus, Capabilities, Health
from tundish.core.clock import Clock
from tundish.core.errors import TundishError, Unavailable
from tundish.core.events import GenerationEvent
from tundish.core.request import CompletionRequest, Request
from tundish.engines import hardware
from tundish.engines.gpt_oss import GptOssBackend
from tundish.engines.llama_cpp.engine import EngineOptions, LlamaCppEngine
from tundish.engines.llama_cpp.template import TemplateBackend

_log = logging.getLogger("tundish.engines")


class LocalModel:
    """A `Backend` that knows what it runs when it starts: gpt-oss through harmony, others through their template."""

    def __init__(
        self,
        *,
        name: str,
        find: Callable[[], Path],
        wishes: Wishes,
        queue_limit: int,
        load_timeout_s: float,
        clock: Clock,
    ) -> None:
        """
        Args:
            name: what clients call it; for the log.
            find: gives the GGUF; may take seconds and raise any TundishError.
            wishes: what the owner wants of context, slots, threads and GPU.
            queue_limit: requests that may wait for a slot.
            load_timeout_s: seconds that loading may take.
            clock: the current date, which gpt-oss is told.
        """
        self._name = name
        self._find = find
        self._wishes = wishes
        self._queue_limit = queue_limit
        self._load_timeout_s = load_timeout_s
        self._clock = clock
        self._backend: Backend | None = None
        self._before = BackendStatus(health=Health.STARTING, detail="loading the model")

    @property
    def capabilities(self) -> Capabilities:
        return self._running().capabilities

    def status(self) -> BackendStatus:
        return self._before if self._backend is None else self._backend.status()

    def generate(self, request: Request) -> AsyncGenerator[GenerationEvent, None]:
        return self._running().generate(request)

    def complete(self, request: CompletionRequest) -> AsyncGenerator[GenerationEvent, None]:
        return self._running().complete(request)

    async def start(self) -> None:
        try:
            backend = self._built(*await asyncio.to_thread(self._prepare))
            try:
                await backend.start()
            except BaseException:  # its child may run already, and nobody else knows of it
                await backend.stop()
                raise
        except TundishError as error:
            self._before = BackendStatus(health=Health.FAILED, detail=error.message)
            raise
        self._backend = backend

    async def stop(self) -> None:
        if self._backend is not None:
            await self._backend.stop()
        else:
            self._before = BackendStatus(health=Health.STOPPED, detail="stopped")

    def _running(self) -> Backend:
        if self._backend is None:
            raise Unavailable(f"The model '{self._name}' cannot be used now: {self._before.detail}.", retry_after_s=2.0)
        return self._backend

    def _prepare(self) -> tuple[Path, GgufFacts, Plan]:
        path = self._find()
        facts = gguf.read(path)
        plan = fit.plan(facts, hardware.snapshot(), self._wishes)
        _log.info("%s: %s", self._name, plan.reason)
        return path, facts, plan

    def _built(self, path: Path, facts: GgufFacts, plan: Plan) -> Backend:
        engine = LlamaCppEngine(
            EngineOptions(
                model_path=path,
                context_length=plan.context_length,
                slots=plan.slots,
                queue_limit=self._queue_limit,
                batch_tokens=plan.batch_tokens,
                threads=plan.threads,
                gpu_layers=plan.gpu_layers,
                prompt_cache_mib=plan.prompt_cache_mib,
                kv_type=plan.kv_type,
                repack=plan.repack,
                chat_template=not facts.is_gpt_oss,
                load_timeout_s=self._load_timeout_s,
            )
        )
        return GptOssBackend(engine, clock=self._clock) if facts.is_gpt_oss else TemplateBackend(engine)
