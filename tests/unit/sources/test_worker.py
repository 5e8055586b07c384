"""Blocking work beside the event loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tundish.sources.worker import Worker


async def test_work_is_done_in_order_in_one_other_thread() -> None:
    worker, order = Worker("test"), list[int]()

    def work(number: int) -> int:
        order.append(number)
        return threading.get_ident()

    threads = await asyncio.gather(*(worker.do(work, number) for number in range(20)))
    worker.close()
    assert order == list(range(20))
    assert set(threads) != {threading.get_ident()}
    assert len(set(threads)) == 1


async def test_what_the_work_raises_is_raised() -> None:
    worker = Worker("test")
    with pytest.raises(ZeroDivisionError):
        await worker.do(lambda: 1 // 0)
    assert await worker.do(lambda: "still there") == "still there"
    worker.close()


async def test_whoever_waits_can_leave_while_the_work_hangs() -> None:
    worker, go_on, closed = Worker("test"), threading.Event(), threading.Event()
    waiting = asyncio.create_task(worker.do(go_on.wait))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    worker.close(closed.set)
    assert not closed.is_set()
    go_on.set()
    await asyncio.to_thread(closed.wait, 10)
    assert closed.is_set()


def test_work_that_outlives_the_loop_disturbs_nobody() -> None:
    go_on, closed = threading.Event(), threading.Event()

    async def leave() -> None:
        worker = Worker("test")
        waiting = asyncio.create_task(worker.do(go_on.wait))
        await asyncio.sleep(0)
        waiting.cancel()
        worker.close(closed.set)

    asyncio.run(leave())
    go_on.set()
    assert closed.wait(10)
