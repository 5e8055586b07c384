"""Another configuration in force while requests run."""

from __future__ import annotations

import asyncio
import json

from .conftest import STREAM_HEAD, Start, Upstream, answers, chunk, event, site


async def test_a_new_file_counts_for_new_requests(gateway: Start) -> None:
    async with gateway(one=answers, two=answers) as running:
        ports = {name: upstream.port for name, upstream in running.upstreams.items()}
        assert (await running.chat()).headers["x-tundish-deployment"] == "one"
        running.file.write_text(site({"two": ports["two"]}), encoding="utf-8")
        reloaded = await running.post("/tundish/v1/reload", {})
        assert reloaded.status == 200
        assert (await running.chat()).headers["x-tundish-deployment"] == "two"
        assert (await running.chat(model="one")).status == 404


async def test_an_invalid_file_leaves_the_old_one_in_force(gateway: Start) -> None:
    async with gateway(one=answers) as running:
        before = running.endpoint.dispatcher.site
        content = running.file.read_text(encoding="utf-8").replace('deployments = ["one"]', 'deployments = ["none"]')
        running.file.write_text(content + "\n[wrong]\n", encoding="utf-8")
        reloaded = await running.post("/tundish/v1/reload", {})
        assert reloaded.status == 400
        assert "none" in reloaded.error["message"]
        assert "wrong" in reloaded.error["message"], "everything that is wrong is told"
        assert running.endpoint.dispatcher.site is before
        assert (await running.chat()).status == 200


async def test_a_running_stream_ends_at_the_deployment_that_was_removed(gateway: Start) -> None:
    go_on = asyncio.Event()

    async def waits(upstream: Upstream, body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + event("first "))
        await go_on.wait()
        writer.write(event("last") + event(None, end="stop") + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    async with gateway(one=waits, two=answers) as running:
        stream = asyncio.create_task(running.chat(stream=True))
        async with asyncio.timeout(5):
            while not running.upstreams["one"].bodies:  # noqa: ASYNC110 - the upstream counts, it tells nobody
                await asyncio.sleep(0.005)
        running.file.write_text(site({"two": running.upstreams["two"].port}), encoding="utf-8")
        assert (await running.post("/tundish/v1/reload", {})).status == 200
        assert (await running.chat()).headers["x-tundish-deployment"] == "two"
        await asyncio.sleep(0.2)
        go_on.set()
        assert (await stream).texts == "first last"


async def test_what_stays_keeps_its_connections(gateway: Start) -> None:
    async with gateway(one=answers, two=answers) as running:
        kept = running.endpoint.dispatcher.site.backends["one"]
        ports = {name: upstream.port for name, upstream in running.upstreams.items()}
        running.file.write_text(site({"one": ports["one"]}), encoding="utf-8")
        await running.post("/tundish/v1/reload", {})
        assert running.endpoint.dispatcher.site.backends["one"] is kept


async def test_no_request_is_lost_while_it_is_reloaded_again_and_again(gateway: Start) -> None:
    async with gateway(one=answers, two=answers) as running:
        ports = {name: upstream.port for name, upstream in running.upstreams.items()}
        good = [site(ports), site({"two": ports["two"]}), site({"one": ports["one"]})]

        async def ask() -> set[int]:
            return {(await running.chat(stream=bool(turn % 2))).status for turn in range(40)}

        async def reload() -> None:
            for turn in range(12):
                content = "[[[" if turn % 4 == 3 else good[turn % len(good)]
                running.file.write_text(content, encoding="utf-8")
                answered = await running.post("/tundish/v1/reload", {})
                assert answered.status == (400 if turn % 4 == 3 else 200)

        *statuses, _ = await asyncio.gather(*(ask() for _ in range(6)), reload())
        assert [status for status in statuses if status != {200}] == []


async def test_receipts_are_there_and_verify(gateway: Start) -> None:
    async with gateway(one=answers) as running:
        answered = await running.chat()
        await running.chat(x_tundish_class="restricted")
        ledger = running.endpoint.records.ledger
        assert ledger is not None
        assert await asyncio.to_thread(ledger.sync)
        found = await asyncio.to_thread(ledger.find, answered.headers["x-request-id"])
        assert "one" in json.dumps(str(found))
