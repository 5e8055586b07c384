"""What this machine and its endpoint can tell of models: which are in memory, and which would fit."""

from __future__ import annotations

import asyncio

from tundish.catalog.card import ModelCard, Variant
from tundish.catalog.fit.variants import Verdict, judge
from tundish.cli.endpoint import discover
from tundish.cli.model_view import Machine
from tundish.core.errors import TundishError
from tundish.engines import hardware
from tundish.settings import Settings


def this_machine(settings: Settings) -> Machine:
    """As it is now; an endpoint that does not answer has loaded nothing that we know of."""
    found = hardware.snapshot()

    def fits(_: ModelCard, variant: Variant) -> str:
        verdict = judge(variant, found).verdict
        return "" if verdict is Verdict.UNKNOWN else verdict.value

    return Machine(loaded=asyncio.run(_loaded(settings)), fits=fits)


async def _loaded(settings: Settings) -> frozenset[str]:
    try:
        async with discover(settings) as client:
            if client is None:
                return frozenset()
            deployments = (await client.deployments()).deployments
    except TundishError:
        return frozenset()
    return frozenset(deployment.name for deployment in deployments if deployment.state in ("ready", "draining"))
