"""Either header opens the endpoint, with a key that is known."""

from __future__ import annotations

import pytest

from tundish.access.keys import KeyRing
from tundish.api.authentication import authenticate
from tundish.core.errors import Unauthenticated

KEYS = KeyRing({"team": "td-secret"})


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer td-secret"},
        {"authorization": "bearer  td-secret "},
        {"api-key": "td-secret"},
        {"authorization": "Bearer td-secret", "api-key": "td-secret"},
        {"authorization": "Bearer unused", "api-key": "td-secret"},
        {"authorization": "Bearer td-secret", "api-key": "unused"},
        {"authorization": "Basic eDp5", "api-key": "td-secret"},
    ],
)
def test_known_keys(headers: dict[str, str]) -> None:
    assert authenticate(headers, KEYS).key_id == "team"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "td-secret"},
        {"authorization": "Bearer"},
        {"authorization": "Bearer wrong"},
        {"authorization": "Basic td-secret"},
        {"api-key": ""},
        {"api-key": "wrong"},
        {"authorization": "Bearer wrong", "api-key": "wrong"},
        {"api-key": "\xff"},
    ],
)
def test_unknown_ones(headers: dict[str, str]) -> None:
    with pytest.raises(Unauthenticated):
        authenticate(headers, KEYS)


def test_an_open_ring_asks_for_nothing() -> None:
    assert authenticate({}, KeyRing.open()).key_id == "anonymous"
