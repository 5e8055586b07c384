"""What happened to one request so far; at its end it becomes the receipt."""

from __future__ import annotations

from tundish.core.events import Usage
from tundish.core.randomness import random_bytes
from tundish.dispatch.labels import Opening
from tundish.dispatch.work import Work
from tundish.ledger.digest import SALT_BYTES, SaltedDigest
from tundish.ledger.receipt import Attempt
from tundish.policy.label import Label
from tundish.routing.decision import Decision
from tundish.routing.table import RoutingTable

_DETAIL_CHARS = 300


class Journal:
    """Mutable, and of one request only. Times are monotonic seconds."""

    __slots__ = (
        "answer_digest",
        "arrived_us",
        "attempts",
        "bytes_out",
        "decision",
        "deployment",
        "first_token_s",
        "label",
        "opening",
        "outcome",
        "request_digest",
        "salt",
        "shadow_of",
        "started_s",
        "table",
        "unmetered",
        "usage",
        "work",
    )

    def __init__(self, work: Work, table: RoutingTable, *, started_s: float, arrived_us: int, digests: bool) -> None:
        self.work = work
        self.table = table
        self.started_s = started_s
        self.arrived_us = arrived_us
        self.label: Label | None = None
        self.opening: Opening | None = None
        """Of a conversation whose class has to be remembered by its first answer."""
        self.decision: Decision | None = None
        self.attempts: list[Attempt] = []
        self.deployment = ""
        """Who answers, since its first event; the last one when several did."""
        self.first_token_s: float | None = None
        self.usage: Usage | None = None
        self.unmetered = False
        """Whether a deployment has generated something that it never counted for us."""
        self.outcome: str | None = None
        self.bytes_out = 0
        self.shadow_of = ""
        self.salt = b""
        self.request_digest = ""
        """Hexadecimal; empty without digests."""
        self.answer_digest: SaltedDigest | None = None
        if digests:
            self.salt = random_bytes(SALT_BYTES)
            self.answer_digest = SaltedDigest(self.salt)
            self.request_digest = self.answer_digest.beside(work.body)

    def wrote(self, data: bytes) -> None:
        """Bytes of the answer are about to go to the client."""
        if self.opening is not None:
            self.opening.giving(data)
        self.bytes_out += len(data)
        if self.answer_digest is not None:
            self.answer_digest.update(data)

    def began(self, deployment: str, now_s: float) -> None:
        """A deployment has begun to answer."""
        self.deployment = deployment
        if self.first_token_s is None:
            self.first_token_s = now_s

    def attempted(
        self, deployment: str, outcome: str, *, began_s: float, ended_s: float, first_s: float | None, detail: str = ""
    ) -> None:
        """An attempt is over."""
        found = self.table.deployments.get(deployment)
        self.attempts.append(
            Attempt(
                deployment=deployment,
                place="" if found is None else found.place.name,
                outcome=outcome,
                started_ms=self._ms(began_s),
                ended_ms=self._ms(ended_s),
                first_token_ms=None if first_s is None else self._ms(first_s),
                bytes_sent=len(self.work.body),
                detail=detail[:_DETAIL_CHARS],
            )
        )

    def _ms(self, at_s: float) -> int:
        return round((at_s - self.started_s) * 1000)
