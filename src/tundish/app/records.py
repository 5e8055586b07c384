"""What outlives a request: its receipt, and the class of its conversation."""

from __future__ import annotations

import asyncio
import logging

from tundish.config.site import SiteConfig
from tundish.dispatch.conversations import Conversations
from tundish.dispatch.marks import SharedMarks
from tundish.dispatch.settlement import Settlement
from tundish.ledger.errors import LedgerUnavailable
from tundish.ledger.ledger import Ledger, OnProblem, Timing
from tundish.policy.policy import Policy
from tundish.settings import Settings
from tundish.store.conversations import ConversationStore
from tundish.store.database import Database

_log = logging.getLogger("tundish.records")

_DAY_S = 86_400.0


class Records:
    """Opened before the first request is taken, closed after the last one has ended."""

    def __init__(self, settings: Settings, database: Database, marks: SharedMarks | None = None) -> None:
        """`marks`: what the other processes of this endpoint know of conversations."""
        self._settings = settings
        self._database = database
        self._store: ConversationStore | None = None
        self.conversations = Conversations(on_use=self._used, shared=marks)
        self.ledger: Ledger | None = None
        """None before it is open, and where it could not be opened."""

    async def open(self, config: SiteConfig, settlement: Settlement) -> None:
        """Begin to keep them.

        A site that is configured does not start without its records. A single device does, and says so: its owner
        asked for an answer, not for an archive.

        Raises:
            LedgerUnavailable, StoreUnavailable, SigningKeyInvalid: they cannot be kept.
        """
        try:
            self.ledger = settlement.receipts = await asyncio.to_thread(self._open_ledger, config)
        except LedgerUnavailable as error:
            if config.path is not None:
                raise
            _log.error("There will be no receipts. %s", error)
        if config.path is None:
            return  # one place for all classes: nothing depends on what a conversation was
        rules = config.conversations
        store = ConversationStore(self._database, most=rules.most, keep_s=rules.keep_days * _DAY_S)
        self.conversations.bound(limit=rules.most, keep_s=rules.keep_days * _DAY_S)
        remembered = await asyncio.to_thread(store.load)
        self.conversations.restore((key, _highest(config.policy, classes)) for key, classes in remembered.items())
        store.start()
        self._store = store

    def follow(self, config: SiteConfig) -> None:
        """Another configuration is in force: how many conversations are remembered, and for how long."""
        rules = config.conversations
        if self._store is not None:
            self.conversations.bound(limit=rules.most, keep_s=rules.keep_days * _DAY_S)
            self._store.bound(most=rules.most, keep_s=rules.keep_days * _DAY_S)

    async def close(self) -> None:
        """Keep what is still on its way, and let go. Raises nothing."""
        if self._store is not None:
            await asyncio.to_thread(self._store.close)
        if self.ledger is not None:
            await asyncio.to_thread(self.ledger.close)

    def _open_ledger(self, config: SiteConfig) -> Ledger:
        rules = config.receipts
        refuses = rules.when_unwritable.value if config.path is not None else OnProblem.CONTINUE.value
        return Ledger.open(
            self._settings.data_dir / "receipts",
            on_problem=OnProblem(refuses),
            timing=Timing(flush_s=rules.flush_interval_s, seal_s=rules.sync_interval_s),
        )

    def _used(self, conversation: str, data_class: str) -> None:
        if self._store is not None:
            self._store.remember(conversation, data_class)


def _highest(policy: Policy, classes: tuple[str, ...]) -> str:
    """A class that the policy does not know stays: it counts as the highest wherever it is met."""
    unknown = [name for name in classes if name not in policy.classes]
    return unknown[0] if unknown else max(classes, key=policy.classes.index)
