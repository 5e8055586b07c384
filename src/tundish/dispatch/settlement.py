"""The end of a request: measured, counted, and put on record, exactly once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from tundish.core.events import Usage
from tundish.dispatch.journal import Journal
from tundish.dispatch.measure import DecayingMean
from tundish.dispatch.observer import Observer, RequestRecord
from tundish.ledger.receipt import Receipt
from tundish.routing.decision import Decision, Judgement
from tundish.routing.table import Deployment

_ENCODED_KEPT = 512
_NAME_CHARS = 200
DEFAULT_OUTPUT_TOKENS = 256
"""What an answer is taken to be long before any was measured."""


class ReceiptLog(Protocol):
    """Where receipts go."""

    @property
    def accepting(self) -> str | None:
        """None: requests may come; else why not, in one sentence."""
        ...

    def record(self, receipt: Receipt, salt: bytes) -> None:
        """Take a receipt; never waits and never raises."""
        ...


class Settlement:
    """Settles requests, and remembers how long each route's answers are."""

    def __init__(
        self, *, observer: Observer, receipts: ReceiptLog | None, model_hash: Callable[[str], str] | None = None
    ) -> None:
        """`model_hash`: a deployment's name → the SHA-256 of its weights, empty where they are not ours to know."""
        self.observer = observer
        self.receipts = receipts
        self._model_hash = model_hash
        self._output_tokens: dict[str, DecayingMean] = {}
        self._encoded: dict[int, tuple[tuple[Judgement, ...], msgspec.Raw]] = {}

    def expected_output_tokens(self, route: str, now_s: float) -> int:
        """How long an answer of this route is, by those before it."""
        measured = self._output_tokens.get(route)
        expected = None if measured is None else measured.value(now_s)
        return DEFAULT_OUTPUT_TOKENS if expected is None else max(1, round(expected))

    def settle(self, journal: Journal, now_s: float, *, observed: bool) -> None:
        """The request of `journal` is over. `observed`: whether the observer was told of its start."""
        usage, outcome = journal.usage, journal.outcome or "cancelled"
        if usage is not None and not journal.shadow_of:
            self._measure(journal.work.route, usage, now_s)
        answered = journal.table.deployments.get(journal.deployment)
        cost = _cost(journal, answered)
        if observed:
            first_s = journal.first_token_s
            self.observer.request_ended(
                RequestRecord(
                    model=journal.work.route,
                    outcome=outcome,
                    duration_s=now_s - journal.started_s,
                    time_to_first_token_s=None if first_s is None else first_s - journal.started_s,
                    usage=usage,
                    deployment=journal.deployment,
                    attempts=tuple(journal.attempts),
                    decision=journal.decision,
                    cost_nano_usd=cost,
                )
            )
        if self.receipts is not None:
            self.receipts.record(self._receipt(journal, answered, now_s, outcome, cost), journal.salt)

    def _measure(self, route: str, usage: Usage, now_s: float) -> None:
        measured = self._output_tokens.get(route)
        if measured is None:
            measured = self._output_tokens[route] = DecayingMean()
        measured.add(usage.completion_tokens, now_s)

    def _receipt(
        self, journal: Journal, answered: Deployment | None, now_s: float, outcome: str, cost: int | None
    ) -> Receipt:
        work, decision, label, usage = journal.work, journal.decision, journal.label, journal.usage
        table = journal.table
        route = table.routes.get(work.route)
        baseline = None
        if route is not None and route.baseline is not None:
            compared = table.deployments.get(route.baseline)
            baseline = cost if compared is answered else _cost(journal, compared)
        first_s = journal.first_token_s
        answer_digest = journal.answer_digest
        return Receipt(
            request_id=work.request_id,
            arrived_us=journal.arrived_us,
            surface=work.surface,
            key_id=work.caller.key_id,
            project=work.caller.project,
            route=work.route[:_NAME_CHARS],
            mode="" if decision is None else decision.mode,
            data_class="" if label is None else label.data_class,
            label_sources=() if label is None else label.sources,
            policy_version=table.policy.version,
            table_version=table.version,
            judged=msgspec.Raw(b"[]") if decision is None else self._judged(decision),
            attempts=tuple(journal.attempts),
            deployment=journal.deployment,
            place="" if answered is None else answered.place.name,
            model="" if answered is None else answered.model,
            model_hash=self._model_hash(journal.deployment) if self._model_hash and answered else "",
            outcome=outcome,
            prompt_tokens=None if usage is None else usage.prompt_tokens,
            completion_tokens=None if usage is None else usage.completion_tokens,
            cached_tokens=None if usage is None else usage.cached_tokens,
            cost_nano_usd=cost,
            baseline_nano_usd=baseline,
            duration_ms=round((now_s - journal.started_s) * 1000),
            first_token_ms=None if first_s is None else round((first_s - journal.started_s) * 1000),
            bytes_out=journal.bytes_out,
            request_digest=journal.request_digest,
            answer_digest="" if answer_digest is None else answer_digest.hexdigest(),
            shadow_of=journal.shadow_of,
        )

    def _judged(self, decision: Decision) -> msgspec.Raw:
        """As JSON; once for all the decisions that share their judgements."""
        judged = decision.judged
        kept = self._encoded.get(id(judged))
        if kept is not None and kept[0] is judged:
            return kept[1]
        encoded = msgspec.Raw(msgspec.json.encode(judged))
        if len(self._encoded) >= _ENCODED_KEPT:
            self._encoded.clear()
        self._encoded[id(judged)] = (judged, encoded)  # which keeps it alive, so that its id stays its own
        return encoded


def _cost(journal: Journal, deployment: Deployment | None) -> int | None:
    """What the request's tokens cost at that deployment's price; None when price or tokens are not known."""
    usage = journal.usage
    if deployment is None or deployment.price is None or usage is None or journal.unmetered:
        return None
    return deployment.price.cost_nano_usd(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.cached_tokens,
    )
