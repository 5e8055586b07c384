"""Pulling from a real server that misbehaves: what arrives is right or nothing is there."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tundish.catalog.cache import CachedModel
from tundish.catalog.card import ModelCard, ModelKey
from tundish.catalog.catalog import keep_card
from tundish.catalog.errors import DiskFull, ModelBusy, ModelNotCached
from tundish.core.errors import TundishError
from tundish.sources.errors import Offline, RemoteChanged, SourceRefused, SourceUnreachable, WrongContent
from tundish.sources.progress import PullEvent, PullFinished, PullNote, PullProgress, PullStarted, PullWaiting
from tundish.sources.retry import RetryPolicy

MB = 1_000_000
PATH = "/noise.gguf"
KEY = ModelKey("test", "noise", "f32-gguf")


@pytest.fixture
def content(server) -> bytes:
    server.content[PATH] = server.gguf(4 * MB)
    return server.content[PATH]


async def pull(library, card: ModelCard, *, update: bool = False) -> tuple[CachedModel, list[PullEvent]]:
    events: list[PullEvent] = []
    keep_card(library.folders.cards, card)
    model = await library.pull("test/noise", events.append, update=update)
    return model, events


async def until(happened: Callable[[], bool]) -> None:
    """Wait for something that the server's thread, or a task, does."""
    async with asyncio.timeout(30):
        while not happened():  # noqa: ASYNC110 (it is another thread's)
            await asyncio.sleep(0.01)


def notes(events: list[PullEvent]) -> str:
    return "\n".join(event.text for event in events if isinstance(event, PullNote))


def is_absent(library) -> bool:
    contents = library.cache.contents()
    return not contents.models and not contents.unreadable


async def test_an_honest_source(server, library, content) -> None:
    model, events = await pull(library, server.card(PATH))
    assert model.weights.read_bytes() == content
    assert isinstance(events[0], PullProgress | PullStarted)
    assert events[-1] == PullFinished(model=str(KEY), size_bytes=len(content), fetched=True)
    assert any(isinstance(event, PullProgress) and event.arrived_bytes == len(content) for event in events)
    assert library.resolve("noise") == model.weights
    assert not library.cache.verify(model)
    _, events = await pull(library, server.card(PATH))
    assert events == [PullFinished(model=str(KEY), size_bytes=len(content), fetched=False)]
    assert len(server.asked) == 1


async def test_a_connection_that_breaks_again_and_again_is_continued(server, library, content) -> None:
    server.misbehave(PATH, server.cut_after(1_500_000), server.cut_after(1_500_000))
    model, events = await pull(library, server.card(PATH))
    assert model.weights.read_bytes() == content
    assert [asked.start for asked in server.asked] == [0, 1_500_000, 3_000_000]
    assert "trying again" in notes(events)


async def test_a_stall_is_given_up_and_continued(server, open_library, content) -> None:
    server.misbehave(PATH, server.stall_after(2_000_000))
    model, events = await pull(
        open_library(policy=RetryPolicy(first_delay_s=0.001, stall_timeout_s=1)), server.card(PATH)
    )
    assert model.weights.read_bytes() == content
    assert 2_000_000 in [asked.start for asked in server.asked]
    assert "no byte for" in notes(events)


async def test_a_server_that_never_answers(server, open_library, content) -> None:
    async def never(_) -> None:
        await asyncio.sleep(3600)

    server.usually = never
    library = open_library(policy=RetryPolicy(attempts=2, first_delay_s=0.001, stall_timeout_s=0.3))
    with pytest.raises(SourceUnreachable, match="no answer for"):
        await pull(library, server.card(PATH))


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
async def test_a_busy_or_broken_server_is_asked_again(server, library, content, code: int) -> None:
    server.misbehave(PATH, server.status(code, {"retry-after": 0}), server.status(code, body=b"oops"))
    model, events = await pull(library, server.card(PATH))
    assert model.weights.read_bytes() == content
    assert f"answered {code}" in notes(events)


async def test_retry_after_is_obeyed_up_to_a_limit(server, library, content) -> None:
    server.misbehave(PATH, server.status(429, {"retry-after": "86400"}))
    _, events = await pull(library, server.card(PATH))
    assert "trying again in 0.1 s" in notes(events)


async def test_it_gives_up_in_the_end_and_goes_on_the_next_time(server, library, content) -> None:
    server.misbehave(PATH, server.cut_after(2_500_000), *[server.status(503)] * 10)
    with pytest.raises(SourceUnreachable, match=r"503.*kept"):
        await pull(library, server.card(PATH))
    assert is_absent(library)
    assert library.cache.contents().partial == {KEY: 2_500_000}
    with pytest.raises(ModelNotCached, match="tundish model pull"):
        library.resolve("noise")
    server.behaviours.clear()
    model, events = await pull(library, server.card(PATH))
    assert model.weights.read_bytes() == content
    assert server.asked[-1].start == 2_500_000
    assert next(event for event in events if isinstance(event, PullStarted)).arrived_bytes == 2_500_000


@pytest.mark.parametrize(("code", "told"), [(401, "credentials"), (403, "gated"), (404, "no such file"), (418, "418")])
async def test_a_refusal_is_told_at_once(server, library, content, code: int, told: str) -> None:
    server.misbehave(PATH, server.status(code))
    with pytest.raises(SourceRefused, match=told):
        await pull(library, server.card(PATH))
    assert len(server.asked) == 1
    assert is_absent(library)


async def test_a_web_page_is_no_model(server, library, content) -> None:
    page = b"<!doctype html><title>Log in</title>"
    server.misbehave(PATH, server.status(200, {"content-type": "text/html; charset=utf-8"}, page))
    with pytest.raises(WrongContent, match="web page"):
        await pull(library, server.card(PATH))
    assert is_absent(library)


async def test_a_web_page_that_calls_itself_binary_is_no_model_either(server, library, content) -> None:
    page = b"<!doctype html><title>Log in</title>"
    server.misbehave(PATH, server.status(200, {"content-type": "application/octet-stream"}, page))
    with pytest.raises(WrongContent, match="not a GGUF file"):
        await pull(library, server.card(PATH))
    assert is_absent(library)


async def test_wrong_bytes_are_thrown_away(server, library, content) -> None:
    right = hashlib.sha256(content).hexdigest()
    server.content[PATH] = content[:-1] + bytes([content[-1] ^ 1])
    with pytest.raises(WrongContent, match=right):
        await pull(library, server.card(PATH, sha256=right))
    assert is_absent(library)
    server.content[PATH] = content
    model, _ = await pull(library, server.card(PATH, sha256=right))
    assert not library.cache.verify(model)
    assert server.asked[-1].start == 0


async def test_wrong_bytes_in_one_of_several_parts_are_fetched_whole_once_more(server, library, content) -> None:
    async def rotten_then_cut(answer) -> None:
        body = answer.honest_head()
        answer.writer.write(body[:1000] + b"rotten" + body[1006:2_000_000])
        await answer.writer.drain()
        await asyncio.sleep(0.05)
        answer.writer.transport.abort()

    server.misbehave(PATH, rotten_then_cut)
    model, events = await pull(library, server.card(PATH, sha256=hashlib.sha256(content).hexdigest()))
    assert model.weights.read_bytes() == content
    assert "starting over" in notes(events)


async def test_a_file_that_changes_between_two_ranges_starts_over(server, library, content) -> None:
    other = server.gguf(4 * MB, seed=1)

    async def cut_and_change(answer) -> None:
        await server.cut_after(2_000_000)(answer)
        server.content[PATH] = other

    server.misbehave(PATH, cut_and_change)
    model, events = await pull(library, server.card(PATH))
    assert model.weights.read_bytes() == other
    assert "whole file again" in notes(events)


async def test_a_changed_file_is_noticed_even_if_the_server_ignores_if_range(server, library, content) -> None:
    other = server.gguf(4 * MB, seed=1)

    async def cut_and_change(answer) -> None:
        await server.cut_after(2_000_000)(answer)
        server.content[PATH] = other

    async def ignores_if_range(answer) -> None:
        start, total = answer.asked.start, len(answer.content)
        headers = {"content-range": f"bytes {start}-{total - 1}/{total}", "content-length": total - start}
        answer.head(206, {**headers, "etag": answer.etag})
        answer.writer.write(answer.content[start:])
        await answer.writer.drain()

    server.misbehave(PATH, cut_and_change, ignores_if_range)
    model, events = await pull(library, server.card(PATH))
    assert model.weights.read_bytes() == other
    assert "another version" in notes(events)


async def test_a_file_that_never_stops_changing_is_given_up(server, library, content) -> None:
    seeds = iter(range(1, 100))

    async def change(answer) -> None:
        await server.cut_after(1_100_000)(answer)
        server.content[PATH] = server.gguf(4 * MB + next(seeds) * 1000)

    server.usually = change
    with pytest.raises((RemoteChanged, SourceUnreachable)):
        await pull(library, server.card(PATH))
    assert is_absent(library)


async def test_a_server_without_ranges_is_read_from_the_start(server, library, content) -> None:
    server.misbehave(PATH, server.cut_after(2_000_000), server.without_ranges)
    model, _ = await pull(library, server.card(PATH))
    assert model.weights.read_bytes() == content


async def test_another_part_than_asked_for_is_not_taken(server, library, content) -> None:
    async def from_elsewhere(answer) -> None:
        total = len(answer.content)
        headers = {"content-range": f"bytes 5-{total - 1}/{total}", "content-length": total - 5, "etag": answer.etag}
        answer.head(206, headers)
        answer.writer.write(answer.content[5:])
        await answer.writer.drain()

    server.misbehave(PATH, server.cut_after(2_000_000), from_elsewhere)
    model, events = await pull(library, server.card(PATH))
    assert model.weights.read_bytes() == content
    assert "another part" in notes(events)


async def test_a_size_that_is_promised_and_never_kept(server, library, content) -> None:
    async def promises_more(answer) -> None:
        start, total = answer.asked.start, len(answer.content) + 1000
        headers = {"content-range": f"bytes {start}-{total - 1}/{total}"} if start else {}
        answer.head(206 if start else 200, {**headers, "content-length": total - start, "etag": answer.etag})
        answer.writer.write(answer.content[start:])
        await answer.writer.drain()

    server.usually = promises_more
    with pytest.raises(SourceUnreachable, match="ended before the response did"):
        await pull(library, server.card(PATH))
    assert is_absent(library)


async def test_more_than_was_announced_is_refused(server, library, content) -> None:
    async def sends_more(answer) -> None:
        total = 1_000_000
        headers = {"content-range": f"bytes 0-{total - 1}/{total}", "transfer-encoding": "chunked"}
        answer.head(206 if answer.asked.start else 200, {**headers, "etag": answer.etag})
        for at in range(0, len(answer.content), 500_000):
            piece = answer.content[at : at + 500_000]
            answer.writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        answer.writer.write(b"0\r\n\r\n")
        await answer.writer.drain()

    server.usually = sends_more
    card = server.card(PATH, sha256="0" * 64)
    with pytest.raises(TundishError):
        await pull(library, card)
    assert is_absent(library)


async def test_a_length_that_nobody_knows_is_refused(server, library, content) -> None:
    async def until_closed(answer) -> None:
        answer.head(200, {"content-type": "application/octet-stream"})
        answer.writer.write(answer.content[:100_000])
        await answer.writer.drain()

    server.usually = until_closed
    with pytest.raises(SourceRefused, match="how long"):
        await pull(library, server.card(PATH))


async def test_redirects_are_followed_and_loops_are_not(server, library, content) -> None:
    server.content["/elsewhere"] = content
    server.misbehave(PATH, server.status(302, {"location": "/elsewhere"}))
    model, _ = await pull(library, server.card(PATH))
    assert model.weights.read_bytes() == content
    library.remove("noise")
    server.usually = server.status(307, {"location": PATH})
    with pytest.raises(SourceRefused, match="redirects more than"):
        await pull(library, server.card(PATH))


async def test_several_files_come_at_once_and_a_failing_one_ends_the_others(server, library) -> None:
    paths = [f"/noise-0000{part}-of-00006.gguf" for part in range(1, 7)]
    for seed, path in enumerate(paths):
        server.content[path] = server.gguf(MB, seed)
    server.usually = server.slowly(5e6)
    model, _ = await pull(library, server.card(*paths))
    assert 2 <= server.open_most <= 4
    assert model.weights.name == "noise-00001-of-00006.gguf"
    assert not library.cache.verify(model)
    library.remove("noise")
    server.misbehave(paths[2], server.status(404))
    with pytest.raises(SourceRefused, match="00003"):
        await pull(library, server.card(*paths))
    assert is_absent(library)


async def test_two_pulls_of_one_model_share_one_download(server, open_library, content) -> None:
    server.usually = server.slowly(10e6)
    one, other = open_library(), open_library()
    (model, events), (same, others) = await asyncio.gather(pull(one, server.card(PATH)), pull(other, server.card(PATH)))
    assert model.weights == same.weights
    assert len(server.asked) == 1
    assert any(isinstance(event, PullWaiting) for event in events + others)
    assert {events[-1].fetched, others[-1].fetched} == {True, False}


async def test_a_model_that_is_being_pulled_is_not_removed(server, library, content) -> None:
    server.usually = server.slowly(10e6)
    pulling = asyncio.create_task(pull(library, server.card(PATH)))
    await until(lambda: bool(server.asked))
    with pytest.raises(ModelBusy):
        library.remove("noise")
    await pulling
    assert library.remove("noise") == [KEY]
    assert is_absent(library)


async def test_a_source_that_changed_since_it_was_pinned_is_noticed(server, library, content) -> None:
    await pull(library, server.card(PATH))
    library.remove("noise")
    server.content[PATH] = server.gguf(4 * MB, seed=7)
    with pytest.raises(RemoteChanged, match="--update"):
        await pull(library, server.card(PATH))
    assert is_absent(library)
    model, _ = await pull(library, server.card(PATH), update=True)
    assert model.weights.read_bytes() == server.content[PATH]
    library.remove("noise")
    await pull(library, server.card(PATH))


async def test_cancelling_keeps_what_arrived(server, library, content) -> None:
    server.usually = server.slowly(3e6)
    events: list[PullEvent] = []
    keep_card(library.folders.cards, server.card(PATH))
    pulling = asyncio.create_task(library.pull("noise", events.append))
    await until(lambda: any(isinstance(event, PullProgress) and event.arrived_bytes > MB for event in events))
    pulling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pulling
    server.usually = server.slowly(1e9)
    model, _ = await pull(library, server.card(PATH))
    assert server.asked[-1].start > MB
    assert model.weights.read_bytes() == content


async def test_a_part_that_rotted_on_disk_is_not_continued(server, library, content) -> None:
    server.misbehave(PATH, server.cut_after(2_000_000), *[server.status(404)])
    with pytest.raises(SourceRefused):
        await pull(library, server.card(PATH))
    [part] = library.folders.models.rglob("noise.gguf")
    data = bytearray(part.read_bytes())
    data[777] ^= 1
    part.write_bytes(data)
    model, _ = await pull(library, server.card(PATH))
    assert server.asked[-1].start == 0
    assert model.weights.read_bytes() == content


async def test_offline_asks_nobody(server, open_library, content) -> None:
    library = open_library(offline=True)
    with pytest.raises(Offline, match="model import"):
        await pull(library, server.card(PATH))
    with pytest.raises(Offline):
        await library.add("somebody/something-GGUF")
    assert not server.asked
    await pull(open_library(), server.card(PATH))
    model, _ = await pull(library, server.card(PATH))
    assert model.weights.read_bytes() == content


async def test_no_room_is_told_before_anything_is_fetched(server, library, content) -> None:
    async def enormous(answer) -> None:
        answer.head(200, {"content-length": 10**18, "etag": '"x"'})
        answer.writer.write(b"GGUF")
        await answer.writer.drain()

    server.usually = enormous
    with pytest.raises(DiskFull, match=r"1000000000\.\d+ GB are needed"):
        await pull(library, server.card(PATH))


async def test_a_models_folder_that_cannot_be_made(server, open_library, content, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file is in the way")
    with pytest.raises(TundishError, match="cannot be used"):
        await pull(open_library(), server.card(PATH))
