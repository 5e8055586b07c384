"""The endpoint as a handler of HTTP requests: guard, route, authenticate, serve, and an answer to everything."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tundish.access.keys import KeyRing
from tundish.api.admission import Admission
from tundish.api.authentication import authorize
from tundish.api.azure import azure_routes
from tundish.api.call import Call, new_request_id, request_id
from tundish.api.deployments import Deployments
from tundish.api.guard import Guard
from tundish.api.heartbeat import PING_AFTER_S
from tundish.api.inference import Inference
from tundish.api.metrics import Metrics
from tundish.api.models import Models
from tundish.api.operation import Operation
from tundish.api.reload import Reload, Reloading
from tundish.api.routes import Audience, Route, Router
from tundish.api.site import SiteObjects
from tundish.api.site import routes as site_routes
from tundish.core.clock import Clock
from tundish.core.errors import RequestTooLarge, TundishError
from tundish.dispatch.dispatcher import Dispatcher
from tundish.http.exchange import Exchange
from tundish.http.message import HttpRequest
from tundish.wire import errors

_CLIENT_GONE = 499
"""nginx's number for a request that nobody waits for any more; it is never sent."""

_KEYLESS_BODY_BYTES = 1024
"""Enough for probes that insist on sending something; nobody without a key may fill the memory for bodies."""


class _NotAdmitted(TundishError):
    """Refused by its head, with the headers that belong to the answer."""

    def __init__(self, reason: TundishError, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        super().__init__(reason.message)
        self.reason = reason
        self.body = body
        self.headers = headers


class Application:
    """`await application(request, exchange)` answers one request."""

    def __init__(
        self,
        *,
        dispatcher: Dispatcher,
        keys: KeyRing,
        guard: Guard,
        metrics: Metrics,
        stop: Callable[[], None],
        clock: Clock,
        deployments: Deployments | None = None,
        site_objects: SiteObjects | None = None,
        reload: Reload | None = None,
        ping_after_s: float = PING_AFTER_S,
    ) -> None:
        """
        Args:
            dispatcher: runs what is asked.
            keys: who may ask.
            guard: from which web pages.
            metrics: told of every request; shown to Prometheus.
            stop: begins a graceful stop and returns at once.
            clock: for the times in answers.
            deployments: lets the owner load and unload models; None where models neither come nor go.
            site_objects: lets the owner change what the site has; None where there is no site.
            reload: reads the site's configuration again; None likewise.
            ping_after_s: silence after which a stream shows that it is alive.
        """
        self._keys = keys
        self._guard = guard
        self._metrics = metrics
        self._clock = clock
        metrics.watch_backends(dispatcher.status)
        metrics.watch_circuits(dispatcher.circuits)
        inference = Inference(dispatcher, clock, ping_after_s=ping_after_s)
        models = Models(dispatcher)
        operation = Operation(dispatcher, metrics, clock, stop)
        owned = [] if deployments is None else [*_routes(deployments)]
        if site_objects is not None:
            owned += site_routes(site_objects)
        if reload is not None:
            owned.append(Route(path="/tundish/v1/reload", methods={"POST": Reloading(reload).reload}))
        clients, anybody = Audience.CLIENTS, Audience.ANYBODY
        generate = {"/v1/chat/completions": inference.chat_completions, "/v1/completions": inference.completions}
        list_, show = {"GET": models.list}, {"GET": models.retrieve}
        probes = {"/healthz": operation.healthz, "/readyz": operation.readyz, "/metrics": operation.metrics}
        self.router = Router(
            [
                *(Route(path=path, methods={"POST": surface}, audience=clients) for path, surface in generate.items()),
                Route(path="/v1/models", methods=list_, audience=clients),
                Route(path="/v1/models/{model}", methods=show, audience=clients),
                *(Route(path=path, methods={"GET": surface}, audience=anybody) for path, surface in probes.items()),
                Route(path="/tundish/v1/status", methods={"GET": operation.status}),
                Route(path="/tundish/v1/stop", methods={"POST": operation.stop}),
                *owned,
                *azure_routes(inference, models),
            ]
        )
        """What there is, and whom it is for."""

    async def __call__(self, request: HttpRequest, exchange: Exchange) -> None:
        """Answer `request`. Raises nothing but the cancellation of its own task."""
        call = Call(request, exchange, self._clock)
        try:
            await self._serve(call)
        except TundishError as error:
            call.refuse(error)
        except Exception as error:  # noqa: BLE001 - logged, and every request is answered
            call.fail(error)
        finally:
            self._metrics.http_request_ended(call.admission.path, request.method, call.status or _CLIENT_GONE)

    def admit(self, head: HttpRequest) -> Admission | None:
        """Whether the body that follows `head` is worth receiving. What it comes to serves for all that begin the same.

        Raises:
            TundishError: it is not; `refuse` makes the answer of it.
        """
        admission = Admission()
        try:
            route = admission.judge(head, self._guard, self.router)
            if head.method != "OPTIONS" and route.audience is not Audience.ANYBODY:
                authorize(head.headers, self._keys, route, head.method)
                return admission
            if int(head.headers.get("content-length", _KEYLESS_BODY_BYTES + 1)) > _KEYLESS_BODY_BYTES:
                raise RequestTooLarge(limit_bytes=_KEYLESS_BODY_BYTES)
            return None  # the next one may be longer
        except TundishError as error:
            self._metrics.http_request_ended(admission.path, head.method, errors.status(error))
            origin = admission.origin
            shown = [] if origin is None else [("access-control-allow-origin", origin), ("vary", "origin")]
            shown.append(("x-request-id", request_id(head.headers)))
            raise _NotAdmitted(error, shown, admission.encode_error(error)) from error

    @staticmethod
    def refuse(error: TundishError) -> tuple[int, Sequence[tuple[str, str]], bytes]:
        """The response to what the HTTP server refuses, before any handler has seen it."""
        if isinstance(error, _NotAdmitted):
            status, headers, _ = errors.response(error.reason)
            return status, [*headers, *error.headers], error.body
        status, headers, body = errors.response(error)
        return status, [*headers, ("x-request-id", new_request_id())], body

    async def _serve(self, call: Call) -> None:
        request, admission = call.request, call.admission
        route = admission.route or admission.judge(request, self._guard, self.router)
        if admission.surface is None:
            _answer_options(call, route)
            return
        call.principal = authorize(request.headers, self._keys, route, request.method)
        if request.body and not admission.takes_body:
            call.require_json()
            admission.takes_body = True
        await admission.surface(call)


def _routes(deployments: Deployments) -> Sequence[Route]:
    path = "/tundish/v1/deployments"
    actions = {
        "load": deployments.load,
        "unload": deployments.unload,
        "pin": deployments.pin,
        "unpin": deployments.unpin,
        "remove": deployments.remove,
    }
    return [
        Route(path=path, methods={"GET": deployments.list, "POST": deployments.add}),
        *(Route(path=f"{path}/{name}", methods={"POST": surface}) for name, surface in actions.items()),
    ]


def _answer_options(call: Call, route: Route) -> None:
    """Also the preflight of a web page; which origins may ask has been decided."""
    methods = ", ".join(route.allowed)
    headers = [("allow", methods)]
    asked = call.request.headers
    if call.admission.origin is not None and "access-control-request-method" in asked:
        headers += [("access-control-allow-methods", methods), ("access-control-max-age", "600")]
        if "access-control-request-headers" in asked:
            headers.append(("access-control-allow-headers", asked["access-control-request-headers"]))
        if asked.get("access-control-request-private-network") == "true":
            headers.append(("access-control-allow-private-network", "true"))
    call.respond(b"", status=204, headers=headers)
