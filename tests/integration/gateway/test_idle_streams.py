"""Thousands of streams that say nothing, each with a client, a place in the gateway and a connection upstream."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from .processes import KEY, GatewayProcess, UpstreamProcess, chat_body, receipts_in, serve, until, upstream

WANTED = 5000
SPARE_FILES = 200
AT_ONCE = 100
KIB_PER_STREAM = 64
"""What one idle stream may take of the gateway's memory; measured: 19."""


def streams_possible() -> int:
    """5 000, or what the system's limit of open files leaves: the gateway has two for each stream."""
    if sys.platform == "win32":
        return 200  # select() is what Python's tests there have
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = 65_536 if hard == resource.RLIM_INFINITY else hard
    if soft < limit:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return min(WANTED, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_FILES) // 2)


CONFIG = """
[places.rack]
reach = "site"
[deployments.idle]
backend = "openai_compatible"
model = "m"
base_url = "{idle}"
place = "rack"
connections = {{ max_connections = {streams} }}
timeouts = {{ first_token_s = 60, between_tokens_s = 600 }}
[deployments.good]
backend = "openai_compatible"
model = "m"
base_url = "{good}"
place = "rack"
"""


@pytest.fixture
def near(tmp_path: Path) -> Iterator[UpstreamProcess]:
    with upstream(tmp_path, "near") as running:
        yield running


async def begin(gateway: GatewayProcess, gate: asyncio.Semaphore) -> asyncio.StreamWriter:
    """A stream that has begun, and that nobody reads on."""
    address = urllib.parse.urlsplit(gateway.url)
    body = json.dumps(chat_body("idle", stream=True)).encode()
    async with gate:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\napi-key: {KEY}\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"Well")
        assert answer.startswith(b"HTTP/1.1 200"), answer
    return writer


async def test_idle_streams_cost_memory_and_nothing_else(tmp_path: Path, near: UpstreamProcess) -> None:
    streams = streams_possible()
    config = tmp_path / "tundish.toml"
    text = CONFIG.format(idle=near.url("idle"), good=near.url("good"), streams=streams)
    config.write_text(text, encoding="utf-8")
    gateway = await asyncio.to_thread(serve, tmp_path, config)
    try:
        process = psutil.Process(gateway.pid)
        resident: list[int] = [process.memory_info().rss]
        for _ in range(2):
            gate = asyncio.Semaphore(AT_ONCE)
            writers = await asyncio.gather(*(begin(gateway, gate) for _ in range(streams)))
            resident.append(process.memory_info().rss)
            others = [await asyncio.to_thread(gateway.chat, "good", stream=bool(turn % 2)) for turn in range(20)]
            assert [answered.status for answered in others] == [200] * 20
            assert await asyncio.to_thread(gateway.metric, "tundish_requests_running") == streams
            for writer in writers:
                writer.transport.abort()
            await asyncio.to_thread(until, lambda: gateway.metric("tundish_requests_running") == 0)
            await asyncio.to_thread(until, lambda: gateway.metric("tundish_backend_slots_busy") == 0)
            await asyncio.to_thread(until, lambda: gateway.metric("tundish_http_connections") == 1)
            resident.append(process.memory_info().rss)
        open_files = await asyncio.to_thread(process.num_fds) if sys.platform != "win32" else 0
        print(
            f"{streams} streams; resident MiB: {[round(size / 2**20) for size in resident]}; open files: {open_files}"
        )
        assert open_files < 100
        start, first, _, second, _ = resident
        assert first - start < streams * KIB_PER_STREAM * 1024
        assert second - first < streams * KIB_PER_STREAM * 1024 / 8, "the second time takes what the first one left"
        assert await asyncio.to_thread(gateway.stop) == 0
    finally:
        gateway.close()
    left = [receipt for receipt in receipts_in(gateway.receipts_folder) if receipt.route == "idle"]
    assert [receipt.outcome for receipt in left] == ["cancelled"] * (2 * streams)
    assert len({receipt.request_id for receipt in left}) == 2 * streams
