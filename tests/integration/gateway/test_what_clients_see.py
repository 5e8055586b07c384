"""Clients are told which deployment failed and how: nothing of its address, its name there, or our account."""

from __future__ import annotations

import asyncio
import json

import pytest

from .conftest import STREAM_HEAD as HEAD
from .conftest import Act, Gateway, Start, Upstream, answers, breaks_off, chunk, dies, fails, talks_nonsense

THEIRS = "acme-prod-gpt4o"
SECRET_WORDS = ("sk-live-1234", "org-acme", THEIRS)


def refuses(status: int, message: str, code: str = "", more: str = "") -> Act:
    """An error of the provider's."""

    async def act(upstream: Upstream, body: bytes, writer: asyncio.StreamWriter) -> None:
        said = message.replace("{port}", str(upstream.port))
        content = json.dumps({"error": {"message": said, "code": code, "param": "temperature"}}).encode()
        writer.write(f"HTTP/1.1 {status} No\r\n{more}content-length: {len(content)}\r\n\r\n".encode() + content)

    return act


async def says_it_in_the_stream(upstream: Upstream, body: bytes, writer: asyncio.StreamWriter) -> None:
    """200, then an error that tells too much."""
    error = {"error": {"message": f"org-acme has used up {THEIRS} at 127.0.0.1:{upstream.port}", "code": "oops"}}
    writer.write(HEAD + chunk(b"data: " + json.dumps(error).encode() + b"\n\n") + b"0\r\n\r\n")


INDISCREET = [
    refuses(401, "Incorrect API key provided: sk-live-1234"),
    refuses(403, "org-acme may not use this"),
    refuses(404, f"The API deployment {THEIRS} does not exist", "DeploymentNotFound"),
    refuses(429, f"Rate limit reached for {THEIRS} in organization org-acme", more="retry-after: 60\r\n"),
    refuses(500, f"{THEIRS} crashed at http://127.0.0.1:{{port}}/v1"),
    refuses(503, "org-acme has no room", more="retry-after: 60\r\n"),
    refuses(418, "http://127.0.0.1:{port} is a teapot"),
]


async def told(running: Gateway, *, stream: bool) -> tuple[int, str]:
    """Status and whole body."""
    answered = await running.chat(stream=stream)
    return answered.status, answered.body.decode()


def renamed(running: Gateway) -> None:
    """Have the provider call the model something else than we do."""
    text = running.file.read_text(encoding="utf-8")
    running.file.write_text(
        text.replace('model = "gpt-oss-120b"\n', f'model = "gpt-oss-120b"\nremote_model = "{THEIRS}"\n'),
        encoding="utf-8",
    )


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("act", [dies, fails, talks_nonsense, breaks_off, says_it_in_the_stream, *INDISCREET])
async def test_nothing_of_theirs_reaches_a_client(gateway: Start, act: Act, stream: bool) -> None:
    async with gateway(cloud=act, route="[retries]\nattempts = 1") as running:
        renamed(running)
        await running.endpoint.reload()
        status, said = await told(running, stream=stream)
        assert THEIRS in running.upstreams["cloud"].bodies[0].decode(), "that is what it is called there"
        assert status in (200, 429, 503)
        assert "cloud" in said
        for word in (*SECRET_WORDS, "127.0.0.1", str(running.upstreams["cloud"].port)):
            assert word not in said
        if status != 200:
            assert (await running.chat(stream=stream)).headers["x-should-retry"] == "true"


async def test_a_clients_own_mistake_is_told_in_the_providers_words(gateway: Start) -> None:
    message = f"'temperature' must be at most 2 for `{THEIRS}` (http://127.0.0.1:{{port}}/v1/help)."
    async with gateway(cloud=refuses(400, message, "invalid_value"), other=answers) as running:
        renamed(running)
        await running.endpoint.reload()
        answered = await running.chat()
        assert answered.status == 400
        assert answered.error["message"] == "'temperature' must be at most 2 for 'cloud' ('cloud')."
        assert (answered.error["param"], answered.error["code"]) == ("temperature", "invalid_value")
        assert running.upstreams["other"].bodies == []


async def test_each_that_failed_is_named_once(gateway: Start) -> None:
    async with gateway(one=dies, two=refuses(401, "sk-live-1234")) as running:
        answered = await running.chat()
        assert answered.status == 503
        assert answered.headers["x-should-retry"] == "true"
        message = answered.error["message"]
        assert message.count("one: The service of 'one' closed the connection") == 1
        assert "two: The service of 'two' does not accept this endpoint's own credentials (401)" in message


async def test_the_owner_finds_the_rest_in_the_receipt(gateway: Start) -> None:
    async with gateway(cloud=refuses(401, "Incorrect API key provided: for org-acme")) as running:
        await running.chat()
        ledger = running.endpoint.records.ledger
        assert ledger is not None
        await asyncio.to_thread(ledger.close)
        kept = b"".join(path.read_bytes() for path in running.data_dir.rglob("*") if path.is_file())
        assert f"127.0.0.1:{running.upstreams['cloud'].port}".encode() in kept
        assert b"org-acme" in kept


async def test_when_a_circuit_is_open_it_says_so(gateway: Start) -> None:
    async with gateway(cloud=dies, route="[breaker]\nfailures = 1\nopen_s = 60\n[retries]\nattempts = 1") as running:
        assert (await running.chat()).error["code"] == "every_attempt_failed"
        answered = await running.chat()
        assert (answered.status, answered.error["code"]) == (503, "no_deployment_left")
        assert "circuit" in answered.error["message"]
