"""What Prometheus gets to see."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tundish.api.metrics import Metrics
from tundish.core.backend import BackendStatus, Health
from tundish.core.events import Usage
from tundish.dispatch.dispatcher import RequestRecord


def record(outcome: str = "ok", usage: Usage | None = None) -> RequestRecord:
    return RequestRecord(model="m", outcome=outcome, duration_s=1.0, time_to_first_token_s=0.1, usage=usage)


def samples(metrics: Metrics) -> dict[str, float]:
    _, body = metrics.exposition("")
    return {
        f"{sample.name}{sorted(sample.labels.values())}": sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_a_request_from_start_to_end() -> None:
    metrics = Metrics()
    metrics.request_started("m")
    assert samples(metrics)["tundish_requests_running['m']"] == 1
    metrics.request_ended(
        record(usage=Usage(prompt_tokens=10, completion_tokens=5, cached_tokens=4, reasoning_tokens=3))
    )
    seen = samples(metrics)
    assert seen["tundish_requests_running['m']"] == 0
    assert seen["tundish_requests_total['m', 'ok']"] == 1
    assert seen["tundish_tokens_total['m', 'prompt']"] == 10
    assert seen["tundish_tokens_total['cached', 'm']"] == 4
    assert seen["tundish_tokens_total['completion', 'm']"] == 5
    assert seen["tundish_tokens_total['m', 'reasoning']"] == 3
    assert seen["tundish_time_to_first_token_seconds_count['m']"] == 1
    assert seen["tundish_request_duration_seconds_sum['m']"] == 1.0


def test_backends_and_connections_are_looked_at_when_scraped() -> None:
    metrics = Metrics()
    status = {"m": BackendStatus(health=Health.READY, slots=4, slots_busy=2, queued=1, restarts=3)}
    metrics.watch_backends(lambda: status)
    metrics.watch_connections(lambda: 7)
    seen = samples(metrics)
    assert seen["tundish_backend_ready['m']"] == 1
    assert seen["tundish_backend_slots['m']"] == 4
    assert seen["tundish_backend_slots_busy['m']"] == 2
    assert seen["tundish_backend_queued['m']"] == 1
    assert seen["tundish_backend_restarts_total['m']"] == 3
    assert seen["tundish_http_connections[]"] == 7
    status["m"] = BackendStatus(health=Health.RESTARTING)
    assert samples(metrics)["tundish_backend_ready['m']"] == 0


def test_labels_are_bounded() -> None:
    metrics = Metrics()
    for index in range(1000):
        metrics.request_ended(record(outcome=f"code_{index}"))
        metrics.http_request_ended(route="unknown", method=f"M{index}", status=405)
    seen = samples(metrics)
    assert len([name for name in seen if name.startswith("tundish_requests_total")]) == 65
    assert seen["tundish_requests_total['m', 'other']"] == 1000 - 64
    assert seen["tundish_http_requests_total['405', 'other', 'unknown']"] == 1000


def test_openmetrics_for_those_who_ask() -> None:
    content_type, body = Metrics().exposition("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_one_of_several_processes_says_which_it_is() -> None:
    metrics = Metrics(worker=2)
    metrics.http_request_ended(route="/v1/models", method="GET", status=200)
    _, text = metrics.exposition("")
    samples = [line for line in text.decode().splitlines() if line and not line.startswith("#")]
    assert samples
    assert all('worker="2"' in line for line in samples)
