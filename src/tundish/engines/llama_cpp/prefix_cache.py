"""Warm prefixes: what many requests begin with is saved, and restored for each that has nothing better to begin with.

A prefix (system and developer message, tools) is saved when it is used the second time. That request is computed in
two steps, the prefix first, and llama.cpp writes the state down between them: nothing is computed twice, and nothing
is computed for nobody. From then on each new conversation gets it from disk, in the slot that is missed least: after a
restart, beside others that run, and without writing over what llama.cpp holds of another conversation. One that goes
on is left to llama.cpp, whose caches know all of it.
"""

from __future__ import annotations

import asyncio
import collections
import logging
from collections.abc import Collection, Coroutine, Sequence

from tundish.core.tokens import TokenRequest
from tundish.engines.llama_cpp import slot_actions
from tundish.engines.llama_cpp.launch import Launch
from tundish.engines.llama_cpp.launch_gate import LaunchGate
from tundish.engines.llama_cpp.prefix_entry import Entry, name_of, packed
from tundish.engines.llama_cpp.prefix_store import PrefixStore
from tundish.engines.llama_cpp.prompt_memory import PromptMemory
from tundish.engines.llama_cpp.slot_actions import ANY_SLOT, Listen
from tundish.engines.llama_cpp.slot_order import SlotOrder
from tundish.engines.llama_cpp.supervisor import Link

_log = logging.getLogger("tundish.engines.prefixes")

MIN_TOKENS = 256
"""Shorter prefixes are computed sooner than they are worth a file."""
_BEYOND_TOKENS = 5
"""Computed after a prefix, so that llama.cpp keeps a checkpoint of its sliding windows exactly where it ends."""
_TOLERANCE_TOKENS = 8
"""Fewer reused than promised by more than this means that a state is not what it should be."""
_USES_REMEMBERED = 4096
_RETRY_AFTER_USES = 32
_FAILURES = 3
"""Of saving in a row, after which it is given up."""


class PrefixCache:
    """What one engine saves and restores."""

    def __init__(self, store: PrefixStore, *, slots: int, moves_idle_slots: bool, min_tokens: int = MIN_TOKENS) -> None:
        """
        Args:
            store: where it is kept.
            slots: of the child.
            moves_idle_slots: whether llama.cpp has a cache in memory to which it moves what idle slots hold.
            min_tokens: shorter prefixes are not saved.
        """
        self._store = store
        self._min_tokens = min_tokens
        self._gate = LaunchGate()
        self._slots = SlotOrder(slots, moved_when_idle=moves_idle_slots)
        self._prompts = PromptMemory(moved_when_idle=moves_idle_slots)
        self._uses: collections.OrderedDict[str, int] = collections.OrderedDict()
        self._failures = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Learn what is saved.

        Raises:
            OSError: the folder cannot be used.
        """
        await asyncio.to_thread(self._store.open)

    async def close(self) -> None:
        """Wait for what is being written."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def new_child(self) -> None:
        """What the last child had is gone."""
        self._prompts.clear()
        self._slots.clear()

    async def look_ahead(self) -> None:
        """Read and check the most used prefix, so that the first request need not."""
        for entry in self._store.entries[:1]:
            await asyncio.to_thread(self._store.usable, entry)

    async def launch(self, link: Link, request: TokenRequest, listen: Listen) -> Launch:
        """Restore or save what `request` begins with, where that helps. Raises HttpError, and as `listen` does."""
        if request.prefix_tokens < self._min_tokens:
            return await self._together(Launch(self._gate.leave))
        ids = packed(request.prompt)
        entry = self._store.longest(ids[: request.prefix_tokens * 4])
        if entry is not None:
            usable = await asyncio.to_thread(self._store.usable, entry)
            if usable is not None:
                return await self._restoring(link, usable, ids)
            self._uses[entry.name] = 1  # and now it is used the second time
        name = name_of(memoryview(ids)[: request.prefix_tokens * 4])
        if self._count(name) == 2 and self._failures < _FAILURES:
            return await self._saving(link, request, ids, name, listen)
        return await self._together(Launch(self._gate.leave, ids=ids))

    def answered(self, launch: Launch, *, slot: int, cached_tokens: int) -> None:
        """The child has told what it reused, and where."""
        self._slots.holds(slot)
        self._prompts.computed(slot, launch.ids)
        entry = launch.entry
        if entry is None:
            return
        if launch.restored and cached_tokens < entry.tokens - _TOLERANCE_TOKENS:
            self._aside(asyncio.to_thread(self._store.drop, entry, f"only {cached_tokens} of it were reused"))
        else:
            self._aside(asyncio.to_thread(self._store.used, entry))

    # --- the ways to launch ---

    async def _together(self, launch: Launch) -> Launch:
        await self._gate.enter()
        self._slots.launched()
        return launch

    async def _restoring(self, link: Link, entry: Entry, ids: bytes) -> Launch:
        await self._gate.enter(alone=True)
        launch = Launch(lambda: self._gate.leave(alone=True), ids=ids, entry=entry)
        try:
            idle = await slot_actions.idle_slots(link)
            if not self._prompts.continues(ids, beyond_tokens=entry.tokens, idle=idle):
                launch.slot = await self._restored(link, entry, idle)
                launch.restored = launch.slot != ANY_SLOT
        except BaseException:
            launch.begun()
            raise
        self._slots.launched()
        return launch

    async def _restored(self, link: Link, entry: Entry, idle: Collection[int]) -> int:
        """The slot that has the prefix now, of those that are `idle`; ANY_SLOT when none has."""
        slot = self._slots.least_useful(idle)
        if slot is None:
            return ANY_SLOT
        if self._slots.would_lose(slot):
            await slot_actions.make_it_move(link, slot)
        self._prompts.replaced(slot)
        if await slot_actions.restore(link, slot, f"{entry.name}.kv"):
            return slot
        # A whole file that llama.cpp does not take is of no use; without room for it, it is computed anew and soon.
        await asyncio.to_thread(self._store.drop, entry, "llama.cpp refuses it")
        return ANY_SLOT

    async def _saving(self, link: Link, request: TokenRequest, ids: bytes, name: str, listen: Listen) -> Launch:
        prefix = list(request.prompt[: request.prefix_tokens])
        state = prefix + [request.prompt[len(prefix)]] * _BEYOND_TOKENS
        await self._together(first := Launch(self._gate.leave))
        try:
            computed = await slot_actions.compute(link, state, begun=first.begun, listen=listen)
        finally:
            first.begun()
        await self._gate.enter(alone=True)
        launch = Launch(lambda: self._gate.leave(alone=True), ids=ids)
        try:
            if computed is not None:
                launch.cached_tokens = computed.cached_tokens
                draft = self._store.new_draft()
                saved = await slot_actions.save(link, computed.slot, draft)
                if saved == len(state):
                    launch.slot = computed.slot
                    self._aside(self._adopt(draft, state, len(prefix), name))
                elif saved is None:
                    self._aside(self._failed(draft, "llama.cpp could not write it"))
                else:  # the slot was given to somebody else meanwhile
                    self._aside(self._unsaved(draft, name))
        except BaseException:
            launch.begun()
            raise
        self._slots.launched()
        return launch

    def _count(self, name: str) -> int:
        self._uses[name] = uses = self._uses.pop(name, 0) + 1
        while len(self._uses) > _USES_REMEMBERED:
            self._uses.popitem(last=False)
        return uses

    # --- beside the requests ---

    async def _adopt(self, draft: str, state: Sequence[int], tokens: int, name: str) -> None:
        try:
            entry = await asyncio.to_thread(self._store.adopt, draft, state, tokens)
        except OSError as error:
            await self._failed(draft, error.strerror or str(error))
            return
        if entry is None:
            await self._unsaved(draft, name)
            return
        self._failures = 0
        _log.info("a prefix of %d tokens is saved (%d bytes)", tokens, entry.file_bytes)

    async def _unsaved(self, draft: str, name: str) -> None:
        """Nothing is wrong, but it is not saved; that is tried again, and not soon."""
        self._uses[name] = 2 - _RETRY_AFTER_USES
        await asyncio.to_thread(self._store.discard, draft)

    async def _failed(self, draft: str, reason: str) -> None:
        """Make room for the next one; where there is none to be made, saving ends."""
        await asyncio.to_thread(self._store.discard, draft)
        made = await asyncio.to_thread(self._store.make_room)
        self._failures = self._failures + 1 if made else _FAILURES
        ends = "; no more are saved until the model is loaded again" if self._failures >= _FAILURES else ""
        _log.warning("a prefix could not be saved: %s%s", reason, ends)

    def _aside(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
