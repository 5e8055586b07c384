"""Which hosts and web origins get past the guard."""

from __future__ import annotations

import pytest

from tundish.api.guard import Guard
from tundish.core.errors import PermissionDenied

LOCAL = Guard(host="127.0.0.1")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8642",
        "127.0.0.1",
        "127.9.9.9",
        "localhost",
        "LOCALHOST:8642",
        "localhost.:1",
        "app.localhost:80",
        "[::1]:8642",
        "[::1]",
    ],
)
def test_loopback_names_are_always_answered(host: str) -> None:
    assert LOCAL.check({"host": host}) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8642",
        "localhost.evil.example",
        "127.0.0.1.evil.example:8642",
        "192.168.1.5:8642",
        "8.8.8.8",
        "[2001:db8::1]:8642",
        "",
        "[",
        ":8642",
        "0x7f.1",
        "\xe9",
    ],
)
def test_names_that_somebody_else_may_own_are_not(host: str) -> None:
    with pytest.raises(PermissionDenied, match="TUNDISH_ALLOWED_HOSTS"):
        LOCAL.check({"host": host})


def test_a_client_without_a_host_is_no_browser() -> None:
    assert LOCAL.check({}) is None


def test_allowed_names() -> None:
    guard = Guard(host="0.0.0.0", allowed_hosts=["Models.example."])
    for host in ("models.example", "models.example:8642", "192.168.1.5:8642", "[2001:db8::1]:8642", "localhost"):
        assert guard.check({"host": host}) is None
    with pytest.raises(PermissionDenied, match=r"'evil\.example'"):
        guard.check({"host": "evil.example"})
    assert Guard(host="127.0.0.1", allowed_hosts=["*"]).check({"host": "evil.example"}) is None


@pytest.mark.parametrize("origin", ["https://app.example", "HTTPS://APP.example"])
def test_allowed_origins_are_told_so(origin: str) -> None:
    guard = Guard(host="127.0.0.1", allowed_origins=["https://app.example/"])
    assert guard.check({"host": "localhost", "origin": origin}) == origin


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://app.example",
        "https://app.example:444",
        "null",
        "",
        "http://localhost:3000",
        "://",
    ],
)
def test_other_pages_are_refused(origin: str) -> None:
    guard = Guard(host="127.0.0.1", allowed_origins=["https://app.example"])
    with pytest.raises(PermissionDenied, match="TUNDISH_ALLOWED_ORIGINS"):
        guard.check({"host": "localhost:8642", "origin": origin})


def test_our_own_pages_may_call() -> None:
    origin = "http://localhost:8642"
    assert LOCAL.check({"host": "localhost:8642", "origin": origin}) == origin


def test_any_origin() -> None:
    assert Guard(host="127.0.0.1", allowed_origins=["*"]).check({"host": "localhost", "origin": "null"}) == "null"
