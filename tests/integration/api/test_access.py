"""Who and what gets in, and how everybody else is told."""

from __future__ import annotations

import asyncio
import json

import pytest

from tundish import __version__
from tundish.access.keys import KeyRing
from tundish.api.guard import Guard
from tundish.http.server import Limits
from tundish.wire import endpoint_status

from .conftest import KEY, Answered, Endpoint, Serve

BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}).encode()
CHAT = "/v1/chat/completions"
ORIGIN = "https://app.example"


def error(answered: Answered) -> dict[str, str]:
    assert answered.headers["content-type"] == "application/json"
    assert answered.headers["x-request-id"]
    found = json.loads(answered.body)["error"]
    assert set(found) == {"message", "type", "param", "code"}
    return found


async def test_a_key_is_needed(serve: Serve) -> None:
    async with serve() as endpoint:
        for method, path in (("POST", CHAT), ("GET", "/v1/models"), ("POST", "/tundish/v1/stop")):
            for key in (None, "wrong"):
                answered = await endpoint.send(method, path, key=key)
                assert answered.status == 401
                assert error(answered)["code"] == "invalid_api_key"
                assert answered.headers["www-authenticate"] == "Bearer"
        assert endpoint.stops == []
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await endpoint.send("GET", path, key=None)).status == 200


async def raw_status(endpoint: Endpoint, head: str) -> int:
    """Of a request whose body never comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
    writer.write(f"{head}\r\n\r\n".encode())
    async with asyncio.timeout(5):
        status = int((await reader.readline()).split()[1])
    writer.close()
    await writer.wait_closed()
    return status


@pytest.mark.parametrize("framing", ["content-length: 20000000", "transfer-encoding: chunked"])
@pytest.mark.parametrize(
    ("first", "status"),
    [
        ("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost", 401),
        ("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer wrong", 401),
        (f"POST /v1/chat/completions HTTP/1.1\r\nhost: evil.example\r\napi-key: {KEY}", 403),
        (f"POST /v1/models HTTP/1.1\r\nhost: localhost\r\napi-key: {KEY}", 405),
        ("POST /nowhere HTTP/1.1\r\nhost: localhost", 404),
        ("GET /healthz HTTP/1.1\r\nhost: localhost", 413),
        ("OPTIONS /v1/models HTTP/1.1\r\nhost: localhost", 413),
        (f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\napi-key: {KEY}\r\nexpect: 100-continue", 100),
    ],
)
async def test_who_may_not_ask_may_not_send_a_body(serve: Serve, first: str, framing: str, status: int) -> None:
    async with serve() as endpoint:
        assert await raw_status(endpoint, f"{first}\r\n{framing}") == status


async def test_what_is_refused_by_its_head_is_told_and_counted_like_the_rest(serve: Serve) -> None:
    async with serve(guard=Guard(host="127.0.0.1", allowed_origins=[ORIGIN])) as endpoint:
        answered = await endpoint.send("POST", CHAT, BODY, key=None, origin=ORIGIN, x_request_id="mine-1")
        assert answered.status == 401
        assert error(answered)["code"] == "invalid_api_key"
        assert answered.headers["www-authenticate"] == "Bearer"
        assert answered.headers["x-request-id"] == "mine-1"
        assert answered.headers["access-control-allow-origin"] == ORIGIN
        counted = 'tundish_http_requests_total{method="POST",route="/v1/chat/completions",status="401"} 1.0'
        assert counted in await endpoint.scrape()
        assert (await endpoint.send("GET", "/healthz", b"{}", key=None)).status == 200


async def test_no_key_where_none_is_asked(serve: Serve) -> None:
    async with serve(keys=KeyRing.open()) as endpoint:
        assert (await endpoint.send("POST", CHAT, BODY, key=None)).status == 200


async def test_strange_hosts_and_pages_are_refused_everywhere(serve: Serve) -> None:
    async with serve() as endpoint:
        for path in (CHAT, "/healthz", "/metrics", "/nowhere"):
            foreign_page = await endpoint.send("GET", path, origin="https://evil.example")
            assert foreign_page.status == 403
            assert "access-control-allow-origin" not in foreign_page.headers
            assert error(foreign_page)["code"] == "permission_denied"
        reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
        writer.write(f"GET /v1/models HTTP/1.1\r\nhost: evil.example\r\napi-key: {KEY}\r\n\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 403")
        writer.close()
        await writer.wait_closed()


async def test_an_allowed_page_may_call_and_read(serve: Serve) -> None:
    async with serve(guard=Guard(host="127.0.0.1", allowed_origins=[ORIGIN])) as endpoint:
        preflight = await endpoint.send(
            "OPTIONS",
            CHAT,
            key=None,
            origin=ORIGIN,
            access_control_request_method="POST",
            access_control_request_headers="authorization,content-type,x-stainless-lang",
            access_control_request_private_network="true",
        )
        assert preflight.status == 204
        assert preflight.headers["access-control-allow-origin"] == ORIGIN
        assert preflight.headers["access-control-allow-methods"] == "POST, OPTIONS"
        assert preflight.headers["access-control-allow-headers"] == "authorization,content-type,x-stainless-lang"
        assert preflight.headers["access-control-allow-private-network"] == "true"
        assert preflight.headers["vary"] == "origin"
        for body in (BODY, b"{}"):
            answered = await endpoint.send("POST", CHAT, body, origin=ORIGIN)
            assert answered.headers["access-control-allow-origin"] == ORIGIN
            assert "x-request-id" in answered.headers["access-control-expose-headers"]


async def test_options_tell_what_is_allowed(serve: Serve) -> None:
    async with serve() as endpoint:
        answered = await endpoint.send("OPTIONS", "/v1/models", key=None)
        assert answered.status == 204
        assert answered.headers["allow"] == "GET, HEAD, OPTIONS"
        assert "access-control-allow-methods" not in answered.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"content_type": "application/x-www-form-urlencoded"},
        {"content_type": "text/plain"},
        {"content_type": ""},
        {"content_type": "application/json; charset=latin-1"},
        {"content_encoding": "gzip"},
    ],
)
async def test_other_bodies_are_refused(serve: Serve, headers: dict[str, str]) -> None:
    async with serve() as endpoint:
        answered = await endpoint.send("POST", CHAT, BODY, **headers)
        assert answered.status == 415
        assert error(answered)["code"] == "unsupported_media_type"


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=UTF-8", "Application/JSON", "application/problem+json"]
)
async def test_json_by_its_other_names(serve: Serve, content_type: str) -> None:
    async with serve() as endpoint:
        assert (await endpoint.send("POST", CHAT, BODY, content_type=content_type)).status == 200


async def test_wrong_paths_and_methods(serve: Serve) -> None:
    async with serve() as endpoint:
        answered = await endpoint.send("POST", "/chat/completions", BODY)
        assert answered.status == 404
        assert CHAT in error(answered)["message"]
        answered = await endpoint.send("DELETE", CHAT)
        assert answered.status == 405
        assert answered.headers["allow"] == "POST, OPTIONS"
        assert error(answered)["code"] == "method_not_allowed"


async def test_bad_requests_name_the_field(serve: Serve) -> None:
    async with serve() as endpoint:
        for body, param in ((b'{"model":"m","messages":[{"role":"user"}]}', "messages[0].content"), (b"{", None)):
            answered = await endpoint.send("POST", CHAT, body)
            assert answered.status == 400
            assert error(answered)["param"] == param
            assert answered.headers["x-should-retry"] == "false"


async def test_too_large_a_body_is_refused_in_the_same_shape(serve: Serve) -> None:
    async with serve(limits=Limits(body_bytes=1024)) as endpoint:
        answered = await endpoint.send("POST", CHAT, b" " * 2000)
        assert answered.status == 413
        assert error(answered)["code"] == "request_too_large"


async def test_every_answer_has_an_id_and_the_time_it_took(serve: Serve) -> None:
    async with serve() as endpoint:
        for path in ("/healthz", "/nowhere", "/v1/models"):
            answered = await endpoint.send("GET", path, x_request_id="mine-1")
            assert answered.headers["x-request-id"] == "mine-1"
            assert int(answered.headers["openai-processing-ms"]) >= 0
        streamed = await endpoint.send("POST", CHAT, BODY[:-1] + b',"stream":true}')
        assert streamed.headers["x-request-id"].startswith("req_")
        assert streamed.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert streamed.headers["cache-control"] == "no-cache"
        assert streamed.headers["x-accel-buffering"] == "no"


async def test_head(serve: Serve) -> None:
    async with serve() as endpoint:
        answered = await endpoint.send("HEAD", "/healthz", key=None)
        assert answered.status == 200
        assert answered.body == b""


async def test_readiness(serve: Serve) -> None:
    async with serve(ready=False) as endpoint:
        assert (await endpoint.send("GET", "/healthz", key=None)).status == 200
        answered = await endpoint.send("GET", "/readyz", key=None)
        assert answered.status == 503
        assert json.loads(answered.body)["reasons"] == ["m is stopped"]
        await endpoint.backend.start()
        assert (await endpoint.send("GET", "/readyz", key=None)).status == 200
        endpoint.dispatcher.refuse_new_requests()
        answered = await endpoint.send("GET", "/readyz", key=None)
        assert json.loads(answered.body)["reasons"] == [
            "This endpoint is shutting down. Send the request again when it is back."
        ]
        refused = await endpoint.send("POST", CHAT, BODY)
        assert refused.status == 503
        assert error(refused)["code"] == "service_unavailable"
        assert refused.headers["retry-after"] == "1"


async def test_status_and_stop(serve: Serve) -> None:
    async with serve() as endpoint:
        status = endpoint_status.decode((await endpoint.send("GET", "/tundish/v1/status")).body)
        assert status.version == __version__
        assert status.ready
        (model,) = status.models
        assert (model.name, model.health, model.context_length) == ("m", "ready", 4096)
        for body in (b"", b"{}"):
            answered = await endpoint.send("POST", "/tundish/v1/stop", body)
            assert answered.status == 202
        assert endpoint.stops == ["stop", "stop"]


async def test_metrics_have_routes_and_not_paths(serve: Serve) -> None:
    async with serve() as endpoint:
        await endpoint.send("GET", "/v1/models/one")
        await endpoint.send("GET", "/v1/models/two")
        await endpoint.send("GET", "/some/where")
        text = await endpoint.scrape()
        assert 'tundish_http_requests_total{method="GET",route="/v1/models/{model}",status="404"} 2.0' in text
        assert 'tundish_http_requests_total{method="GET",route="unknown",status="404"} 1.0' in text


async def test_a_key_that_is_taken_away_opens_nothing_on_a_connection_that_stays(serve: Serve) -> None:
    keys = KeyRing.of_owner(KEY, key_id="test")
    async with serve(keys=keys) as endpoint:
        head = f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\napi-key: {KEY}\r\ncontent-type: application/json\r\n"
        request = f"{head}content-length: {len(BODY)}\r\n\r\n".encode() + BODY
        reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
        statuses: list[int] = []
        async with asyncio.timeout(5):
            for number in range(4):
                if number == 3:
                    keys.replace(KeyRing.of_owner("another", key_id="test"))
                writer.write(request)
                answer = await reader.readuntil(b"\r\n\r\n")
                statuses.append(int(answer.split()[1]))
                length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                await reader.readexactly(int(length.split()[1]))
        writer.close()
        await writer.wait_closed()
        assert statuses == [200, 200, 200, 401]
