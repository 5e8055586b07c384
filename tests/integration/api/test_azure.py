"""Azure's paths in front of a scripted backend, over real connections."""

from __future__ import annotations

import json

import openai
import pytest

from tundish.core.errors import BackendDied
from tundish.core.events import TextDelta

from .conftest import KEY, Serve

CHAT = "/openai/deployments/m/chat/completions?api-version=2024-10-21"
MESSAGES = [{"role": "user", "content": "hi"}]
BODY = json.dumps({"messages": MESSAGES}).encode()


def code(body: bytes) -> str:
    return json.loads(body)["error"]["code"]


async def test_the_path_names_the_model_and_wins_over_the_body(serve: Serve) -> None:
    async with serve() as endpoint:
        for body in (BODY, json.dumps({"messages": MESSAGES, "model": "gpt-4.1"}).encode()):
            answer = await endpoint.send("POST", CHAT, body)
            assert answer.status == 200
            assert json.loads(answer.body)["model"] == "m"
        assert [request.model for request in endpoint.backend.requests] == ["m", "m"]


async def test_completions_and_the_v1_paths(serve: Serve) -> None:
    async with serve() as endpoint:
        chat = json.dumps({"messages": MESSAGES, "model": "m"}).encode()
        assert (await endpoint.send("POST", "/openai/v1/chat/completions", chat)).status == 200
        for path in ("/openai/deployments/m/completions?api-version=1", "/openai/v1/completions"):
            answer = await endpoint.send("POST", path, b'{"prompt":"a","model":"m"}')
            assert answer.status == 200, answer.body
        for path in ("/openai/models", "/openai/v1/models"):
            assert [model["id"] for model in json.loads((await endpoint.send("GET", path)).body)["data"]] == ["m"]
        for path in ("/openai/models/m", "/openai/v1/models/m"):
            assert json.loads((await endpoint.send("GET", path)).body)["id"] == "m"


async def test_a_large_body_too(serve: Serve) -> None:
    async with serve() as endpoint:
        body = json.dumps({"messages": [{"role": "user", "content": "x" * 300_000}]}).encode()
        assert (await endpoint.send("POST", CHAT, body)).status == 200


@pytest.mark.parametrize("with_body", [True, False])
async def test_errors_have_azures_codes(serve: Serve, with_body: bool) -> None:
    async with serve() as endpoint:
        answer = await endpoint.send("POST", CHAT, BODY if with_body else b"", key="wrong")
        assert (answer.status, code(answer.body)) == (401, "401")
        answer = await endpoint.send("POST", CHAT.replace("/m/", "/none/"), BODY)
        assert (answer.status, code(answer.body)) == (404, "DeploymentNotFound")
        answer = await endpoint.send("POST", CHAT, b"[" if with_body else b"")
        assert (answer.status, code(answer.body)) == (400, "invalid_request")
        answer = await endpoint.send("POST", "/v1/chat/completions", BODY, key="wrong")
        assert (answer.status, code(answer.body)) == (401, "invalid_api_key")


async def test_the_openai_package_as_an_azure_client(serve: Serve) -> None:
    async with (
        serve([TextDelta("Hello"), BackendDied("it died")]) as endpoint,
        openai.AsyncAzureOpenAI(
            azure_endpoint=f"http://127.0.0.1:{endpoint.port}", api_key=KEY, api_version="2024-10-21", max_retries=0
        ) as client,
    ):
        with pytest.raises(openai.NotFoundError) as absent:
            await client.chat.completions.create(model="none", messages=MESSAGES)
        assert absent.value.code == "DeploymentNotFound"
        stream = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        with pytest.raises(openai.APIError, match="it died"):
            async for _ in stream:
                pass
