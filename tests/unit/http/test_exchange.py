"""What a handler's calls become on the wire, and in how many writes."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from tundish.http.exchange import Exchange
from tundish.http.head import DateLine
from tundish.http.message import HttpRequest


class Wire:
    """A channel and its transport: keeps what is written."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.write_paused = False
        self.last_exchange = False
        self.unsent_hard_bytes = 100
        self.waits = 0
        self.cuts = 0
        self.given_up = 0
        self.over: list[bool] = []

    @property
    def transport(self) -> asyncio.Transport:
        return cast(asyncio.Transport, self)

    def write(self, data: bytes) -> None:
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return bool(self.cuts)

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self.writes))

    async def drained(self) -> None:
        self.waits += 1

    def response_over(self, *, close: bool) -> None:
        self.over.append(close)

    def cut(self) -> None:
        self.cuts += 1

    def give_up(self) -> None:
        self.given_up += 1


def exchange(wire: Wire, *, method: str = "GET", version: str = "1.1", keep_alive: bool = True) -> Exchange:
    request = HttpRequest(
        method=method,
        target="/",
        path="/",
        query="",
        headers={},
        body=b"",
        peer="",
        version=version,
        keep_alive=keep_alive,
    )
    return Exchange(wire, request, DateLine(lambda: 0.0))


DATE = b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"


def test_a_whole_response_is_one_write() -> None:
    wire = Wire()
    answer = exchange(wire)
    assert not answer.started
    answer.respond(200, [("x", "y")], b"body")
    assert wire.writes == [b"HTTP/1.1 200 OK\r\n" + DATE + b"content-length: 4\r\nx: y\r\n\r\nbody"]
    assert wire.over == [False]
    assert answer.started
    assert answer.over


def test_a_large_body_is_not_copied_behind_its_head() -> None:
    wire = Wire()
    exchange(wire).respond(200, [], bytes(100_000))
    assert list(map(len, wire.writes))[1:] == [100_000]


async def test_a_stream_is_its_head_with_the_first_chunk_then_a_write_for_each() -> None:
    wire = Wire()
    answer = exchange(wire)
    answer.start(200, [])
    assert answer.started
    assert wire.writes == []
    answer.write(b"a" * 17)
    answer.write(b"")
    await answer.drain()
    answer.write(b"b")
    answer.finish()
    assert wire.writes == [
        b"HTTP/1.1 200 OK\r\n" + DATE + b"transfer-encoding: chunked\r\n\r\n11\r\n" + b"a" * 17 + b"\r\n",
        b"1\r\nb\r\n",
        b"0\r\n\r\n",
    ]
    assert wire.over == [False]
    assert wire.waits == 0


async def test_drain_sends_a_head_that_waits_for_its_body() -> None:
    wire = Wire()
    answer = exchange(wire)
    answer.start(200, [])
    await answer.drain()
    assert len(wire.writes) == 1
    answer.finish()
    assert wire.writes[1:] == [b"0\r\n\r\n"]


def test_a_stream_without_a_chunk_is_one_write() -> None:
    wire = Wire()
    answer = exchange(wire)
    answer.start(200, [])
    answer.finish()
    assert len(wire.writes) == 1
    assert wire.writes[0].endswith(b"chunked\r\n\r\n0\r\n\r\n")


async def test_drain_waits_when_the_client_is_slow() -> None:
    wire = Wire()
    answer = exchange(wire)
    answer.start(200, [])
    wire.write_paused = True
    await answer.drain()
    assert wire.waits == 1


def test_a_handler_that_does_not_wait_is_given_up() -> None:
    wire = Wire()
    answer = exchange(wire)
    answer.start(200, [])
    answer.write(b"a" * 100)
    assert wire.given_up == 0
    wire.write_paused = True
    answer.write(b"a")
    assert wire.given_up == 1


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_says_nothing_about_one(status: int) -> None:
    wire = Wire()
    exchange(wire).respond(status, [], b"ignored")
    assert wire.writes[0].endswith(DATE + b"\r\n")
    streamed = Wire()
    answer = exchange(streamed)
    answer.start(status, [])
    answer.write(b"ignored")
    answer.finish()
    assert streamed.writes == wire.writes


def test_head_gets_the_head_of_get() -> None:
    wire = Wire()
    exchange(wire, method="HEAD").respond(200, [], b"1234")
    assert wire.writes == [b"HTTP/1.1 200 OK\r\n" + DATE + b"content-length: 4\r\n\r\n"]
    streamed = Wire()
    answer = exchange(streamed, method="HEAD")
    answer.start(200, [])
    answer.write(b"1234")
    answer.finish()
    assert streamed.writes == [b"HTTP/1.1 200 OK\r\n" + DATE + b"transfer-encoding: chunked\r\n\r\n"]


def test_an_old_client_gets_a_stream_until_the_connection_ends() -> None:
    wire = Wire()
    answer = exchange(wire, version="1.0")
    answer.start(200, [])
    answer.write(b"a")
    answer.write(b"b")
    answer.finish()
    assert wire.writes == [b"HTTP/1.1 200 OK\r\n" + DATE + b"connection: close\r\n\r\na", b"b"]
    assert wire.over == [True]


@pytest.mark.parametrize(
    ("version", "keep_alive", "stopping", "line", "close"),
    [
        ("1.1", True, False, b"", False),
        ("1.1", False, False, b"connection: close\r\n", True),
        ("1.1", True, True, b"connection: close\r\n", True),
        ("1.0", True, False, b"connection: keep-alive\r\n", False),
        ("1.0", False, False, b"connection: close\r\n", True),
    ],
)
def test_it_says_whether_the_connection_stays(
    version: str, keep_alive: bool, stopping: bool, line: bytes, close: bool
) -> None:
    wire = Wire()
    wire.last_exchange = stopping
    exchange(wire, version=version, keep_alive=keep_alive).respond(200, [])
    assert wire.writes == [b"HTTP/1.1 200 OK\r\n" + DATE + b"content-length: 0\r\n" + line + b"\r\n"]
    assert wire.over == [close]


def test_a_response_that_cannot_be_sent_has_not_started() -> None:
    wire = Wire()
    answer = exchange(wire)
    with pytest.raises(ValueError, match="line break"):
        answer.respond(200, [("x", "a\r\nset-cookie: b")])
    with pytest.raises(ValueError, match="line break"):
        answer.start(200, [("x", "a\r\nset-cookie: b")])
    assert not answer.started
    answer.respond(500, [])
    assert len(wire.writes) == 1


def test_calls_out_of_turn_are_errors() -> None:
    answer = exchange(Wire())
    for call in (lambda: answer.write(b"a"), answer.finish):
        with pytest.raises(RuntimeError, match="out of turn"):
            call()
    answer.start(200, [])
    for call in (lambda: answer.start(200, []), lambda: answer.respond(200, [])):
        with pytest.raises(RuntimeError, match="out of turn"):
            call()
    answer.finish()
    for call in (lambda: answer.start(200, []), lambda: answer.write(b"a"), answer.finish):
        with pytest.raises(RuntimeError, match="out of turn"):
            call()


async def test_nothing_is_written_to_a_client_that_has_gone() -> None:
    wire = Wire()
    answer = exchange(wire)
    assert answer.lost()
    assert not answer.lost()
    answer.start(200, [])
    answer.write(b"a")
    await answer.drain()
    answer.finish()
    answer.respond(200, [])
    answer.abort()
    assert wire.writes == []
    assert wire.over == []
    assert wire.cuts == 0


def test_a_complete_response_is_not_lost() -> None:
    answer = exchange(Wire())
    answer.respond(200, [])
    assert not answer.lost()


async def test_after_abort_nothing_is_written() -> None:
    wire = Wire()
    answer = exchange(wire)
    answer.start(200, [])
    answer.write(b"a")
    answer.abort()
    answer.abort()
    answer.write(b"b")
    await answer.drain()
    answer.finish()
    assert len(wire.writes) == 1
    assert wire.cuts == 1
    assert not answer.lost()
