"""The gateway itself is killed, its disk is full, its clock jumps: what is left on record must be true."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import http.client
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tundish.core.clock import SystemClock

from .conftest import Start, answers, fails
from .processes import (
    GatewayProcess,
    UpstreamProcess,
    chat_body,
    examine,
    receipts_in,
    receipts_of,
    serve,
    until,
    upstream,
)

WINDOW_S = 0.5
"""Far above the 25 ms that docs/receipts.md states, for a machine that is busy with other things; far below a second of
load, so that a receipt that is not written in time shows."""
CALLERS = 8


def site(near: str, far: str, *more: str) -> str:
    def deployment(name: str, url: str, place: str) -> str:
        return (
            f'[deployments.{name}]\nbackend = "openai_compatible"\nmodel = "m"\nremote_model = "{name}"\n'
            f'base_url = "{url}"\nplace = "{place}"\ncontext_length = 100000\n'
            "connections = { max_connections = 10000 }\n"
        )

    return "\n".join(
        [
            '[places.rack]\nreach = "site"\n[places.cloud]\nreach = "global"',
            '[policy]\nclasses = ["public", "restricted"]\ndefault_class = "public"',
            '[[policy.rules]]\nclass = "public"\nplaces = ["*"]',
            '[[policy.rules]]\nclass = "restricted"\nplaces = ["rack"]',
            deployment("near", near, "rack"),
            deployment("far", far, "cloud"),
            '[routes.chat]\nmode = "order"\ndeployments = ["far", "near"]',
            *more,
        ]
    )


@pytest.fixture
def near(tmp_path: Path) -> Iterator[UpstreamProcess]:
    with upstream(tmp_path, "near") as running:
        yield running


@contextlib.contextmanager
def serving(folder: Path, config: Path) -> Iterator[GatewayProcess]:
    gateway = serve(folder, config)
    try:
        yield gateway
    finally:
        gateway.close()


def configure(folder: Path, near: UpstreamProcess, *more: str, weather: str = "good") -> Path:
    config = folder / "tundish.toml"
    config.write_text(site(near.url("good"), near.url(weather), *more), encoding="utf-8")
    return config


class Load:
    """Callers that ask as fast as they are answered, until nobody answers any more."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self.answered: list[tuple[float, str]] = []
        """When, and the request's id."""
        self._gateway = gateway
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(CALLERS)]
        for thread in self._threads:
            thread.start()

    @property
    def lasted_s(self) -> float:
        """From the first answer to the last."""
        return self.answered[-1][0] - self.answered[0][0]

    def end(self) -> None:
        """Wait until they have noticed that the gateway is gone."""
        for thread in self._threads:
            thread.join(30)

    def _ask(self, number: int) -> None:
        connection = self._gateway.connect()
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            body = chat_body("chat", stream=bool(number % 2))
            while True:
                answer = self._gateway.ask(connection, "POST", "/v1/chat/completions", body)
                assert answer.status == 200
                if number % 2 and b"[DONE]" not in answer.body:
                    return
                self.answered.append((time.monotonic(), answer.id))


def test_killed_under_load_only_the_last_moment_can_be_missing(tmp_path: Path, near: UpstreamProcess) -> None:
    """Three times over, in the same folders."""
    config = configure(tmp_path, near)
    due, generations = set[str](), 3
    for _ in range(generations):
        with serving(tmp_path, config) as gateway:
            load = Load(gateway)
            until(lambda load=load: len(load.answered) > 300 and load.lasted_s > 2 * WINDOW_S)
            gateway.process.kill()
            killed_s = time.monotonic()
            load.end()
        ids = [request_id for _, request_id in load.answered]
        assert len(set(ids)) == len(ids)
        due.update(request_id for at_s, request_id in load.answered if at_s < killed_s - WINDOW_S)
    with serving(tmp_path, config) as gateway:
        last = gateway.chat("chat")
        assert last.status == 200
        assert gateway.stop() == 0
    report = examine(gateway.receipts_folder)
    assert report.ok, report.findings
    assert [log.unsealed for log in report.logs] == [0], "one log, taken up again each time, and signed to its end"
    written = [receipt.request_id for receipt in receipts_in(gateway.receipts_folder)]
    assert len(set(written)) == len(written)
    missing_s = [killed_s - at_s for at_s, request_id in load.answered if request_id not in set(written)]
    print(
        f"of {len(ids)} answers {len(missing_s)} have no receipt; the oldest is {max(missing_s, default=0):.3f} s old"
    )
    assert due
    assert due <= set(written)
    assert last.id in written


def test_a_conversations_class_outlives_the_kill(tmp_path: Path, near: UpstreamProcess) -> None:
    config = configure(tmp_path, near)
    with serving(tmp_path, config) as gateway:
        assert gateway.chat("chat", x_tundish_conversation="c1").headers["x-tundish-place"] == "cloud"
        marked = gateway.chat("chat", x_tundish_conversation="c1", x_tundish_class="restricted")
        assert marked.headers["x-tundish-place"] == "rack"
        time.sleep(1.5)  # the stated half second, and a slow machine
        gateway.kill()
    with serving(tmp_path, config) as gateway:
        assert gateway.chat("chat", x_tundish_conversation="c1").headers["x-tundish-place"] == "rack"
        assert gateway.chat("chat", x_tundish_conversation="c2").headers["x-tundish-place"] == "cloud"


if sys.platform == "linux":
    import resource

    @contextlib.contextmanager
    def full_disk(gateway: GatewayProcess) -> Iterator[None]:
        """While active, no file of the gateway may become longer than its receipts are now."""
        leaves = [path.stat().st_size for path in gateway.receipts_folder.glob("*/leaves-*")]
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (max(leaves), resource.RLIM_INFINITY))
        try:
            yield
        finally:
            if gateway.process.poll() is None:
                resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def test_a_full_disk_refuses_and_recovers(tmp_path: Path, near: UpstreamProcess) -> None:
        config = configure(tmp_path, near, '[receipts]\nwhen_unwritable = "refuse"')
        with serving(tmp_path, config) as gateway:
            given = [gateway.chat("chat").id for _ in range(20)]
            receipts_of(gateway.receipts_folder, given)
            with full_disk(gateway):

                def is_refused() -> bool:
                    answered = gateway.chat("chat")
                    if answered.status == 200:
                        given.append(answered.id)
                        return False
                    assert answered.status == 503
                    assert "receipt" in answered.error["message"]
                    assert float(answered.headers["retry-after"]) > 0
                    return True

                until(is_refused)
                before = near.requests("good")
                assert is_refused()
                assert near.requests("good") == before, "who is refused costs nothing and goes nowhere"
                assert gateway.call("GET", "/healthz").status == 200
            until(lambda: gateway.chat("chat").status == 200)
            found = receipts_of(gateway.receipts_folder, given)
            assert [len(receipts) for receipts in found.values()] == [1] * len(given), "nothing was lost by it"
            assert gateway.stop() == 0
        assert any("receipts" in line.lower() and "ERROR" in line for line in gateway.printed), "it is said loudly"
        assert examine(gateway.receipts_folder).ok

    def test_a_full_disk_may_be_ignored_loudly(tmp_path: Path, near: UpstreamProcess) -> None:
        config = configure(tmp_path, near, '[receipts]\nwhen_unwritable = "continue"')
        with serving(tmp_path, config) as gateway:
            given = [gateway.chat("chat").id for _ in range(20)]
            receipts_of(gateway.receipts_folder, given)
            with full_disk(gateway):
                given += [gateway.chat("chat", stream=True).id for _ in range(20)]
                until(lambda: any("ERROR" in line and "receipts" in line.lower() for line in gateway.printed))
                answered = gateway.chat("chat")
                assert answered.status == 200
                given.append(answered.id)
            found = receipts_of(gateway.receipts_folder, given)
            assert [len(receipts) for receipts in found.values()] == [1] * len(given), "they had room in memory"
            assert gateway.stop() == 0
        assert examine(gateway.receipts_folder).ok

    def test_killed_while_the_disk_is_full(tmp_path: Path, near: UpstreamProcess) -> None:
        config = configure(tmp_path, near, '[receipts]\nwhen_unwritable = "continue"')
        with serving(tmp_path, config) as gateway:
            given = [gateway.chat("chat").id for _ in range(20)]
            receipts_of(gateway.receipts_folder, given)
            with full_disk(gateway):
                for _ in range(20):
                    assert gateway.chat("chat").status == 200
                gateway.kill()
        with serving(tmp_path, config) as gateway:
            given.append(gateway.chat("chat").id)
            assert gateway.stop() == 0
        receipts_of(gateway.receipts_folder, given)
        assert examine(gateway.receipts_folder).ok


class JumpingClock(SystemClock):
    """The machine's time, and what somebody has done to it."""

    def __init__(self) -> None:
        self.wall_s = 0.0
        """The wall clock is off by so much."""
        self.slept_s = 0.0
        """The machine was asleep for so long: both clocks have gone on."""

    def now(self) -> datetime.datetime:
        return super().now() + datetime.timedelta(seconds=self.wall_s + self.slept_s)

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.slept_s


DAY_S = 86_400.0


async def test_clocks_that_jump(gateway: Start) -> None:
    """Back a day, forward ten years, and a night's sleep: requests go on, circuits close in time, receipts verify."""
    clock = JumpingClock()
    async with gateway(bad=fails, good=answers, clock=clock, route="sticky = false") as site:

        async def ask() -> str:
            answered = await site.chat(stream=True, x_tundish_conversation="c")
            assert answered.status == 200
            assert answered.headers["x-tundish-deployment"] == "good"
            return answered.headers["x-request-id"]

        for _ in range(8):
            await ask()
        assert site.endpoint.dispatcher.circuits()["bad"].value == "open"
        first = await ask()
        clock.wall_s = -DAY_S
        clock.slept_s = 2.0  # the wall clock is looked at once a second
        earlier = await ask()
        asked_before = len(site.upstreams["bad"].bodies)
        clock.wall_s = 3650 * DAY_S
        clock.slept_s = 4.0
        later = await ask()
        assert len(site.upstreams["bad"].bodies) == asked_before, "an open circuit goes by the other clock"
        clock.slept_s += 8 * 3600.0
        await ask()
        assert len(site.upstreams["bad"].bodies) == asked_before + 1, "and after the night it is probed"
        ledger = site.endpoint.records.ledger
        assert ledger is not None
        assert await asyncio.to_thread(ledger.sync)
        times = [(await asyncio.to_thread(ledger.find, one)).receipt.arrived_us for one in (first, earlier, later)]
        assert times[1] < times[0] < times[2]
        assert all(receipt.duration_ms < 60_000 for receipt in receipts_in(site.data_dir / "receipts"))
        assert (await asyncio.to_thread(examine, site.data_dir / "receipts")).ok
