"""Redirects: where they lead, and what is sent along."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Callable, Mapping

import pytest

from tundish.sources.errors import SourceRefused
from tundish.sources.transport import following_redirects, shown


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]

    async def receive(self, sink: Callable[[memoryview], None]) -> bool:
        return False


class Web:
    """Answers each address with a redirect to the next one, and the last with 200."""

    def __init__(self, **to: str) -> None:
        self._to = {f"https://{name}.example/": target for name, target in to.items()}
        self.asked: list[tuple[str, Mapping[str, str]]] = []

    @contextlib.asynccontextmanager
    async def get(self, url: str, headers: Mapping[str, str], *, stall_s: float) -> AsyncGenerator[Answer]:
        self.asked.append((url, headers))
        target = self._to.get(url)
        yield Answer(200, {}) if target is None else Answer(302, {"location": target})


async def follow(web: Web, **headers: str) -> int:
    async with following_redirects(web, "https://a.example/", headers, stall_s=1) as response:
        return response.status


async def test_credentials_go_to_the_first_host_only_even_when_it_comes_back() -> None:
    web = Web(a="https://b.example/", b="https://a.example/x")
    assert await follow(web, Authorization="Bearer secret", cookie="secret", range="bytes=5-") == 200
    assert [set(headers) for _, headers in web.asked] == [{"Authorization", "cookie", "range"}, {"range"}, {"range"}]


@pytest.mark.parametrize("target", ["/path", "https://a.example/path", "?query", "//a.example/path"])
async def test_credentials_stay_on_the_same_host(target: str) -> None:
    web = Web(a=target)
    await follow(web, authorization="Bearer secret")
    assert "authorization" in web.asked[1][1]


@pytest.mark.parametrize("target", ["https://a.example:8443/", "https://a.example.evil/", "https://user@a.example/"])
async def test_another_port_or_name_is_another_host(target: str) -> None:
    web = Web(a=target)
    await follow(web, authorization="Bearer secret")
    assert "authorization" not in web.asked[1][1]


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("http://a.example/", "plain http"),
        ("ftp://a.example/", "not an HTTP address"),
        ("file:///etc/passwd", "not an HTTP address"),
        ("https://[::1", "none"),
        ("https://a.example/", "more than 10 times"),
    ],
)
async def test_where_no_redirect_may_lead(target: str, told: str) -> None:
    with pytest.raises(SourceRefused, match=told):
        await follow(Web(a=target))


def test_an_address_is_shown_without_its_secrets() -> None:
    assert shown("https://user:pass@x.example:8443/a/b.gguf?token=1#f") == "https://x.example:8443/a/b.gguf"
