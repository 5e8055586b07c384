"""A model file as a backend: its header is checked, its fit computed, then it runs in a child process."""

from __future__ import annotations

import asyncio
import dataclasses
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
from tundish.engines.llama_cpp import prefix_files
from tundish.engines.llama_cpp.engine import EngineOptions, LlamaCppEngine
from tundish.engines.llama_cpp.model_fingerprint import fingerprint
from tundish.engines.llama_cpp.prefix_cache import PrefixCache
from tundish.engines.llama_cpp.prefix_store import PrefixStore
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
        prefix_folder: Path | None = None,
        prefix_cache_bytes: int = 0,
    ) -> None:
        """
        Args:
            name: what clients call it; for the log.
            find: gives the GGUF; may take seconds and raise any TundishError.
            wishes: what the owner wants of context, slots, threads and GPU.
            queue_limit: requests that may wait for a slot.
            load_timeout_s: seconds that loading may take.
            clock: the current date, which gpt-oss is told.
            prefix_folder: where the states of prefixes are kept that many requests begin with; None keeps none.
            prefix_cache_bytes: what that folder may take; with 0, what is in it is erased.
        """
        self._name = name
        self._find = find
        self._wishes = wishes
        self._queue_limit = queue_limit
        self._load_timeout_s = load_timeout_s
        self._clock = clock
        self._prefix_folder = prefix_folder
        self._prefix_cache_bytes = prefix_cache_bytes
        self._starting: Backend | None = None
        self._backend: Backend | None = None
        self._before = BackendStatus(health=Health.STARTING, detail="loading the model")

    @property
    def capabilities(self) -> Capabilities:
        return self._running().capabilities

    def status(self) -> BackendStatus:
        if self._backend is not None:
            return self._backend.status()
        if self._starting is not None:
            return dataclasses.replace(self._before, load_progress=self._starting.status().load_progress)
        return self._before

    def generate(self, request: Request) -> AsyncGenerator[GenerationEvent, None]:
        return self._running().generate(request)

    def complete(self, request: CompletionRequest) -> AsyncGenerator[GenerationEvent, None]:
        return self._running().complete(request)

    async def start(self) -> None:
        try:
            backend = await asyncio.to_thread(self._prepare)
            self._starting = backend
            try:
                await backend.start()
            except BaseException:  # its child may run already, and nobody else knows of it
                await backend.stop()
                raise
            finally:
                self._starting = None
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

    def _prepare(self) -> Backend:
        path = self._find()
        facts = gguf.read(path)
        plan = fit.plan(facts, hardware.snapshot(), self._wishes)
        _log.info("%s: %s", self._name, plan.reason)
        return self._built(path, facts, plan)

    def _built(self, path: Path, facts: GgufFacts, plan: Plan) -> Backend:
        options = EngineOptions(
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
            resident_bytes=_loaded_bytes(plan),
        )
        if not facts.is_gpt_oss:
            return TemplateBackend(LlamaCppEngine(options))
        return GptOssBackend(self._with_prefixes(options), clock=self._clock)

    def _with_prefixes(self, options: EngineOptions) -> LlamaCppEngine:
        if self._prefix_folder is None:
            return LlamaCppEngine(options)
        if self._prefix_cache_bytes == 0:
            prefix_files.erase(self._prefix_folder)
            return LlamaCppEngine(options)
        try:
            model = fingerprint(options)
        except OSError as error:  # the child will say what is wrong with the file
            _log.warning("%s: no prefixes are kept: %s", self._name, error)
            return LlamaCppEngine(options)
        store = PrefixStore(self._prefix_folder, model, limit_bytes=self._prefix_cache_bytes)
        prefixes = PrefixCache(store, slots=options.slots, moves_idle_slots=options.prompt_cache_mib > 0)
        return LlamaCppEngine(dataclasses.replace(options, slot_folder=store.folder), prefixes=prefixes)


def _loaded_bytes(plan: Plan) -> int | None:
    """What is in main memory once the model is loaded: caches and buffers come with the requests that fill them."""
    need = plan.need
    return None if plan.gpu_bytes else need.weights + need.repacked + need.engine
