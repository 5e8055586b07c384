"""Real upstreams that refuse, hang, break and lie, behind one route."""

from __future__ import annotations

import json

import pytest

from .conftest import Act, Start, answers, breaks_off, dies, fails, hangs, is_busy, talks_nonsense


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_travels_as_it_is(gateway: Start, stream: bool) -> None:
    async with gateway(one=answers) as site:
        answered = await site.chat(stream=stream)
        assert answered.status == 200
        assert b"chatcmpl-up" in answered.body, "the provider's own bytes"
        assert (answered.headers["x-tundish-deployment"], answered.headers["x-tundish-place"]) == ("one", "cloud")
        assert b'"usage"' not in answered.body or not stream, "nobody asked for usage"
        assert json.loads(site.upstreams["one"].bodies[0])["model"] == "gpt-oss-120b"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("act", [dies, fails, is_busy, talks_nonsense, hangs])
async def test_the_next_one_answers_and_nobody_notices(gateway: Start, act: Act, stream: bool) -> None:
    async with gateway(bad=act, good=answers) as site:
        answered = await site.chat(stream=stream)
        assert answered.status == 200
        assert answered.headers["x-tundish-deployment"] == "good"
        said = answered.texts if stream else json.loads(answered.body)["choices"][0]["message"]["content"]
        assert said == "from good"


async def test_a_stream_that_breaks_goes_on_under_the_same_id(gateway: Start) -> None:
    async with gateway(bad=breaks_off, good=answers) as site:
        answered = await site.chat(stream=True)
        assert answered.texts == "Once upon a from good"
        assert answered.body.endswith(b"data: [DONE]\n\n")
        events = [json.loads(part[6:]) for part in answered.body.split(b"\n\n") if part.startswith(b"data: {")]
        assert {event["id"] for event in events} == {"chatcmpl-up"}
        assert not any("role" in choice["delta"] for event in events for choice in event["choices"])
        asked = json.loads(site.upstreams["good"].bodies[0])["messages"]
        assert asked[1] == {"role": "assistant", "content": "Once upon a "}


async def test_a_stream_that_breaks_ends_with_an_error_where_the_route_says_so(gateway: Start) -> None:
    async with gateway(bad=breaks_off, good=answers, route="continue_elsewhere = false") as site:
        answered = await site.chat(stream=True)
        assert answered.texts == "Once upon a "
        last = answered.body.rstrip().split(b"\n\n")[-1]
        assert json.loads(last[6:])["error"]["type"] == "server_error"
        assert site.upstreams["good"].bodies == []


async def test_what_may_not_leave_does_not_leave_whatever_breaks(gateway: Start) -> None:
    async with gateway(rack=dies, far=answers, places={"rack": "rack"}) as site:
        answered = await site.chat(x_tundish_class="restricted")
        assert (answered.status, answered.error["code"]) == (503, "every_attempt_failed")
        assert site.upstreams["far"].bodies == []
        assert (await site.chat()).status == 200, "the same words, said by somebody who does not call them restricted"


async def test_when_no_place_is_left_the_error_says_why(gateway: Start) -> None:
    async with gateway(far=answers) as site:
        answered = await site.chat(x_tundish_class="restricted")
        assert answered.status == 503
        assert "policy" in answered.error["message"]
        assert answered.error["code"] == "no_place_allowed"
        assert answered.headers["x-should-retry"] == "false"


async def test_all_are_down(gateway: Start) -> None:
    async with gateway(one=dies, two=fails) as site:
        answered = await site.chat()
        assert answered.status == 503
        assert "one:" in answered.error["message"]
        assert "two:" in answered.error["message"]


async def test_metrics_tell_who_failed(gateway: Start) -> None:
    async with gateway(bad=dies, good=answers) as site:
        await site.chat()
        _, scraped = await site.http.request("GET", "/metrics")
        text = scraped.decode()
        assert 'tundish_attempts_total{deployment="good",outcome="ok"} 1.0' in text
        assert 'tundish_failovers_total{model="chat"} 1.0' in text
        assert 'tundish_circuit_open{deployment="bad"} 0.0' in text
        assert 'tundish_cost_usd_total{deployment="good"}' in text
