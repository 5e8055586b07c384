"""What Prometheus scrapes. Labels are bounded: models that are served, routes of the table, codes of our errors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from tundish.api.tallies import Cell, Series, Spread, Tally
from tundish.core.backend import BackendStatus, Health
from tundish.dispatch.dispatcher import RequestRecord
from tundish.routing.table import Circuit

_LATENCY_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_OUTCOMES_LIMIT = 64
_METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _OfModel:
    """What each request of a model counts up."""

    running: Cell
    duration_s: Series
    first_token_s: Series
    prompt: Cell
    cached: Cell
    completion: Cell
    reasoning: Cell


class Metrics:
    """Observes requests as they end; looks at backends and connections when scraped. Has a registry of its own."""

    def __init__(self, *, worker: int | None = None) -> None:
        """`worker`: which of several processes this is: a label on each sample."""
        self._worker = worker
        self.registry = registry = CollectorRegistry()
        self._outcomes: set[str] = set()
        self._models: dict[str, _OfModel] = {}
        self._http_cells: dict[tuple[str, str, int], Cell] = {}
        self._requests = Tally(
            "tundish_requests", "Generations that ended, by outcome.", ["model", "outcome"], registry
        )
        self._running = Tally("tundish_requests_running", "Generations now.", ["model"], registry, gauge=True)
        self._duration_s = Spread(
            "tundish_request_duration_seconds",
            "From dispatch to the last event.",
            "model",
            registry,
            buckets=_LATENCY_S,
        )
        self._first_token_s = Spread(
            "tundish_time_to_first_token_seconds",
            "From dispatch to the first event, waiting for a slot included.",
            "model",
            registry,
            buckets=_LATENCY_S,
        )
        self._tokens = Tally(
            "tundish_tokens",
            "Tokens of finished generations; cached ones are part of prompt, reasoning ones of completion.",
            ["model", "kind"],
            registry,
        )
        self._attempts = Tally(
            "tundish_attempts",
            "Tries at a deployment that ended, by outcome; several of one request when it failed over.",
            ["deployment", "outcome"],
            registry,
        )
        self._failovers = Tally("tundish_failovers", "Requests that were tried more than once.", ["model"], registry)
        self._refusals = Tally(
            "tundish_refusals",
            "Requests that nobody might answer, by the constraints that left nobody.",
            ["model", "constraint"],
            registry,
        )
        self._cost_usd = Tally(
            "tundish_cost_usd", "What answers have cost, where price and tokens are known.", ["deployment"], registry
        )
        self._http_requests = Tally(
            "tundish_http_requests",
            "HTTP requests answered; status 499 is a client that went away before.",
            ["route", "method", "status"],
            registry,
        )
        ProcessCollector(registry=registry)

    def watch_backends(self, status: Callable[[], Mapping[str, BackendStatus]]) -> None:
        """Show the state of every backend."""
        self.registry.register(_Backends(status))

    def watch_circuits(self, circuits: Callable[[], Mapping[str, Circuit]]) -> None:
        """Show the circuit of every configured deployment."""
        self.registry.register(_Circuits(circuits))

    def watch_connections(self, count: Callable[[], int]) -> None:
        """Show how many connections are open."""
        Gauge("tundish_http_connections", "Open HTTP connections.", registry=self.registry).set_function(count)

    def request_started(self, model: str) -> None:
        self._of_model(model).running.value += 1

    def request_ended(self, record: RequestRecord) -> None:
        seen, usage = self._of_model(record.model), record.usage
        seen.running.value -= 1
        self._requests.cell(record.model, self._bounded(record.outcome)).value += 1
        seen.duration_s.observe(record.duration_s)
        if record.time_to_first_token_s is not None:
            seen.first_token_s.observe(record.time_to_first_token_s)
        if usage is not None:
            seen.prompt.value += usage.prompt_tokens
            seen.cached.value += usage.cached_tokens
            seen.completion.value += usage.completion_tokens
            seen.reasoning.value += usage.reasoning_tokens
        for attempt in record.attempts:
            self._attempts.cell(attempt.deployment, self._bounded(attempt.outcome)).value += 1
        if len(record.attempts) > 1:
            self._failovers.cell(record.model).value += 1
        if record.decision is not None and not record.decision.order:
            for constraint in {judged.refusal.constraint for judged in record.decision.judged if judged.refusal}:
                self._refusals.cell(record.model, constraint).value += 1
        if record.cost_nano_usd:
            self._cost_usd.cell(record.deployment).value += record.cost_nano_usd / 1e9

    def http_request_ended(self, route: str, method: str, status: int) -> None:
        """An HTTP request is over, one way or another."""
        if method not in _METHODS:
            method = "other"
        cell = self._http_cells.get((route, method, status))
        if cell is None:
            cell = self._http_cells[route, method, status] = self._http_requests.cell(route, method, str(status))
        cell.value += 1

    def _of_model(self, model: str) -> _OfModel:
        found = self._models.get(model)
        if found is None:
            tokens = self._tokens
            found = self._models[model] = _OfModel(
                running=self._running.cell(model),
                duration_s=self._duration_s.series(model),
                first_token_s=self._first_token_s.series(model),
                prompt=tokens.cell(model, "prompt"),
                cached=tokens.cell(model, "cached"),
                completion=tokens.cell(model, "completion"),
                reasoning=tokens.cell(model, "reasoning"),
            )
        return found

    def exposition(self, accept: str) -> tuple[str, bytes]:
        """Content type and text, in the format that the scraper prefers."""
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self.registry if self._worker is None else _OfWorker(self.registry, self._worker))

    def _bounded(self, outcome: str) -> str:
        """Codes come from errors, and one day from other servers' errors."""
        if outcome not in self._outcomes:
            if len(self._outcomes) >= _OUTCOMES_LIMIT:
                return "other"
            self._outcomes.add(outcome)
        return outcome


class _OfWorker(CollectorRegistry):
    """Another registry's families, with one label more on each sample."""

    def __init__(self, of: CollectorRegistry, worker: int) -> None:
        super().__init__()
        self._of = of
        self._label = {"worker": str(worker)}

    def collect(self) -> Iterator[Metric]:
        for family in self._of.collect():
            family.samples = [sample._replace(labels={**sample.labels, **self._label}) for sample in family.samples]
            yield family


class _Backends(Collector):
    """Asks the backends when it is scraped."""

    def __init__(self, status: Callable[[], Mapping[str, BackendStatus]]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        ready = GaugeMetricFamily("tundish_backend_ready", "1 when requests can be served.", labels=["model"])
        slots = GaugeMetricFamily("tundish_backend_slots", "Generations at the same time.", labels=["model"])
        busy = GaugeMetricFamily("tundish_backend_slots_busy", "Slots in use.", labels=["model"])
        queued = GaugeMetricFamily("tundish_backend_queued", "Requests that wait for a slot.", labels=["model"])
        restarts = CounterMetricFamily("tundish_backend_restarts", "Restarts after a death.", labels=["model"])
        for model, status in self._status().items():
            ready.add_metric([model], float(status.health is Health.READY))
            slots.add_metric([model], status.slots)
            busy.add_metric([model], status.slots_busy)
            queued.add_metric([model], status.queued)
            restarts.add_metric([model], status.restarts)
        yield from (ready, slots, busy, queued, restarts)


class _Circuits(Collector):
    """Asks the circuits when it is scraped."""

    def __init__(self, circuits: Callable[[], Mapping[str, Circuit]]) -> None:
        self._circuits = circuits

    def collect(self) -> Iterator[Metric]:
        opened = GaugeMetricFamily("tundish_circuit_open", "1 when it is open, 0.5 half open.", labels=["deployment"])
        for deployment, circuit in self._circuits().items():
            opened.add_metric([deployment], _OPEN[circuit])
        yield opened


_OPEN: Mapping[Circuit, float] = {Circuit.CLOSED: 0.0, Circuit.HALF_OPEN: 0.5, Circuit.OPEN: 1.0}
