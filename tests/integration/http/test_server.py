"""What well-behaved clients get, and what handlers can rely on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys

import pytest

from tundish.core.errors import Overloaded
from tundish.http.errors import AddressInUse, CannotListen
from tundish.http.server import Exchange, HttpRequest, HttpServer

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"


def post(body: bytes, headers: str = "") -> bytes:
    return f"POST /a HTTP/1.1\r\nHost: h\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


# --- answers ---


async def test_a_connection_is_used_again(serve, echo) -> None:
    async with serve(echo) as running:
        client = await running.connect()
        for body in (b"one", b"", b"x" * 100_000):
            answer = await client.ask(post(body))
            assert (answer.status, answer.body) == (200, b"POST /a " + body)
            assert "connection" not in answer.headers
            assert answer.headers["date"].endswith(" GMT")
        assert running.server.connections == 1


async def test_a_stream_arrives_as_it_is_written(serve) -> None:
    go_on = asyncio.Event()

    async def handler(request: HttpRequest, exchange: Exchange) -> None:
        exchange.start(200, [("content-type", "text/event-stream")])
        exchange.write(b"data: 1\n\n")
        await go_on.wait()
        exchange.write(b"data: 2\n\n")
        exchange.finish()

    async with serve(handler) as running:
        client = await running.connect()
        await client.send(GET)
        assert (await client.head()).headers["content-type"] == "text/event-stream"
        assert await client.chunk() == b"data: 1\n\n"
        go_on.set()
        assert await client.chunk() == b"data: 2\n\n"
        assert await client.chunk() == b""
        assert (await client.ask(GET)).status == 200


async def test_a_large_stream_to_a_slow_client_is_complete(serve) -> None:
    async def handler(request: HttpRequest, exchange: Exchange) -> None:
        exchange.start(200, [])
        for number in range(256):
            exchange.write(bytes([number]) * 65_536)
            await exchange.drain()
        exchange.finish()

    async with serve(handler) as running:
        client = await running.connect()
        await client.send(GET)
        await asyncio.sleep(0.05)
        answer = await client.answer()
        assert len(answer.body) == 256 * 65_536
        assert answer.body[::65_536] == bytes(range(256))


async def test_head_and_bodiless_statuses_keep_the_connection_in_step(serve) -> None:
    async def handler(request: HttpRequest, exchange: Exchange) -> None:
        exchange.respond(int(request.path[1:]), [], b"body")

    async with serve(handler) as running:
        client = await running.connect()
        for line in (b"HEAD /200", b"GET /204", b"GET /200"):
            await client.send(line + b" HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await client.answer(head_only=True)).headers["content-length"] == "4"
        assert "content-length" not in (await client.answer()).headers
        assert (await client.answer()).body == b"body"


@pytest.mark.parametrize("header", ["", "Connection: keep-alive\r\n"])
async def test_an_old_client_is_served_in_its_own_way(serve, echo, header: str) -> None:
    async with serve(echo) as running:
        client = await running.connect()
        answer = await client.ask(f"GET /a HTTP/1.0\r\n{header}\r\n".encode())
        assert answer.body == b"GET /a "
        if header:
            assert answer.headers["connection"] == "keep-alive"
            await client.send(b"GET /b HTTP/1.0\r\n\r\n")
            answer = await client.answer()
            assert answer.body == b"GET /b "
        assert answer.headers["connection"] == "close"
        assert await client.rest() == b""


async def test_a_client_that_says_close_is_the_one_that_gets_it(serve, echo) -> None:
    async with serve(echo) as running:
        client = await running.connect()
        await client.send(post(b"x", "Connection: close\r\n") + GET)
        rest = await client.rest()
        assert rest.endswith(b"POST /a x")
        assert rest.count(b"HTTP/1.1") == 1


async def test_java_offers_http2_and_gets_its_answer(serve, echo) -> None:
    offer = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    async with serve(echo) as running:
        client = await running.connect()
        for _ in range(2):
            assert (await client.ask(post(b"body", offer))).body == b"POST /a body"


# --- continue ---


async def test_a_client_that_asks_before_it_sends_is_told_to_go_on(serve, echo) -> None:
    async with serve(echo) as running:
        client = await running.connect()
        for _ in range(2):
            await client.send(b"POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            assert (await client.head()).status == 100
            assert (await client.ask(b"{}")).body == b"POST /a {}"
        # One that does not wait needs no telling.
        assert (await client.ask(post(b"{}", "Expect: 100-continue\r\n"))).status == 200


async def test_go_on_comes_after_the_answer_before_it(serve) -> None:
    go_on = asyncio.Event()

    async def handler(request: HttpRequest, exchange: Exchange) -> None:
        await go_on.wait()
        exchange.respond(200, [], request.body)

    async with serve(handler) as running:
        client = await running.connect()
        await client.send(post(b"first"))
        await client.send(b"POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        await asyncio.sleep(0.05)
        go_on.set()
        assert (await client.answer()).body == b"first"
        assert (await client.head()).status == 100
        assert (await client.ask(b"{}")).body == b"{}"


# --- pipelining ---


async def test_pipelined_requests_are_answered_one_after_the_other(serve) -> None:
    running_now = 0

    async def handler(request: HttpRequest, exchange: Exchange) -> None:
        nonlocal running_now
        running_now += 1
        assert running_now == 1
        await asyncio.sleep(0.001 if request.path.endswith("7") else 0)
        running_now -= 1
        exchange.respond(200, [], request.path.encode())

    async with serve(handler) as running:
        client = await running.connect()
        await client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % number for number in range(100)))
        for number in range(100):
            assert (await client.answer()).body == b"/%d" % number


async def test_reading_ahead_is_bounded_and_loses_nothing(serve) -> None:
    go_on = asyncio.Event()

    async def handler(request: HttpRequest, exchange: Exchange) -> None:
        await go_on.wait()
        exchange.respond(200, [], request.path.encode())

    async with serve(handler) as running:
        client = await running.connect()
        requests = 40_000
        sending = asyncio.ensure_future(
            client.send(b"".join(b"GET /%06d HTTP/1.1\r\nHost: h\r\n\r\n" % number for number in range(requests)))
        )
        await asyncio.sleep(0.3)
        (connection,) = running.server._service.connections
        assert connection._read_paused
        waiting = len(connection._reader.ready)
        await asyncio.sleep(0.1)
        assert len(connection._reader.ready) == waiting < 20_000  # what one read brought, not what was sent
        go_on.set()
        for number in range(requests):
            answer = await client.reader.readuntil(b"/%06d" % number)
            assert answer.count(b"HTTP/1.1") == 1
        await sending


# --- handlers that fail ---


async def test_an_error_of_ours_is_answered_in_the_apis_shape(serve) -> None:
    async def handler(request: HttpRequest, exchange: Exchange) -> None:
        raise Overloaded("All slots are busy.", retry_after_s=1)

    async with serve(handler) as running:
        client = await running.connect()
        for _ in range(2):
            answer = await client.ask(GET)
            assert answer.status == 500
            assert answer.body == b"rate_limit_exceeded: All slots are busy."


async def test_an_unexpected_error_is_logged_and_not_told(serve, caplog) -> None:
    async def handler(request: HttpRequest, exchange: Exchange) -> None:
        raise KeyError("a secret")

    async with serve(handler) as running:
        client = await running.connect()
        answer = await client.ask(GET)
        assert answer.status == 500
        assert answer.body.startswith(b"internal_error: ")
        assert b"secret" not in answer.body
        assert "a secret" in caplog.text
        assert (await client.ask(GET)).status == 500


async def test_a_header_that_would_break_out_is_an_error_of_the_handler(serve, caplog) -> None:
    async def handler(request: HttpRequest, exchange: Exchange) -> None:
        exchange.respond(200, [("x-request-id", request.body.decode())])

    async with serve(handler) as running:
        client = await running.connect()
        answer = await client.ask(post(b"a\r\nset-cookie: b"))
        assert answer.status == 500
        assert "set-cookie" not in answer.headers
        assert (await client.ask(post(b"a"))).headers["x-request-id"] == "a"


async def test_a_handler_that_forgets_to_answer_is_an_error(serve, caplog) -> None:
    async def handler(request: HttpRequest, exchange: Exchange) -> None:
        pass

    async with serve(handler) as running:
        assert (await (await running.connect()).ask(GET)).status == 500


async def test_a_cancellation_from_within_is_an_error_like_any_other(serve, caplog) -> None:
    async def handler(request: HttpRequest, exchange: Exchange) -> None:
        other = asyncio.get_running_loop().create_future()
        other.cancel()
        await other

    async with serve(handler) as running:
        client = await running.connect()
        assert (await client.ask(GET)).status == 500
        assert (await client.ask(GET)).status == 500


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("how", ["raise", "return", "abort"])
async def test_a_broken_stream_cannot_be_taken_for_a_complete_one(serve, caplog, version: str, how: str) -> None:
    async def handler(request: HttpRequest, exchange: Exchange) -> None:
        exchange.start(200, [])
        exchange.write(b"half an ans")
        if how == "raise":
            raise Overloaded("Too late.", retry_after_s=1)
        if how == "abort":
            exchange.abort()

    async with serve(handler) as running:
        client = await running.connect()
        await client.send(f"GET / HTTP/{version}\r\nHost: h\r\n\r\n".encode())
        with pytest.raises(ConnectionResetError):
            await client.rest()


async def test_a_refusal_that_cannot_be_sent_ends_the_connection(echo, caplog) -> None:
    def refuse(error: Exception) -> tuple[int, list[tuple[str, str]], bytes]:
        return 500, [("bad", "\r\n")], b""

    async def handler(request: HttpRequest, exchange: Exchange) -> None:
        raise Overloaded("", retry_after_s=1)

    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    server = HttpServer(handler, refuse=refuse)
    reader, writer = await asyncio.open_connection("127.0.0.1", await server.listen("127.0.0.1", 0))
    writer.write(GET)
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()
    await server.close()
    assert server.requests_running == 0


# --- listening ---


async def test_a_taken_port_is_a_clear_error(serve, echo) -> None:
    async with serve(echo) as running:
        other = HttpServer(echo, refuse=running.server._service.refuse)
        with pytest.raises(AddressInUse, match=f"{running.port}.*choose another port"):
            await other.listen("127.0.0.1", running.port)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"])
async def test_an_address_of_another_machine_is_a_clear_error(serve, echo, host: str) -> None:
    async with serve(echo) as running:
        with pytest.raises(CannotListen, match=host):
            await running.server.listen(host, 0)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
async def test_ipv6(serve, echo) -> None:
    async with serve(echo) as running:
        try:
            port = await running.server.listen("::1", 0)
        except CannotListen:
            pytest.skip("no IPv6 here")
        reader, writer = await asyncio.open_connection("::1", port)
        writer.write(GET)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_all_addresses_of_a_name_get_the_same_port(serve, echo) -> None:
    async with serve(echo) as running:
        port = await running.server.listen("localhost", 0)
        for _, _, _, _, address in await asyncio.get_running_loop().getaddrinfo("localhost", port):
            with contextlib.suppress(OSError):  # ::1 where IPv6 is off
                _, writer = await asyncio.open_connection(address[0], port)
                writer.close()
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()


async def test_small_writes_are_not_held_back_by_the_system(serve, echo) -> None:
    async with serve(echo) as running:
        await (await running.connect()).ask(GET)
        (connection,) = running.server._service.connections
        sock = connection.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_idle_connections_need_no_task(serve, echo) -> None:
    async with serve(echo) as running:
        first = await running.connect()
        await first.ask(GET)
        before = len(asyncio.all_tasks())
        clients = [await running.connect() for _ in range(200)]
        for client in clients:
            await client.ask(GET)
        assert running.server.connections == 201
        assert len(asyncio.all_tasks()) == before


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX limit")
async def test_running_out_of_files_is_survived(until) -> None:
    program = (
        "import asyncio, resource, sys\n"
        "from tundish.http.server import HttpServer\n"
        "async def echo(request, exchange): exchange.respond(200, [], b'ok')\n"
        "async def main():\n"
        "    server = HttpServer(echo, refuse=lambda error: (500, [], b''))\n"
        "    print(await server.listen('127.0.0.1', 0), flush=True)\n"
        "    await asyncio.to_thread(sys.stdin.read)\n"
        "    await server.close()\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))\n"
        "if sys.argv[1] == 'uvloop':\n"
        "    import uvloop; uvloop.run(main())\n"
        "else: asyncio.run(main())\n"
    )
    loop = asyncio.get_running_loop()
    kind = "uvloop" if type(loop).__module__.startswith("uvloop") else "asyncio"
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, kind, stdin=pipe, stdout=pipe, stderr=pipe
    )
    assert process.stdin is not None
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(60)]

    async def is_served(number: int) -> bool:
        reader, writer = connections[number]
        writer.write(GET)
        try:
            async with asyncio.timeout(0.5):
                return (await reader.readuntil(b"ok")).endswith(b"ok")
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            return False

    assert await is_served(0)
    assert not await is_served(59)
    for _, writer in connections[:40]:
        writer.close()
    async with asyncio.timeout(5):
        while not await is_served(58):
            pass
    for _, writer in connections[40:]:
        writer.close()
    _, errors = await process.communicate(b"")
    assert process.returncode == 0, errors
    assert errors.count(b"ulimit") <= 2  # said, not repeated without end
