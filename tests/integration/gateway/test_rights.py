"""What each key is good for: the owner's for everything, a project's for asking models."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tundish.api.routes import Audience

from .conftest import KEY, Gateway, Start, answers

CLIENT_KEY = "td-team-key"
CLIENT = """
[projects.apps]
[keys.team]
key = {{ file = "{file}" }}
project = "apps"
"""


@pytest.fixture
def with_client(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Configuration that has a project with a key."""
    file = tmp_path_factory.mktemp("keys") / "team"
    file.write_text(CLIENT_KEY)
    file.chmod(0o600)
    return CLIENT.format(file=file.as_posix())


async def status(running: Gateway, method: str, path: str, key: str | None, body: bytes = b"") -> tuple[int, str]:
    headers = {"content-type": "application/json", **({} if key is None else {"api-key": key})}
    async with running.http.stream(method, path, headers=headers, body=body) as response:
        content = await response.read()
        return response.status, content.decode()


async def test_every_route_is_for_whom_it_says(gateway: Start, with_client: str) -> None:
    async with gateway(cloud=answers, route=with_client) as running:
        seen = dict.fromkeys(Audience, 0)
        for route in running.endpoint.application.router.routes:
            seen[route.audience] += 1
            for method in route.methods:
                path = route.path.replace("{name}", "cloud").replace("{model}", "cloud").replace("{deployment}", "chat")
                keyless, _ = await status(running, method, path, None)
                client, said = await status(running, method, path, CLIENT_KEY)
                assert (keyless == 401) == (route.audience is not Audience.ANYBODY), path
                assert (client == 403) == (route.audience is Audience.OWNER), path
                if route.audience is Audience.OWNER:
                    assert route.path.startswith("/tundish/v1/")
                    error = json.loads(said)["error"]
                    assert error["code"] == "permission_denied"
                    assert "owner" in error["message"]
                    assert "'team'" in error["message"]
                else:
                    assert not route.path.startswith("/tundish/")
        assert all(seen.values())
        assert seen[Audience.OWNER] >= 16
        assert running.upstreams["cloud"].bodies == [], "nothing above was a request that could be answered"


async def test_a_client_is_refused_before_its_body_is_read(gateway: Start, with_client: str) -> None:
    async with gateway(cloud=answers, route=with_client) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(running.endpoint.url.rpartition(":")[2]))
        headers = f"host: localhost\r\napi-key: {CLIENT_KEY}\r\ncontent-length: 9999"
        writer.write(f"POST /tundish/v1/reload HTTP/1.1\r\n{headers}\r\n\r\n".encode())
        async with asyncio.timeout(5):
            assert (await reader.readline()).split()[1] == b"403"
        writer.close()
        await writer.wait_closed()


async def test_a_client_asks_and_the_owner_operates(gateway: Start, with_client: str) -> None:
    async with gateway(cloud=answers, route=with_client) as running:
        assert (await running.chat(api_key=CLIENT_KEY)).status == 200
        assert (await status(running, "GET", "/v1/models", CLIENT_KEY))[0] == 200
        assert (await status(running, "GET", "/tundish/v1/status", KEY))[0] == 200
        assert (await status(running, "POST", "/tundish/v1/reload", KEY, b"{}"))[0] == 200
        assert (await running.chat(api_key=CLIENT_KEY)).status == 200, "a reload changes nobody's rights"
        assert (await status(running, "POST", "/tundish/v1/reload", CLIENT_KEY, b"{}"))[0] == 403


async def test_a_key_has_one_name_only(gateway: Start, with_client: str, tmp_path: Path) -> None:
    (tmp_path / "same").write_text(KEY)
    (tmp_path / "same").chmod(0o600)
    async with gateway(cloud=answers, route=with_client) as running:
        twice = f'[keys.other]\nkey = {{ file = "{(tmp_path / "same").as_posix()}" }}\n'
        running.file.write_text(running.file.read_text(encoding="utf-8") + twice, encoding="utf-8")
        status_of_reload, said = await status(running, "POST", "/tundish/v1/reload", KEY, b"{}")
        assert status_of_reload >= 400
        assert "keys.other: the same key has another name" in said, "else it would no longer be clear whose it is"
        assert (await status(running, "GET", "/tundish/v1/status", KEY))[0] == 200
