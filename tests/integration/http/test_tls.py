"""The listener with a certificate: real handshakes on every event loop, and everything that is none."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.certificates import Authority, Issued

from tundish.http import tls
from tundish.http.client import HttpClient, Origin
from tundish.http.errors import ConnectFailed
from tundish.http.server import Exchange, HttpRequest, HttpServer, Limits
from tundish.http.tls import ServerTls, TlsUnusable

from .conftest import echo, pytest_asyncio_loop_factories, refuse, until

__all__ = ["pytest_asyncio_loop_factories"]


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@asynccontextmanager
async def served(issued: Issued, handler=echo, *, clock: Clock | None = None, **limits) -> AsyncGenerator:
    certificate = ServerTls(issued.certificate, issued.key, monotonic_s=clock or Clock())
    server = HttpServer(handler, limits=Limits(**limits), refuse=refuse, tls=certificate)
    try:
        yield server, await server.listen("127.0.0.1", 0)
    finally:
        await server.close()
        assert server.connections == 0


def trusting(authority: Authority, port: int) -> HttpClient:
    context = ssl.create_default_context(cafile=str(authority.file))
    return HttpClient(Origin(host="localhost", port=port, tls=context))


async def serial_number(authority: Authority, port: int) -> str:
    context = ssl.create_default_context(cafile=str(authority.file))
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        return writer.get_extra_info("peercert")["serialNumber"]
    finally:
        writer.transport.abort()


async def test_requests_are_answered(authority: Authority) -> None:
    async with served(authority.issue()) as (_, port):
        client = trusting(authority, port)
        assert await client.request("POST", "/a", body=b"x" * 200_000) == (200, b"POST /a " + b"x" * 200_000)
        assert await client.request("GET", "/b") == (200, b"GET /b ")
        client.close()


async def test_a_stream_arrives_as_it_is_written_and_a_leaving_client_is_noticed(authority: Authority) -> None:
    ended = asyncio.Event()

    async def endless(_: HttpRequest, exchange: Exchange) -> None:
        exchange.start(200, [])
        try:
            while True:
                exchange.write(b"tick")
                await exchange.drain()
                await asyncio.sleep(0.01)
        finally:
            ended.set()

    async with served(authority.issue(), endless) as (server, port):
        client = trusting(authority, port)
        async with client.stream("GET", "/") as response:
            assert await anext(response.body()) == b"tick"
        await ended.wait()
        client.close()
        await until(lambda: server.connections == 0)


async def test_plain_http_gets_no_answer_and_the_log_says_what_to_call(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tundish.http")
    async with served(authority.issue()) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"HTTP/1.1" not in await reader.read(-1)
        writer.close()
        await until(lambda: "it must call https://" in caplog.text)
        client = trusting(authority, port)
        assert (await client.request("GET", "/"))[0] == 200
        client.close()


async def test_silent_clients_are_bounded_and_do_not_hold_up_the_end(authority: Authority) -> None:
    async with served(authority.issue(), handshakes=2) as (server, port):
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        await until(lambda: len(server._connecting) == 2)
        reader, refused = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read(-1) == b""
        for writer in (refused, *(writer for _, writer in silent)):
            writer.close()
        await until(lambda: not server._connecting)
        _, late = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: server._connecting)
    late.close()


async def test_an_unknown_authority_is_refused_by_the_client_and_the_server_goes_on(
    authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    async with served(authority.issue()) as (_, port):
        stranger = trusting(other, port)
        with pytest.raises(ConnectFailed):
            await stranger.request("GET", "/")
        client = trusting(authority, port)
        assert (await client.request("GET", "/"))[0] == 200
        client.close()


async def test_a_pinned_client_trusts_this_certificate_and_no_other_of_the_same_authority(authority: Authority) -> None:
    mine, other = authority.issue("mine"), authority.issue("other")
    for serving, trusted, works in ((mine, mine, True), (other, mine, False)):
        async with served(serving) as (_, port):
            client = HttpClient(Origin(host="127.0.0.1", port=port, tls=tls.pinned(trusted.certificate)))
            if works:
                assert (await client.request("GET", "/"))[0] == 200
            else:
                with pytest.raises(ConnectFailed):
                    await client.request("GET", "/")
            client.close()


async def test_renewed_files_are_used_and_half_renewed_ones_are_not(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    issued, renewed, clock = authority.issue(), authority.issue("renewed"), Clock()
    async with served(issued, clock=clock) as (_, port):
        first = await serial_number(authority, port)
        shutil.copy(renewed.certificate, issued.certificate)
        clock.now_s += 5
        assert await serial_number(authority, port) == first  # not looked at yet
        for _ in range(2):
            clock.now_s += 10
            assert await serial_number(authority, port) == first  # the key is still the old one's
        assert caplog.text.count("stays in use") == 1
        shutil.copy(renewed.key, issued.key)
        clock.now_s += 10
        assert await serial_number(authority, port) != first
        issued.key.unlink()
        clock.now_s += 10
        assert await serial_number(authority, port) != first


@pytest.mark.parametrize(
    ("certificate", "key", "message"),
    [
        ("absent.pem", "server.key", "absent.pem cannot be read"),
        ("server.pem", "absent.key", "absent.key cannot be read"),
        ("server.key", "server.key", "holds no PEM certificate"),
        ("server.pem", "other.key", "is not that of"),
        ("server.pem", "server.pem", "is not what TLS needs"),
        ("locked.pem", "locked.key", "has a passphrase"),
    ],
)
async def test_files_that_cannot_be_used_are_refused_by_name(
    authority: Authority, tmp_path: Path, certificate: str, key: str, message: str
) -> None:
    authority.issue()
    authority.issue("other")
    authority.issue("locked", passphrase=b"secret")
    with pytest.raises(TlsUnusable, match=message):
        ServerTls(tmp_path / certificate, tmp_path / key)


async def test_an_expired_certificate_is_said(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    issued = authority.issue(days=-1)
    ServerTls(issued.certificate, issued.key)
    assert "expired on" in caplog.text
