"""What Prometheus scrapes. Labels are bounded: models that are served, routes of the table, codes of our errors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from tundish.core.backend import BackendStatus, Health
from tundish.dispatch.dispatcher import RequestRecord

_LATENCY_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_OUTCOMES_LIMIT = 64
_METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS"})


class Metrics:
    """Observes requests as they end; looks at backends and connections when scraped. Has a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._outcomes: set[str] = set()
        self._models: dict[str, _OfModel] = {}
        self._http_counters: dict[tuple[str, str, int], Counter] = {}
        self._requests = Counter(
            "tundish_requests", "Generations that ended, by outcome.", ["model", "outcome"], registry=self.registry
        )
        self._running = Gauge("tundish_requests_running", "Generations now.", ["model"], registry=self.registry)
        self._duration_s = Histogram(
            "tundish_request_duration_seconds",
            "From dispatch to the last event.",
            ["model"],
            buckets=_LATENCY_S,
            registry=self.registry,
        )
        self._first_token_s = Histogram(
            "tundish_time_to_first_token_seconds",
            "From dispatch to the first event, waiting for a slot included.",
            ["model"],
            buckets=_LATENCY_S,
            registry=self.registry,
        )
        self._tokens = Counter(
            "tundish_tokens",
            "Tokens of finished generations; cached ones are part of prompt, reasoning ones of completion.",
            ["model", "kind"],
            registry=self.registry,
        )
        self._http_requests = Counter(
            "tundish_http_requests",
            "HTTP requests answered; status 499 is a client that went away before.",
            ["route", "method", "status"],
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)

    def watch_backends(self, status: Callable[[], Mapping[str, BackendStatus]]) -> None:
        """Show the state of every backend."""
        self.registry.register(_Backends(status))

    def watch_connections(self, count: Callable[[], int]) -> None:
        """Show how many connections are open."""
        Gauge("tundish_http_connections", "Open HTTP connections.", registry=self.registry).set_function(count)

    def request_started(self, model: str) -> None:
        self._of(model).running.inc()

    def request_ended(self, record: RequestRecord) -> None:
        of_model = self._of(record.model)
        of_model.running.dec()
        of_model.ended(self._bounded(record.outcome)).inc()
        of_model.duration_s.observe(record.duration_s)
        if record.time_to_first_token_s is not None:
            of_model.first_token_s.observe(record.time_to_first_token_s)
        if record.usage is not None:
            of_model.prompt_tokens.inc(record.usage.prompt_tokens)
            of_model.cached_tokens.inc(record.usage.cached_tokens)
            of_model.completion_tokens.inc(record.usage.completion_tokens)
            of_model.reasoning_tokens.inc(record.usage.reasoning_tokens)

    def http_request_ended(self, *, route: str, method: str, status: int) -> None:
        """An HTTP request is over, one way or another."""
        labels = (route, method if method in _METHODS else "other", status)
        counter = self._http_counters.get(labels)
        if counter is None:
            counter = self._http_counters[labels] = self._http_requests.labels(*labels)
        counter.inc()

    def exposition(self, accept: str) -> tuple[str, bytes]:
        """Content type and text, in the format that the scraper prefers."""
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self.registry)

    def _of(self, model: str) -> _OfModel:
        found = self._models.get(model)
        if found is None:
            found = self._models[model] = _OfModel(
                requests=self._requests,
                running=self._running.labels(model),
                duration_s=self._duration_s.labels(model),
                first_token_s=self._first_token_s.labels(model),
                prompt_tokens=self._tokens.labels(model, "prompt"),
                cached_tokens=self._tokens.labels(model, "cached"),
                completion_tokens=self._tokens.labels(model, "completion"),
                reasoning_tokens=self._tokens.labels(model, "reasoning"),
                model=model,
            )
        return found

    def _bounded(self, outcome: str) -> str:
        """Codes come from errors, and one day from other servers' errors."""
        if outcome not in self._outcomes:
            if len(self._outcomes) >= _OUTCOMES_LIMIT:
                return "other"
            self._outcomes.add(outcome)
        return outcome


@dataclasses.dataclass(slots=True, kw_only=True)
class _OfModel:
    """The series of one model, looked up once: finding one by its labels costs more than counting."""

    model: str
    requests: Counter
    running: Gauge
    duration_s: Histogram
    first_token_s: Histogram
    prompt_tokens: Counter
    cached_tokens: Counter
    completion_tokens: Counter
    reasoning_tokens: Counter
    outcomes: dict[str, Counter] = dataclasses.field(default_factory=dict[str, Counter])

    def ended(self, outcome: str) -> Counter:
        found = self.outcomes.get(outcome)
        if found is None:
            found = self.outcomes[outcome] = self.requests.labels(self.model, outcome)
        return found


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
