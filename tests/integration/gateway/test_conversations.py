"""A conversation's class over real connections: by what the client sends back, as bytes and as events."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from .conftest import Gateway, Start, answers, breaks_off

PLACES = {"rack": "rack"}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


async def turn(running: Gateway, *messages: dict[str, Any], stream: bool = False, **headers: str) -> tuple[str, str]:
    """Who answered, and what."""
    body = {"model": "chat", "messages": list(messages), "stream": stream}
    answered = await running.post("/v1/chat/completions", body, **headers)
    assert answered.status == 200
    said = answered.texts if stream else json.loads(answered.body)["choices"][0]["message"]["content"]
    return answered.headers["x-tundish-deployment"], said


@pytest.mark.parametrize("stream", [False, True])
async def test_a_history_keeps_its_class_and_another_that_begins_alike_does_not_get_it(
    gateway: Start, stream: bool
) -> None:
    async with gateway(far=answers, rack=answers, places=PLACES) as running:
        who, said = await turn(running, user("Hi"), stream=stream, x_tundish_class="restricted")
        assert who == "rack"
        theirs = await turn(running, user("Hi"), stream=stream)
        assert theirs[0] == "far"
        ours = [user("Hi"), {"role": "assistant", "content": said}, user("More")]
        assert (await turn(running, *ours, stream=stream))[0] == "rack"
        begun = [user("Hi"), {"role": "assistant", "content": theirs[1]}, user("More")]
        assert (await turn(running, *begun, stream=stream))[0] == "far"
        assert (await turn(running, *ours, {"role": "assistant", "content": "x"}, user("Even more")))[0] == "rack"


async def test_a_beginning_of_an_answer_is_enough(gateway: Start) -> None:
    async with gateway(rack=breaks_off, far=answers, places=PLACES, route="continue_elsewhere = false") as running:
        messages = [user("Hi")]
        body = {"model": "chat", "messages": messages, "stream": True}
        broken = await running.post("/v1/chat/completions", body, x_tundish_class="restricted")
        assert broken.texts == "Once upon a "
        running.upstreams["rack"].act = answers
        more = [*messages, {"role": "assistant", "content": "Once upon"}, user("Go on")]
        assert (await turn(running, *more))[0] == "rack"
        assert running.upstreams["far"].bodies == []


async def test_a_name_is_a_conversation_whatever_is_said(gateway: Start) -> None:
    async with gateway(far=answers, rack=answers, places=PLACES) as running:
        name = {"x_tundish_conversation": "c-1"}
        assert (await turn(running, user("One"), x_tundish_class="restricted", **name))[0] == "rack"
        assert (await turn(running, user("Two"), **name))[0] == "rack"
        assert (await turn(running, user("Two")))[0] == "far"


async def test_the_bounds_are_those_of_the_configuration_and_follow_a_reload(gateway: Start) -> None:
    async with gateway(far=answers, rack=answers, places=PLACES, route="[conversations]\nkeep_days = 1e-9") as running:
        name = {"x_tundish_conversation": "c-1"}
        assert (await turn(running, user("One"), x_tundish_class="restricted", **name))[0] == "rack"
        await asyncio.sleep(0.01)
        assert (await turn(running, user("Two"), **name))[0] == "far", "it was silent for longer than it is kept"
        running.file.write_text(running.file.read_text().replace("keep_days = 1e-9", "keep_days = 1"))
        await running.endpoint.reload()
        assert (await turn(running, user("One"), x_tundish_class="restricted", **name))[0] == "rack"
        await asyncio.sleep(0.01)
        assert (await turn(running, user("Two"), **name))[0] == "rack"
