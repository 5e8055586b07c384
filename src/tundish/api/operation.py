"""The surfaces for whoever runs the endpoint: health, readiness, metrics, status, stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from tundish import __version__
from tundish.api.call import Call
from tundish.api.metrics import Metrics
from tundish.core.clock import Clock
from tundish.dispatch.dispatcher import Dispatcher
from tundish.wire import endpoint_status
from tundish.wire.endpoint_status import EndpointStatus, ModelStatus


class Operation:
    """None of these waits for anything."""

    def __init__(self, dispatcher: Dispatcher, metrics: Metrics, clock: Clock, stop: Callable[[], None]) -> None:
        self._dispatcher = dispatcher
        self._metrics = metrics
        self._clock = clock
        self._began_s = clock.monotonic_s()
        self._stop = stop

    async def healthz(self, call: Call) -> None:
        """`GET /healthz`: the process works, whatever its models do."""
        call.respond(b'{"status":"ok"}')

    async def readyz(self, call: Call) -> None:
        """`GET /readyz`: 200 when every model can be used, else 503 with the reasons."""
        if self._dispatcher.ready:
            call.respond(b'{"status":"ready"}')
            return
        body = msgspec.json.encode({"status": "not ready", "reasons": self._reasons()})
        call.respond(body, status=503, headers=(("retry-after", "1"),))

    async def metrics(self, call: Call) -> None:
        """`GET /metrics`, for Prometheus."""
        content_type, body = self._metrics.exposition(call.request.headers.get("accept", ""))
        call.respond(body, content_type=content_type)

    async def status(self, call: Call) -> None:
        """`GET /tundish/v1/status`."""
        uptime_s = self._clock.monotonic_s() - self._began_s
        call.respond(endpoint_status.encode(_status(self._dispatcher, uptime_s)))

    async def stop(self, call: Call) -> None:
        """`POST /tundish/v1/stop`: answered before anything ends."""
        call.respond(b'{"status":"stopping"}', status=202)
        self._stop()

    def _reasons(self) -> Sequence[str]:
        reasons = [
            f"{name} is {status.health.value}{f': {status.detail}' if status.detail else ''}"
            for name, status in sorted(self._dispatcher.unready().items())
        ]
        unwelcome = self._dispatcher.unwelcome
        return reasons if unwelcome is None else [*reasons, unwelcome]


def _status(dispatcher: Dispatcher, uptime_s: float) -> EndpointStatus:
    context_lengths = {
        model.name: None if model.capabilities is None else model.capabilities.context_length
        for model in dispatcher.models()
    }
    return EndpointStatus(
        version=__version__,
        uptime_s=uptime_s,
        ready=dispatcher.ready,
        models=tuple(
            ModelStatus(
                name=name,
                health=status.health.value,
                detail=status.detail,
                slots=status.slots,
                slots_busy=status.slots_busy,
                queued=status.queued,
                queue_limit=status.queue_limit,
                context_length=context_lengths.get(name),
                restarts=status.restarts,
            )
            for name, status in sorted(dispatcher.status().items())
        ),
    )
