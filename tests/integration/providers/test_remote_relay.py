"""Bytes through a remote backend: what the client gets, what is counted, and what becomes of everything that fails."""

from __future__ import annotations

import asyncio
import json

import pytest

from tundish.core.backend import Health
from tundish.core.errors import (
    BackendError,
    BackendStopped,
    BackendTimeout,
    ContentFiltered,
    InvalidRequest,
    Overloaded,
    TundishError,
    Unavailable,
)
from tundish.core.events import Finished, TextDelta, Usage
from tundish.core.request import Request, Sampling, UserMessage
from tundish.http.errors import PoolFull
from tundish.providers.spec import ApiKey, RemoteSpec, RemoteTimeouts, fixed
from tundish.wire import errors

from .conftest import ANSWER, CHUNKS, USAGE, asking, chunk, events, raw, relay, streamed, whole

COUNTED = Usage(prompt_tokens=5, completion_tokens=2)
HELLO = Request(model="m", messages=(UserMessage(text="Hi"),), sampling=Sampling())
DONE = b"[DONE]"


@pytest.fixture
def spec(provider):
    def made(**more) -> RemoteSpec:
        given = {"base_url": f"{provider.url}/v1", "model": "gpt", "auth": ApiKey(source=fixed("k-secret"))}
        return RemoteSpec(**given | more)

    return made


@pytest.fixture
async def backend(started, spec):
    return await started(spec())


async def generated(backend) -> list:
    return [event async for event in backend.generate(HELLO)]


async def each_way(backend) -> list[TundishError]:
    """The errors that a stream of bytes and a stream of events end with."""
    found = []
    for way in (relay(backend, asking(stream=True)), generated(backend)):
        with pytest.raises(TundishError) as caught:
            await way
        found.append(caught.value)
    assert backend.status().slots_busy == 0
    return found


# --- what goes through ---


async def test_a_whole_answer_goes_through_as_it_is(provider, backend) -> None:
    assert await relay(backend, asking()) == (ANSWER, COUNTED)
    assert "stream_options" not in provider.asked[0].json


async def test_a_stream_goes_through_without_the_usage_that_only_we_asked_for(provider, backend) -> None:
    provider.answer = streamed(*(events(data) for data in (*CHUNKS, DONE)), pause_s=0.002)
    assert await relay(backend, asking(stream=True)) == (events(*CHUNKS[:-1], DONE), COUNTED)
    assert provider.asked[0].json["stream_options"] == {"include_usage": True}


async def test_a_client_that_asks_for_usage_gets_it(provider, backend) -> None:
    provider.answer = streamed(events(*CHUNKS, DONE))
    assert await relay(backend, asking(stream=True, include_usage=True)) == (events(*CHUNKS, DONE), COUNTED)


async def test_other_options_of_the_stream_are_kept(provider, backend) -> None:
    provider.answer = streamed(events(*CHUNKS, DONE))
    await relay(backend, asking(stream=True, stream_options={"include_obfuscation": False}))
    assert provider.asked[0].json["stream_options"] == {"include_obfuscation": False, "include_usage": True}


async def test_usage_in_an_event_that_says_more_stays(provider, backend) -> None:
    last = chunk(finish="stop", usage={"prompt_tokens": 5, "completion_tokens": 2})
    provider.answer = streamed(events(chunk("Hi"), last, DONE))
    assert await relay(backend, asking(stream=True)) == (events(chunk("Hi"), last, DONE), COUNTED)


@pytest.mark.parametrize("step", [1, 7, 64])
async def test_it_does_not_matter_where_the_bytes_are_cut(provider, backend, step: int) -> None:
    sent = b": ping\n\n" + events(*CHUNKS, DONE)
    provider.answer = streamed(*(sent[at : at + step] for at in range(0, len(sent), step)))
    body, usage = await relay(backend, asking(stream=True))
    assert body == b": ping\n\n" + events(*CHUNKS[:-1], DONE)
    assert usage == COUNTED


async def test_lines_that_end_in_crlf_are_written_anew(provider, backend) -> None:
    sent = events(*CHUNKS, DONE).replace(b"\n", b"\r\n")
    provider.answer = streamed(*(sent[at : at + 11] for at in range(0, len(sent), 11)))
    assert await relay(backend, asking(stream=True)) == (events(*CHUNKS[:-1], DONE), COUNTED)


async def test_a_stream_whose_end_nobody_marked_is_ended(provider, backend) -> None:
    provider.answer = streamed(events(*CHUNKS))
    assert await relay(backend, asking(stream=True)) == (events(*CHUNKS[:-1], DONE), COUNTED)


async def test_a_connection_serves_one_answer_after_the_other(provider, backend) -> None:
    provider.answer = streamed(*(events(data) for data in (*CHUNKS, DONE)), pause_s=0.002)
    for _ in range(3):
        await relay(backend, asking(stream=True))
        await generated(backend)
    assert provider.connections == 1


async def test_events_of_the_same_answer(provider, backend) -> None:
    provider.answer = streamed(events(*CHUNKS, DONE))
    told = await generated(backend)
    assert "".join(event.text for event in told if isinstance(event, TextDelta)) == "Hello."
    assert told[-1] == Finished(COUNTED)


# --- what the provider refuses ---


async def test_a_filtered_prompt_is_the_clients_affair_with_all_that_was_found(provider, backend) -> None:
    found = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"hate": {"filtered": True}}}
    error = {"message": "Filtered.", "type": None, "param": "prompt", "code": "content_filter", "innererror": found}
    provider.answer = whole(json.dumps({"error": error}).encode(), status=400)
    for failure in await each_way(backend):
        assert isinstance(failure, ContentFiltered)
        told = json.loads(errors.encode_body(failure))["error"]
        assert errors.status(failure) == 400
        assert (told["code"], told["param"], told["innererror"]) == ("content_filter", "prompt", found)


@pytest.mark.parametrize("status", [400, 422])
async def test_the_clients_own_mistakes_are_passed_on(provider, backend, status: int) -> None:
    body = b'{"error":{"message":"temperature is too hot","param":"temperature","code":"invalid_value"}}'
    provider.answer = whole(body, status=status)
    for failure in await each_way(backend):
        assert isinstance(failure, InvalidRequest)
        assert (failure.message, failure.param) == ("temperature is too hot", "temperature")


@pytest.mark.parametrize("status", [401, 402, 403, 404, 405, 424, 302, 500, 502, 418])
async def test_our_mistakes_and_its_own_are_no_clients(provider, backend, status: int) -> None:
    body = b'{"error":{"message":"Incorrect API key provided: k-secret","code":"DeploymentNotFound"}}'
    provider.answer = whole(body, status=status)
    for failure in await each_way(backend):
        assert isinstance(failure, BackendError)
        assert errors.status(failure) in (502, 504)
        if status in (401, 402, 403):
            assert "k-secret" not in failure.message
    assert backend.status().health is Health.READY


@pytest.mark.parametrize(("status", "kind"), [(429, Overloaded), (503, Unavailable), (529, Overloaded)])
async def test_a_busy_provider_says_when_to_come_back(provider, backend, status: int, kind) -> None:
    provider.answer = whole(b"{}", status=status, headers="retry-after: 20\r\nretry-after-ms: 1500\r\n")
    for failure in await each_way(backend):
        assert isinstance(failure, kind)
        assert failure.retry_after_s == 1.5
    limits = backend.rate_limits()
    assert limits.retry_at_s() == limits.seen_s + 1.5


async def test_rate_headers_are_kept(provider, backend) -> None:
    assert backend.rate_limits() is None
    told = (
        "x-ratelimit-remaining-requests: 0\r\nx-ratelimit-remaining-tokens: 900\r\nx-ratelimit-reset-requests: 2s\r\n"
    )
    provider.answer = whole(ANSWER, headers=told + "x-ratelimit-reset-tokens: 1m0.5s\r\n")
    await relay(backend, asking())
    limits = backend.rate_limits()
    assert (limits.remaining_requests, limits.remaining_tokens) == (0, 900)
    assert (limits.reset_requests_s, limits.reset_tokens_s) == (2.0, 60.5)
    assert limits.retry_at_s(1) == limits.seen_s + 2.0
    assert limits.retry_at_s(1000) == limits.seen_s + 60.5


async def test_an_error_with_the_status_of_a_success(provider, backend) -> None:
    body = b'{"error":{"message":"No host has room.","code":"rate_limit_exceeded","type":"rate_limit_error"}}'
    provider.answer = whole(body)
    with pytest.raises(Overloaded):
        await relay(backend, asking())
    for failure in await each_way(backend):
        assert isinstance(failure, Overloaded)


# --- what breaks ---

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
FIRST = events(chunk("Hel"))
BROKEN = {
    "no answer": raw(b"", then="close"),
    "no HTTP": raw(b"220 mail.example ESMTP\r\n"),
    "an endless header": raw(b"HTTP/1.1 200 OK\r\nx: " + b"a" * 300_000),
    "half a chunk": raw(HEAD + b"transfer-encoding: chunked\r\n\r\nff\r\ndata: {", then="close"),
    "a chunk of no size": raw(HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n"),
    "cut in the middle": streamed(FIRST, then="cut"),
    "ended in the middle": streamed(FIRST),
    "ended within an event": streamed(FIRST, b"data: {"),
    "nothing at all": streamed(),
    "done in the middle": streamed(events(chunk("Hel"), DONE)),
    "one of two choices": streamed(events(chunk("a"), chunk("b", index=1), chunk(finish="stop"), DONE)),
    "no JSON": streamed(events(b"{half")),
    "no completion": streamed(events(b'{"choices":7}')),
    "nested without end": streamed(events(b'{"x":' + b"[" * 100_000)),
    "a page": streamed(b"<html>Sign in</html>", content_type="text/html"),
    "one piece instead of a stream": whole(ANSWER),
    "an endless event": streamed(b"data: " + b"x" * 9_000_000, b"x" * 9_000_000, then="hang"),
    "no head": raw(b""),
    "no first byte": streamed(then="hang"),
    "silence": streamed(FIRST, then="hang"),
    "a slow drip of the head": streamed(*[b": ping\n\n"] * 1000, pause_s=0.05),
}
SLOW = frozenset({"no head", "no first byte", "silence", "a slow drip of the head", "an endless header", "no HTTP"})


@pytest.mark.parametrize("how", BROKEN)
async def test_whatever_breaks_ends_as_a_typed_error(provider, started, spec, how: str) -> None:
    backend = await started(
        spec(timeouts=RemoteTimeouts(first_token_s=0.4, between_tokens_s=0.4, total_s=1.0 if "drip" in how else 20.0))
    )
    provider.answer = BROKEN[how]
    for failure in await each_way(backend):
        assert isinstance(failure, BackendError)
        assert not isinstance(failure, BackendStopped)
        if how in SLOW - {"an endless header", "no HTTP"}:
            assert isinstance(failure, BackendTimeout)


WHOLE_BROKEN = {
    "no JSON": whole(b"{half"),
    "no object": whole(b"[]"),
    "no choices": whole(b'{"choices":[]}'),
    "a page": whole(b"<html></html>", content_type="text/html"),
    "cut": raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{", then="close"),
}


@pytest.mark.parametrize("how", WHOLE_BROKEN)
async def test_a_broken_whole_answer_never_reaches_the_client(provider, backend, how: str) -> None:
    provider.answer = WHOLE_BROKEN[how]
    with pytest.raises(BackendError):
        await backend.relay_whole(asking())
    assert backend.status().slots_busy == 0


async def test_what_came_before_a_failure_is_handed_on_first(provider, backend) -> None:
    failure = b'{"error":{"message":"The model crashed.","type":"server_error"}}'
    provider.answer = streamed(events(chunk("Hel"), failure, chunk("never")))
    async with backend.relay(asking(stream=True)) as relayed:
        assert await relayed.next_chunk() == FIRST
        with pytest.raises(BackendError, match="in the middle") as caught:
            await relayed.next_chunk()
    assert "crashed" in caught.value.detail


async def test_a_refusal_of_our_key_in_the_stream_is_no_clients(provider, backend) -> None:
    provider.answer = streamed(events(b'{"error":{"message":"expired","code":"invalid_api_key"}}'))
    for failure in await each_way(backend):
        assert isinstance(failure, BackendError)


async def test_nobody_there(started, unused_tcp_port: int) -> None:
    backend = await started(RemoteSpec(base_url=f"http://127.0.0.1:{unused_tcp_port}/v1", model="m"))
    for failure in await each_way(backend):
        assert (type(failure), failure.code) == (BackendError, "upstream_unreachable")
    assert backend.status().health is Health.FAILED
    assert str(unused_tcp_port) in backend.status().detail


async def test_a_name_that_nobody_knows(started) -> None:
    backend = await started(RemoteSpec(base_url="http://no-such-host.invalid/v1", model="m"))
    for failure in await each_way(backend):
        assert failure.code == "upstream_unreachable"


# --- leaving, stopping, waiting ---


@pytest.mark.parametrize("when", ["before the head", "in the stream"])
async def test_a_cancelled_request_closes_its_connection_at_once(provider, backend, when: str) -> None:
    provider.answer = raw(b"") if when == "before the head" else streamed(FIRST, then="hang")
    task = asyncio.ensure_future(relay(backend, asking(stream=True)))
    while not provider.asked:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.02)
    assert backend.status().slots_busy == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await provider.gone.wait()
    assert backend.status().slots_busy == 0


async def test_leaving_early_closes_the_connection(provider, backend) -> None:
    provider.answer = streamed(*[events(chunk("la"))] * 1000, pause_s=0.01)
    async with backend.relay(asking(stream=True)) as relayed:
        await relayed.next_chunk()
    await provider.gone.wait()


async def test_stopping_ends_what_runs_and_what_waits(provider, started, spec) -> None:
    backend = await started(spec(max_connections=1, max_waiting=5))
    provider.answer = streamed(FIRST, then="hang")
    tasks = [asyncio.ensure_future(relay(backend, asking(stream=True))) for _ in range(3)]
    while backend.status().queued < 2 or not provider.asked:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    assert backend.status().slots_busy == 1
    await backend.stop()
    for task in tasks:
        with pytest.raises(BackendStopped):
            await task
    assert backend.status().slots_busy == 0
    with pytest.raises(BackendStopped):
        await relay(backend, asking())
    provider.answer = whole(ANSWER)
    await backend.start()
    assert await relay(backend, asking()) == (ANSWER, COUNTED)


async def test_first_come_first_served_and_no_more_than_may_wait(provider, started, spec) -> None:
    backend = await started(spec(max_connections=1, max_waiting=7))
    provider.answer = streamed(events(*CHUNKS, DONE), pause_s=0.01)
    requests = [asking(stream=True, user=str(number)) for number in range(8)]
    tasks = [asyncio.ensure_future(relay(backend, request)) for request in requests]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(PoolFull) as caught:
        await relay(backend, asking())
    assert isinstance(caught.value, Overloaded)
    await asyncio.gather(*tasks)
    assert [int(asked.json["user"]) for asked in provider.asked] == list(range(8))
    assert provider.connections == 1
    assert backend.status().slots_busy == backend.status().queued == 0


async def test_waiting_has_an_end(provider, started, spec) -> None:
    backend = await started(spec(max_connections=1, max_waiting=5, timeouts=RemoteTimeouts(queue_s=0.05)))
    provider.answer = streamed(FIRST, then="hang")
    task = asyncio.ensure_future(relay(backend, asking(stream=True)))
    await asyncio.sleep(0)
    with pytest.raises(PoolFull) as caught:
        await relay(backend, asking(stream=True))
    assert "0.05 s" in caught.value.detail
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    provider.answer = whole(ANSWER)
    assert await relay(backend, asking()) == (ANSWER, COUNTED)


async def test_who_gives_up_waiting_takes_nobodys_turn(provider, started, spec) -> None:
    backend = await started(spec(max_connections=1, max_waiting=50))
    provider.answer = streamed(events(*CHUNKS, DONE), pause_s=0.002)
    tasks = [asyncio.ensure_future(relay(backend, asking(stream=True))) for _ in range(30)]
    await asyncio.sleep(0.005)
    for task in tasks[::2]:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(answer == (events(*CHUNKS[:-1], DONE), COUNTED) for answer in done[1::2])
    assert backend.status().slots_busy == backend.status().queued == 0
    assert USAGE not in done[1][0]
