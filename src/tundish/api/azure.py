"""Azure OpenAI's paths over the surfaces that there are: a deployment is what `model` names elsewhere.

    /openai/deployments/{deployment}/…?api-version=…    the path's deployment wins over the body's `model`
    /openai/models?api-version=…
    /openai/v1/…                                        OpenAI's own paths

Every api-version is taken: what they differ in is refused or honoured field by field, as on the other paths.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from tundish.api.call import Call
from tundish.api.inference import Inference
from tundish.api.models import Models
from tundish.api.routes import Audience, Route, Surface
from tundish.wire import azure

_DEPLOYMENT = "/openai/deployments/{deployment}"
_V1 = "/openai/v1"
_LARGE_BODY_BYTES = 64 * 1024
"""Above this a body is rewritten in a thread, so that streams keep flowing."""


def azure_routes(inference: Inference, models: Models) -> Sequence[Route]:
    """The routes; errors have Azure's codes on all of them."""
    generating = {"/chat/completions": inference.chat_completions, "/completions": inference.completions}
    table: dict[str, tuple[str, Surface]] = {
        **{_DEPLOYMENT + end: ("POST", _of_deployment(surface)) for end, surface in generating.items()},
        **{_V1 + end: ("POST", surface) for end, surface in generating.items()},
        f"{_V1}/models": ("GET", models.list),
        f"{_V1}/models/{{model}}": ("GET", models.retrieve),
        "/openai/models": ("GET", models.list_as_azure),
        "/openai/models/{model}": ("GET", models.retrieve),
    }
    return [
        Route(path=path, methods={method: surface}, audience=Audience.CLIENTS, encode_error=azure.encode_error)
        for path, (method, surface) in table.items()
    ]


def _of_deployment(surface: Surface) -> Surface:
    async def serve(call: Call) -> None:
        body, deployment = call.request.body, call.admission.parameters["deployment"]
        if len(body) > _LARGE_BODY_BYTES:
            body = await asyncio.to_thread(azure.with_model, body, deployment)
        else:
            body = azure.with_model(body, deployment)
        call.request = msgspec.structs.replace(call.request, body=body)
        await surface(call)

    return serve
