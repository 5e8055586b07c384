"""Models of another OpenAI-compatible server on this machine, offered beside ours: here, a second Tundish."""

from __future__ import annotations

import urllib.parse
from pathlib import Path

import openai
import pytest

from .conftest import Served, environment_in, start, stop, tundish

HELLO = [{"role": "user", "content": "What is 2+2?"}]


def url_with_key(served: Served) -> str:
    parts = urllib.parse.urlsplit(served.base_url)
    return parts._replace(netloc=f"{served.key}@{parts.netloc}").geturl()


def test_its_models_answer_through_ours(served: Served, tmp_path: Path) -> None:
    ours = start(tmp_path, extra=_same_cache(served) | {"TUNDISH_SERVERS": f"other={url_with_key(served)}"})
    try:
        client = openai.OpenAI(base_url=ours.base_url, api_key=ours.key, max_retries=0)
        assert sorted(model.id for model in client.models.list()) == ["gpt-oss-nano", "other/gpt-oss-nano"]
        answers = [
            client.chat.completions.create(model=model, messages=HELLO, temperature=0, seed=1)
            for model in ("gpt-oss-nano", "other/gpt-oss-nano")
        ]
        assert answers[0].choices[0].message.content == answers[1].choices[0].message.content
        ours_used, theirs_used = answers[0].usage, answers[1].usage
        assert ours_used is not None
        assert theirs_used is not None
        assert ours_used.total_tokens == theirs_used.total_tokens > 0
        stream = client.chat.completions.create(model="other/gpt-oss-nano", messages=HELLO, temperature=0, stream=True)
        text = "".join(choice.delta.content or "" for chunk in stream for choice in chunk.choices)
        assert text == answers[0].choices[0].message.content
    finally:
        stop(ours)


def test_what_it_is_never_asked_for_is_refused(served: Served, tmp_path: Path) -> None:
    ours = start(tmp_path, extra=_same_cache(served) | {"TUNDISH_SERVERS": f"other={url_with_key(served)}"})
    try:
        client = openai.OpenAI(base_url=ours.base_url, api_key=ours.key, max_retries=0)
        with pytest.raises(openai.BadRequestError, match="chat"):
            client.completions.create(model="other/gpt-oss-nano", prompt="Hello")
    finally:
        stop(ours)


def test_one_that_is_not_there_is_no_reason_not_to_start(served: Served, tmp_path: Path) -> None:
    ours = start(tmp_path, "--server", "http://127.0.0.1:9/v1", extra=_same_cache(served))
    try:
        client = openai.OpenAI(base_url=ours.base_url, api_key=ours.key, max_retries=0)
        assert [model.id for model in client.models.list()] == ["gpt-oss-nano"]
    finally:
        stop(ours)


@pytest.mark.parametrize("given", ["http://192.168.1.5:8000/v1", "https://api.example.com/v1", "ftp://127.0.0.1/"])
def test_a_server_elsewhere_is_refused(tmp_path: Path, given: str) -> None:
    done = tundish(environment_in(tmp_path), "serve", "--port", "0", "--server", given)
    assert done.returncode == 1
    assert "servers" in done.stderr


def _same_cache(served: Served) -> dict[str, str]:
    return {"TUNDISH_CACHE_DIR": served.environment["TUNDISH_CACHE_DIR"]}
