"""Another program's endpoint, as a process of its own: its model `m` is gpt-oss on the scripted engine, singing.

Prints its port, and serves until its standard input ends, so that it never outlives who started it.
"""

from __future__ import annotations

import asyncio
import datetime
import sys

from tundish.access.keys import KeyRing
from tundish.api.application import Application
from tundish.api.guard import Guard
from tundish.api.metrics import Metrics
from tundish.core.clock import FixedClock, SystemClock
from tundish.dispatch.dispatcher import Dispatcher
from tundish.engines.gpt_oss import GptOssBackend
from tundish.engines.scripted import Pause, ScriptedEngine
from tundish.harmony.vocabulary import O200K_HARMONY
from tundish.http.server import HttpServer, Limits

CONTEXT = 1024
KEY = "td-test-key"
CLOCK = FixedClock(datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC))


def endless_tokens() -> list[int | Pause]:
    vocabulary = O200K_HARMONY()
    header = [vocabulary.special("<|channel|>"), *vocabulary.encode("final"), vocabulary.special("<|message|>")]
    song: list[int | Pause] = [*vocabulary.encode(" la"), Pause(seconds=0.001)]
    return [*header, *song * 2000]


async def serve() -> None:
    backend = GptOssBackend(ScriptedEngine(endless_tokens(), context_length=CONTEXT), clock=CLOCK)
    await backend.start()
    clock = SystemClock()
    metrics = Metrics()
    application = Application(
        dispatcher=Dispatcher(backends={"m": backend}, observer=metrics, clock=clock),
        keys=KeyRing.of_owner(KEY, key_id="test"),
        guard=Guard(host="127.0.0.1"),
        metrics=metrics,
        stop=lambda: None,
        clock=clock,
    )
    server = HttpServer(application, limits=Limits(), refuse=application.refuse)
    print(await server.listen("127.0.0.1", 0), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.close()
    await backend.stop()


if __name__ == "__main__":
    asyncio.run(serve())
