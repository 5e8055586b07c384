"""`tundish serve` with a certificate: real clients over https, and its own commands."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx2
import openai
import pytest
from tests.certificates import Authority

from .conftest import Served, environment_in, start, stop, tundish
from .test_openai_client import user

MODEL = "gpt-oss-nano"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def https(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    issued = authority.issue()
    running = start(
        tmp_path_factory.mktemp("endpoint"), "--tls-cert", str(issued.certificate), "--tls-key", str(issued.key)
    )
    yield running
    stop(running)


def trusting(authority: Authority) -> httpx2.Client:
    return httpx2.Client(verify=ssl.create_default_context(cafile=str(authority.file)))


def test_the_openai_client(https: Served, authority: Authority) -> None:
    assert https.url.startswith("https://")
    with openai.OpenAI(base_url=https.base_url, api_key=https.key, http_client=trusting(authority)) as client:
        chunks = client.chat.completions.create(
            model=MODEL, messages=[user("What is 2+2?")], temperature=0, stream=True
        )
        text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert "4" in text


def test_the_azure_client(https: Served, authority: Authority) -> None:
    with openai.AzureOpenAI(
        azure_endpoint=https.url,
        api_key=https.key,
        api_version="2024-10-21",
        http_client=trusting(authority),
    ) as client:
        answer = client.chat.completions.create(model=MODEL, messages=[user("What is 2+2?")], temperature=0)
    assert "4" in (answer.choices[0].message.content or "")


def test_a_client_that_does_not_know_the_authority_refuses(https: Served) -> None:
    with (
        openai.OpenAI(base_url=https.base_url, api_key=https.key, max_retries=0) as client,
        pytest.raises(openai.APIConnectionError),
    ):
        client.models.list()


def test_our_own_commands_know_the_certificate(https: Served) -> None:
    status = tundish(https.environment, "status")
    assert status.returncode == 0, status.stderr
    assert https.url in status.stdout
    asked = tundish(https.environment, "run", MODEL, "What is 2+2?", "--temperature", "0")
    assert "4" in asked.stdout


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--tls-key", "server.key"), "tls_cert must be set when tls_key is"),
        (("--tls-cert", "absent.pem"), "absent.pem cannot be read"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_starts(
    tmp_path: Path, flags: tuple[str, ...], message: str
) -> None:
    ended = tundish(environment_in(tmp_path), "serve", "--port", "0", *flags)
    assert ended.returncode == 1
    assert message in ended.stderr
