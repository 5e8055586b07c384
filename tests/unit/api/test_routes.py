"""Paths and methods find their surface, or are told where it is."""

from __future__ import annotations

import pytest

from tundish.api.call import Call, request_id
from tundish.api.routes import Audience, Route, Router
from tundish.core.errors import MethodNotAllowed, NotFound


async def surface(_: Call) -> None: ...


ROUTER = Router(
    [
        Route(path="/v1/chat/completions", methods={"POST": surface}),
        Route(path="/v1/completions", methods={"POST": surface}),
        Route(path="/v1/models", methods={"GET": surface}),
        Route(path="/v1/models/{model}", methods={"GET": surface}),
        Route(path="/openai/deployments/{deployment}/completions", methods={"POST": surface}),
        Route(path="/healthz", methods={"GET": surface}, audience=Audience.ANYBODY),
    ]
)


def test_paths() -> None:
    assert ROUTER.find("/v1/models")[0].path == "/v1/models"
    route, parameters = ROUTER.find("/v1/models/openai/gpt-oss-20b")
    assert route.path == "/v1/models/{model}"
    assert parameters == {"model": "openai/gpt-oss-20b"}
    route, parameters = ROUTER.find("/openai/deployments/ollama/qwen/completions")
    assert route.path == "/openai/deployments/{deployment}/completions"
    assert parameters == {"deployment": "ollama/qwen"}


@pytest.mark.parametrize("path", ["/openai/deployments/completions", "/openai/deployments//completions"])
def test_a_name_is_not_empty(path: str) -> None:
    with pytest.raises(NotFound):
        ROUTER.find(path)


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("/chat/completions", "/v1/chat/completions"),
        ("/v1/chat/completion", "/v1/chat/completions"),
        ("/v1/model", "/v1/models"),
        ("/v1/models/", "/v1/models"),
        ("/health", "/healthz"),
        ("/", "/v1/chat/completions"),
        ("/nothing/like/it", "/v1/chat/completions"),
        ("/\x00\n", "that path"),
        ("/" + "x" * 100_000, "Paths:"),
    ],
)
def test_a_wrong_path_is_told_the_nearest(path: str, advice: str) -> None:
    with pytest.raises(NotFound) as caught:
        ROUTER.find(path)
    assert advice in caught.value.message
    assert len(caught.value.message) < 400
    assert "\n" not in caught.value.message


def test_methods() -> None:
    route, _ = ROUTER.find("/v1/models")
    assert route.surface("GET") is surface
    assert route.surface("HEAD") is surface
    with pytest.raises(MethodNotAllowed) as caught:
        route.surface("DELETE")
    assert caught.value.allowed == ("GET", "HEAD", "OPTIONS")


@pytest.mark.parametrize("given", ["abc-1", "0b6f:7.x_Y", "x" * 128])
def test_a_sane_request_id_is_kept(given: str) -> None:
    assert request_id({"x-request-id": given}) == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a\tb", "é", "a,b"])
def test_another_is_replaced(given: str) -> None:
    made = request_id({"x-request-id": given})
    assert made.startswith("req_")
    assert made != request_id({})
