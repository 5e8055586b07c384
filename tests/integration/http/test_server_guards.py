"""Clients that vanish, dawdle, flood and lie; and a server that stops."""

from __future__ import annotations

import asyncio
import socket
import sys

import pytest

from tundish.core.errors import Overloaded
from tundish.http.server import Exchange, HttpRequest

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: h\r\n"


class Watched:
    """A handler that waits, or streams without end, and keeps what became of it."""

    def __init__(self, *, stream: bool = False, chunk: bytes = b"x" * 1000) -> None:
        self.stream = stream
        self.chunk = chunk
        self.running = 0
        self.cancelled = 0
        self.completed = 0
        self.go_on = asyncio.Event()

    async def __call__(self, request: HttpRequest, exchange: Exchange) -> None:
        self.running += 1
        try:
            if self.stream:
                exchange.start(200, [])
                while not self.go_on.is_set():
                    exchange.write(self.chunk)
                    await exchange.drain()
                    await asyncio.sleep(0)
                exchange.finish()
            else:
                await self.go_on.wait()
                exchange.respond(200, [], b"done")
            self.completed += 1
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1


# --- the client goes ---


@pytest.mark.parametrize("how", ["close", "reset", "half-close"])
@pytest.mark.parametrize("stream", [False, True])
async def test_the_handler_is_cancelled_at_once(serve, until, how: str, stream: bool) -> None:
    handler = Watched(stream=stream)
    async with serve(handler) as running:
        client = await running.connect()
        await client.send(GET)
        await until(lambda: handler.running)
        if how == "reset":
            sock = client.writer.get_extra_info("socket")
            linger = b"\x01\0\0\0" if sys.platform == "win32" else b"\x01\0\0\0\0\0\0\0"
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            client.reset()
        elif how == "close":
            client.reset()
        else:
            client.writer.write_eof()
        await until(lambda: handler.cancelled)
        assert handler.running == 0
        await until(lambda: running.server.connections == 0)
        assert running.server.requests_running == 0


async def test_a_client_that_goes_while_it_is_waited_for(serve, until) -> None:
    handler = Watched(stream=True, chunk=b"x" * 100_000)
    async with serve(handler) as running:
        client = await running.connect()
        await client.send(GET)
        await until(lambda: handler.running)
        (connection,) = running.server._service.connections
        await until(lambda: connection.write_paused and connection._drain_waiters)
        client.reset()
        await until(lambda: handler.cancelled)


async def test_a_client_that_goes_with_the_request_still_under_way(serve, until, echo) -> None:
    async with serve(echo) as running:
        for part in (b"", b"PO", POST, POST + b"Content-Length: 10\r\n\r\n", POST + b"Content-Length: 10\r\n\r\n12345"):
            client = await running.connect()
            await client.send(part)
            await until(lambda: running.server.connections == 1)
            client.reset()
            await until(lambda: running.server.connections == 0)


async def test_what_a_handler_does_after_its_answer_is_not_cancelled(serve, until) -> None:
    booked = asyncio.Event()

    async def handler(request: HttpRequest, exchange: Exchange) -> None:
        exchange.respond(200, [], b"")
        await asyncio.sleep(0.05)
        booked.set()

    async with serve(handler) as running:
        client = await running.connect()
        await client.ask(GET)
        client.reset()
        await booked.wait()


async def test_requests_waiting_behind_one_are_dropped_with_their_client(serve, until) -> None:
    handler = Watched()
    async with serve(handler) as running:
        client = await running.connect()
        await client.send((POST + b"Content-Length: 1000\r\n\r\n" + b"x" * 1000) * 5)
        await until(lambda: running.server._service.memory.held == 5000)
        client.reset()
        await until(lambda: running.server.connections == 0)
        await until(lambda: running.server._service.memory.held == 0)
        assert (handler.cancelled, handler.completed) == (1, 0)


async def test_a_handler_that_ignores_its_cancellation_harms_nobody(serve, until) -> None:
    ended = asyncio.Event()

    async def handler(request: HttpRequest, exchange: Exchange) -> None:
        exchange.start(200, [])
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            for _ in range(3):
                exchange.write(b"to nobody")
                await exchange.drain()
            exchange.finish()
            ended.set()

    async with serve(handler) as running:
        client = await running.connect()
        await client.send(GET)
        await until(lambda: running.server.requests_running)
        client.reset()
        await ended.wait()
        await until(lambda: running.server.requests_running == 0)


# --- what is refused on the wire ---


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Expect: a-cake\r\n\r\n", 417),
        (b"GET / HTTP/3.0\r\n\r\n", 400),
        (b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: a\r\n" * 101 + b"\r\n", 431),
        (POST + b"Content-Length: 1001\r\n\r\n", 413),
        (POST + b"Content-Length: 1001\r\nExpect: 100-continue\r\n\r\n", 413),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"a" * 1001, 413),
    ],
)
async def test_it_is_answered_and_the_connection_ends(serve, echo, data: bytes, status: int) -> None:
    async with serve(echo, body_bytes=1000) as running:
        client = await running.connect()
        await client.send(GET + data + GET)
        assert (await client.answer()).status == 200
        answer = await client.answer()
        assert answer.status == status
        assert answer.headers["connection"] == "close"
        assert b": " in answer.body
        assert await client.rest() == b""


async def test_a_refusal_reaches_a_client_that_is_still_sending(serve, echo) -> None:
    async with serve(echo, body_bytes=1000, linger_s=5) as running:
        client = await running.connect()
        await client.send(POST + b"Content-Length: 20000000\r\n\r\n")
        for _ in range(200):
            await client.send(bytes(100_000))
        assert (await client.answer()).status == 413


async def test_a_client_that_sends_on_for_ever_is_cut(serve, echo, until) -> None:
    async with serve(echo, body_bytes=1000, linger_s=0.1) as running:
        client = await running.connect()
        await client.send(POST + b"Content-Length: 20000000\r\n\r\n")
        with pytest.raises(ConnectionError):
            await _drip(client, bytes(100_000))
        await until(lambda: running.server.connections == 0)


@pytest.mark.parametrize("framing", [b"Content-Length: 20000000", b"Transfer-Encoding: chunked"])
@pytest.mark.parametrize("more", [b"", b"Expect: 100-continue\r\n", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"])
async def test_a_head_that_is_not_admitted_is_refused_before_its_body(serve, framing: bytes, more: bytes) -> None:
    async def handler(request: HttpRequest, exchange: Exchange) -> None:
        exchange.respond(200, [], request.body)

    def admit(head: HttpRequest) -> None:
        assert head.body == b""
        if "api-key" not in head.headers:
            raise Overloaded(f"no body for {head.method} {head.path}", retry_after_s=1)

    async with serve(handler, admit=admit) as running:
        client = await running.connect()
        assert (await client.ask(GET)).status == 200  # without a body there is nothing to refuse
        assert (await client.ask(POST + b"Content-Length: 0\r\n\r\n")).status == 200
        assert (await client.ask(POST + b"Api-Key: k\r\nContent-Length: 2\r\n\r\n{}")).body == b"{}"
        answer = await client.ask(POST + framing + b"\r\n" + more + b"\r\n" + b"5\r\nhello\r\n")
        assert b"no body for POST /a" in answer.body
        assert answer.headers["connection"] == "close"
        assert running.server._service.memory.held == 0
        assert await client.rest() == b""


async def test_connections_are_bounded(serve, echo, until) -> None:
    async with serve(echo, connections=2) as running:
        first, second = await running.connect(), await running.connect()
        await first.ask(GET)
        await second.ask(GET)
        third = await running.connect()
        assert b"service_unavailable" in await third.rest()
        first.close()
        await until(lambda: running.server.connections == 1)
        assert (await (await running.connect()).ask(GET)).status == 200


async def test_bodies_are_bounded_together(serve) -> None:
    handler = Watched()
    async with serve(handler, body_bytes=1000, all_bodies_bytes=1500) as running:
        request = POST + b"Content-Length: 1000\r\n\r\n" + b"x" * 1000
        first = await running.connect()
        await first.send(request)
        second = await running.connect()
        assert b"service_unavailable" in (await second.ask(request)).body
        handler.go_on.set()
        assert (await first.answer()).body == b"done"
        assert (await (await running.connect()).ask(request)).body == b"done"


# --- time ---


@pytest.mark.parametrize(
    "data",
    [
        b"G",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: ",
        POST + b"Content-Length: 10\r\n\r\n",
        POST + b"Content-Length: 10\r\n\r\n1",
    ],
)
async def test_a_request_that_does_not_arrive_is_refused(serve, echo, data: bytes) -> None:
    async with serve(echo, head_s=0.2, body_s=0.2) as running:
        client = await running.connect()
        assert (await client.ask(GET)).status == 200
        answer = await client.ask(data)
        assert answer.status == 408
        assert b"request_timeout" in answer.body
        assert await client.rest() == b""


async def test_dripping_is_no_way_around(serve, echo) -> None:
    async with serve(echo, head_s=0.2, body_s=0.2) as running:
        for start in (b"GET / HTTP/1.1\r\nHost: h\r\nX: ", POST + b"Content-Length: 10000\r\n\r\n"):
            client = await running.connect()
            await client.send(start)
            dripping = asyncio.ensure_future(_drip(client))
            assert (await client.answer()).status == 408
            dripping.cancel()


async def _drip(client, data: bytes = b"x") -> None:
    while True:
        await client.send(data)
        await asyncio.sleep(0.02)


async def test_a_slow_body_that_keeps_up_the_pace_is_taken(serve, echo) -> None:
    async with serve(echo, body_s=0.2, body_bytes_per_s=1000) as running:
        client = await running.connect()
        await client.send(POST + b"Content-Length: 2000\r\n\r\n")
        for _ in range(10):
            await client.send(b"x" * 200)
            await asyncio.sleep(0.05)
        assert (await client.answer()).status == 200


async def test_a_fast_start_buys_no_time_to_be_slow_in(serve, echo) -> None:
    async with serve(echo, body_s=0.2, body_bytes_per_s=1000) as running:
        client = await running.connect()
        await client.send(POST + b"Content-Length: 200000\r\n\r\n" + b"x" * 100_000)
        dripping = asyncio.ensure_future(_drip(client))
        assert (await client.answer()).status == 408
        dripping.cancel()


async def test_a_client_that_does_not_take_its_last_answer_is_cut(serve, until) -> None:
    async def handler(request: HttpRequest, exchange: Exchange) -> None:
        exchange.respond(200, [], bytes(20_000_000))

    async with serve(handler, send_s=0.2, unsent_bytes=100_000_000) as running:  # so that writing is never paused
        client = await running.connect()
        client.writer.transport.pause_reading()
        await client.send(b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        await until(lambda: running.server.connections)
        await until(lambda: running.server.connections == 0)


async def test_an_idle_connection_is_closed_without_a_word(serve, echo) -> None:
    async with serve(echo, idle_s=0.2) as running:
        fresh, used = await running.connect(), await running.connect()
        await used.ask(GET)
        assert await fresh.rest() == b""
        assert await used.rest() == b""
        assert running.server.connections == 0


async def test_each_of_many_idle_connections_is_closed(serve, echo, until) -> None:
    async with serve(echo, idle_s=0.2) as running:
        for _ in range(300):
            await running.connect()
        await until(lambda: running.server.connections == 0)


async def test_a_long_answer_is_not_idle(serve) -> None:
    handler = Watched()
    async with serve(handler, idle_s=0.1, head_s=0.1, body_s=0.1, send_s=0.1) as running:
        client = await running.connect()
        await client.send(GET)
        await asyncio.sleep(0.4)
        handler.go_on.set()
        assert (await client.answer()).body == b"done"


async def test_a_client_that_takes_nothing_is_cut(serve, until) -> None:
    handler = Watched(stream=True, chunk=b"x" * 100_000)
    async with serve(handler, send_s=0.2) as running:
        client = await running.connect()
        client.writer.transport.pause_reading()
        await client.send(GET)
        await until(lambda: handler.cancelled)
        await until(lambda: running.server.connections == 0)


async def test_answers_that_are_not_taken_hold_back_the_next_request(serve, until) -> None:
    started = 0

    async def handler(request: HttpRequest, exchange: Exchange) -> None:
        nonlocal started
        started += 1
        exchange.respond(200, [], bytes(5_000_000))

    async with serve(handler, send_s=0.3) as running:
        client = await running.connect()
        client.writer.transport.pause_reading()
        await client.send(GET * 50)
        await until(lambda: started)
        await until(lambda: running.server.connections == 0)
        assert started < 5


async def test_a_handler_that_does_not_wait_for_its_client_is_ended(serve, until) -> None:
    cancelled = asyncio.Event()

    async def handler(request: HttpRequest, exchange: Exchange) -> None:
        exchange.start(200, [])
        try:
            while True:
                exchange.write(bytes(100_000))
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with serve(handler, unsent_hard_bytes=1_000_000) as running:
        client = await running.connect()
        client.writer.transport.pause_reading()
        await client.send(GET)
        await cancelled.wait()
        await until(lambda: running.server.connections == 0)


# --- stopping ---


async def test_a_stop_lets_answers_finish_and_closes_the_rest(serve) -> None:
    handler = Watched()
    async with serve(handler) as running:
        busy, idle, arriving = [await running.connect() for _ in range(3)]
        handler.go_on.set()
        await idle.ask(GET)
        handler.go_on.clear()
        await busy.send(GET + GET)
        await arriving.send(POST + b"Content-Length: 2\r\n\r\n{")
        await asyncio.sleep(0.05)
        running.server.stop_accepting()
        assert await idle.rest() == b""
        with pytest.raises(ConnectionError):
            await running.connect()
        assert not await running.server.wait_idle(0.05)
        handler.go_on.set()
        assert await running.server.wait_idle(5)
        answer = await busy.answer()
        assert (answer.body, answer.headers["connection"]) == (b"done", "close")
        assert await busy.rest() == b""  # what was pipelined behind it may be sent again elsewhere
        answer = await arriving.ask(b"}")
        assert (answer.body, answer.headers["connection"]) == (b"done", "close")


async def test_idle_means_that_answers_have_been_sent(serve, until) -> None:
    body = bytes(10_000_000)

    async def handler(request: HttpRequest, exchange: Exchange) -> None:
        exchange.respond(200, [], body)

    async with serve(handler) as running:
        client = await running.connect()
        client.writer.transport.pause_reading()
        await client.send(GET)
        await until(lambda: running.server.connections)
        (connection,) = running.server._service.connections
        await until(lambda: connection.unsent_bytes)
        running.server.stop_accepting()
        assert not await running.server.wait_idle(0.05)
        client.writer.transport.resume_reading()
        assert (await client.answer()).body == body
        assert await running.server.wait_idle(5)


async def test_close_ends_what_is_left(serve, until) -> None:
    handler = Watched(stream=True)
    async with serve(handler) as running:
        client = await running.connect()
        await client.send(GET)
        await client.head()
        await running.server.close()
        assert (handler.running, handler.cancelled) == (0, 1)
        with pytest.raises(ConnectionResetError):
            await client.rest()


async def test_close_waits_for_handlers_to_put_their_things_away(serve, until) -> None:
    tidy = asyncio.Event()

    async def handler(request: HttpRequest, exchange: Exchange) -> None:
        try:
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(0.05)
            tidy.set()

    async with serve(handler) as running:
        client = await running.connect()
        await client.send(GET)
        await until(lambda: running.server.requests_running)
        await running.server.close()
        assert tidy.is_set()


async def test_an_error_told_by_a_stopping_handler_still_arrives(serve, until) -> None:
    go_on = asyncio.Event()

    async def handler(request: HttpRequest, exchange: Exchange) -> None:
        await go_on.wait()
        raise Overloaded("Stopping.", retry_after_s=1)

    async with serve(handler) as running:
        client = await running.connect()
        await client.send(GET)
        await until(lambda: running.server.requests_running)
        running.server.stop_accepting()
        go_on.set()
        assert b"Stopping." in (await client.answer()).body
        assert await client.rest() == b""


async def test_waiting_for_what_runs_while_probes_go_on(serve, until) -> None:
    inference, probes = asyncio.Event(), asyncio.Event()

    async def handler(request: HttpRequest, exchange: Exchange) -> None:
        if request.method == "POST":
            await inference.wait()
            exchange.respond(200, [], bytes(20_000_000))
        else:
            await probes.wait()
            exchange.respond(200, [], b"fine")

    async with serve(handler, send_s=5, linger_s=0.2) as running:
        asking, probing, idle = [await running.connect() for _ in range(3)]
        asking.writer.transport.pause_reading()
        await asking.send(POST + b"Content-Length: 0\r\n\r\n")
        await until(lambda: running.server.requests_running == 1)
        waiting = asyncio.ensure_future(running.server.wait_idle(10))
        await asyncio.sleep(0)
        await probing.send(GET)
        await until(lambda: running.server.requests_running == 2)
        inference.set()
        await until(lambda: running.server.requests_running == 1)
        await asyncio.sleep(0.1)
        assert not waiting.done()  # the answer has not been taken yet
        asking.writer.transport.resume_reading()
        assert len((await asking.answer()).body) == 20_000_000
        assert await waiting
        assert running.server.requests_running == 1
        probes.set()
        assert (await probing.answer()).body == b"fine"
        assert (await idle.ask(GET)).body == b"fine"  # nothing was closed
        assert await running.server.wait_idle(5)
