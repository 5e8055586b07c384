"""Many clients at once: what is written is put off to the end of a turn, and nobody gets less, or in another order."""

from __future__ import annotations

import asyncio

import pytest

from tundish.http.exchange import Exchange
from tundish.http.message import HttpRequest
from tundish.http.outbox import FEW, Outbox

CLIENTS = 4 * FEW
PIPELINED = 5


class Crowd:
    """A handler that answers nobody until all clients are there."""

    def __init__(self) -> None:
        self._all_here = asyncio.Event()
        self._here = 0

    async def __call__(self, request: HttpRequest, exchange: Exchange) -> None:
        self._here += 1
        if self._here >= CLIENTS:
            self._all_here.set()
        await self._all_here.wait()
        if request.path.startswith("/cut"):
            exchange.start(200, [])
            exchange.write(b"begun")
            exchange.abort()
        elif request.path.startswith("/stream"):
            exchange.start(200, [])
            for number in range(20):
                exchange.write(b"%d " % number * 100)
                await exchange.drain()
            exchange.finish()
        else:
            exchange.respond(200, [], request.path.encode() * 100)


def head(path: str, *lines: str) -> bytes:
    return ("\r\n".join((f"GET {path} HTTP/1.1", "Host: h", *lines)) + "\r\n\r\n").encode()


async def test_each_gets_all_of_its_answers_in_order(serve) -> None:
    async with serve(Crowd()) as running:
        clients = [await running.connect() for _ in range(CLIENTS)]
        for client in clients:
            pieces = [head(f"/{'stream' if number % 2 else 'whole'}{number}") for number in range(PIPELINED)]
            await client.send(b"".join(pieces))
        async with asyncio.timeout(10):
            for client in clients:
                for number in range(PIPELINED):
                    answer = await client.answer()
                    streamed = b"".join(b"%d " % part * 100 for part in range(20))
                    assert answer.body == (streamed if number % 2 else f"/whole{number}".encode() * 100)


@pytest.mark.parametrize("path", ["/whole", "/stream"])
async def test_the_last_answer_is_complete_before_the_connection_ends(serve, path: str) -> None:
    async with serve(Crowd()) as running:
        clients = [await running.connect() for _ in range(CLIENTS)]
        for client in clients:
            await client.send(head(path, "Connection: close"))
        async with asyncio.timeout(10):
            for client in clients:
                assert (await client.answer()).body
                assert await client.rest() == b""


async def test_what_follows_an_answer_comes_behind_it(serve) -> None:
    async with serve(Crowd()) as running:
        clients = [await running.connect() for _ in range(CLIENTS)]
        for client in clients:
            await client.send(head("/whole") + b"nonsense\r\n\r\n")
        async with asyncio.timeout(10):
            for client in clients:
                assert (await client.answer()).status == 200
                assert (await client.answer()).status == 400


async def test_an_answer_that_is_cut_is_not_taken_for_complete(serve) -> None:
    async with serve(Crowd()) as running:
        clients = [await running.connect() for _ in range(CLIENTS)]
        for client in clients:
            await client.send(head("/cut"))
        async with asyncio.timeout(10):
            for client in clients:
                with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                    await client.answer()


async def test_one_who_cannot_send_keeps_nobody_else_from_it() -> None:
    sent: list[str] = []

    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

        def flush(self) -> None:
            if self.name == "broken":
                raise RuntimeError(self.name)
            sent.append(self.name)

    outbox = Outbox()
    for name in ("a", "broken", "b"):
        outbox.add(Named(name))
    assert sent == []
    await asyncio.sleep(0)
    assert sent == ["a", "b"]
    outbox.add(Named("c"))
    await asyncio.sleep(0)
    assert sent == ["a", "b", "c"]
