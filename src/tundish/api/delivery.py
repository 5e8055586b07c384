"""An answer → an HTTP response: in one piece, or as a stream of server-sent events."""

from __future__ import annotations

from collections.abc import Callable

from tundish.api.call import Call
from tundish.api.heartbeat import Heartbeat
from tundish.api.work import SurfaceWork
from tundish.core.errors import TundishError
from tundish.core.events import GenerationEvent
from tundish.dispatch.answers import Answer, EventAnswer, RelayAnswer
from tundish.dispatch.run import Run


async def deliver(call: Call, run: Run, work: SurfaceWork, *, ping_after_s: float) -> None:
    """Answer `call` with what `run` gives, whatever becomes of it, and close the run."""
    failure: BaseException | None = None
    try:
        if work.stream:
            await _stream(call, run, work, ping_after_s=ping_after_s)
        else:
            await _whole(call, run, work)
    except TundishError as error:
        failure = error
        run.journal.wrote(call.refuse(error))
    except Exception as error:  # noqa: BLE001 - logged and answered: what the client is told goes on record, too
        failure = error
        run.journal.wrote(call.fail(error))
    except BaseException as error:
        failure = error
        raise
    finally:
        await run.close(failure)
        del failure  # it knows this frame, which would know it: nobody but the collector would free the two


async def _whole(call: Call, run: Run, work: SurfaceWork) -> None:
    answer = await run.whole()
    body = b"" if answer.events else answer.body
    if not body:
        builder = work.builder()
        for event in answer.events:
            builder.add(event)
        body = builder.encode()
    call.answered_by(answer.deployment, run.place)
    run.journal.wrote(body)
    call.respond(body)


async def _stream(call: Call, run: Run, work: SurfaceWork, *, ping_after_s: float) -> None:
    """No faster than the client reads.

    The status goes out with the first event, so an error before it is still a status of its own (after a heartbeat it
    cannot be).
    """
    heartbeat = Heartbeat(call, after_s=ping_after_s, wrote=run.journal.wrote)
    encode: Callable[[GenerationEvent], bytes] | None = None
    try:
        answer: Answer = await run.open()
        call.answered_by(answer.deployment, run.place)
        call.start_stream()
        while True:
            try:
                if isinstance(answer, RelayAnswer):
                    await _relay(call, run, answer, heartbeat)
                else:
                    encode = encode or work.encoder()
                    await _encode(call, run, answer, encode, heartbeat)
            except TundishError as error:
                answer = await run.resume(error)
            else:
                break
    finally:
        heartbeat.stop()
    run.complete()
    call.exchange.finish()


async def _relay(call: Call, run: Run, answer: RelayAnswer, heartbeat: Heartbeat) -> None:
    exchange, wrote = call.exchange, run.journal.wrote
    while chunk := await answer.next():
        wrote(chunk)
        exchange.write(chunk)
        heartbeat.wrote()
        await exchange.drain()


async def _encode(
    call: Call,
    run: Run,
    answer: EventAnswer,
    encode: Callable[[GenerationEvent], bytes],
    heartbeat: Heartbeat,
) -> None:
    exchange, wrote = call.exchange, run.journal.wrote
    while (event := await answer.next()) is not None:
        chunk = encode(event)
        wrote(chunk)
        exchange.write(chunk)
        heartbeat.wrote()
        await exchange.drain()
