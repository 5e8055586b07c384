"""Models go into memory and out of it while the endpoint runs."""

from __future__ import annotations

import json
from typing import Any

import openai
import psutil
import pytest

from .conftest import Served, tundish

MODEL = "gpt-oss-nano"


def told(served: Served, *arguments: str) -> Any:
    done = tundish(served.environment, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def engines(served: Served) -> list[int]:
    return [child.pid for child in psutil.Process(served.process.pid).children()]


def test_a_model_goes_and_comes_back_with_the_next_request(served: Served) -> None:
    assert told(served, "load", MODEL)["state"] == "ready"
    assert len(engines(served)) == 1
    assert told(served, "unload", MODEL)["state"] == "unloaded"
    assert engines(served) == []
    gone = told(served, "ps")
    assert (gone["deployments"][0]["state"], gone["memory_held_bytes"]) == ("unloaded", 0)
    client = openai.OpenAI(base_url=served.base_url, api_key=served.key)
    answer = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "What is 2+2?"}], extra_body={"keep_alive": "1h"}
    )
    assert answer.choices[0].message.content
    back = told(served, "ps")["deployments"][0]
    assert (back["state"], back["keep_alive_s"]) == ("ready", 3600)
    assert 3500 < back["expires_in_s"] <= 3600


def test_a_request_can_have_the_model_unloaded_after_it(served: Served) -> None:
    told(served, "load", MODEL)
    client = openai.OpenAI(base_url=served.base_url, api_key=served.key)
    client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "What is 2+2?"}], extra_body={"keep_alive": 0}
    )
    told(served, "unload", MODEL)  # returns when it is gone, whoever began that
    assert told(served, "ps")["deployments"][0]["state"] == "unloaded"
    told(served, "load", MODEL)


def test_a_pinned_model_has_no_end(served: Served) -> None:
    pinned = told(served, "load", MODEL, "--keep-alive", "5m", "--pin")
    assert (pinned["pinned"], pinned["keep_alive_s"], pinned["expires_in_s"]) == (True, 300, None)
    unpinned = told(served, "load", MODEL, "--no-pin")
    assert unpinned["pinned"] is False
    assert unpinned["expires_in_s"] is not None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("load", "nope"), "'nope'"), (("unload", "nope"), MODEL), (("load", MODEL, "--keep-alive", "soon"), "'5m'")],
)
def test_what_cannot_be_done_is_said(served: Served, arguments: tuple[str, ...], said: str) -> None:
    done = tundish(served.environment, *arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.startswith("tundish: ")


def test_people_see_a_table(served: Served) -> None:
    tundish(served.environment, "load", MODEL)
    done = tundish(served.environment, "ps")
    assert done.returncode == 0
    assert done.stdout.split()[:2] == ["MODEL", "STATE"]
    assert "Memory: " in done.stdout
