"""The surfaces that list what is served."""

from __future__ import annotations

from tundish.api.call import Call
from tundish.dispatch.dispatcher import Dispatcher, ServedModel
from tundish.wire import azure, models
from tundish.wire.models import ModelEntry


class Models:
    """`/v1/models`."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    async def list(self, call: Call) -> None:
        """`GET /v1/models`."""
        call.respond(models.encode_list([_entry(model) for model in self._dispatcher.models()]))

    async def list_as_azure(self, call: Call) -> None:
        """`GET /openai/models`."""
        call.respond(azure.encode_list([_entry(model) for model in self._dispatcher.models()]))

    async def retrieve(self, call: Call) -> None:
        """`GET /v1/models/{model}`; names may contain slashes."""
        call.respond(models.encode(_entry(self._dispatcher.model(call.admission.parameters["model"]))))


def _entry(model: ServedModel) -> ModelEntry:
    return ModelEntry(
        id=model.name,
        created=model.created_s,
        owned_by=model.owner,
        context_length=None if model.capabilities is None else model.capabilities.context_length,
    )
