from __future__ import annotations

import asyncio

import pytest

from tundish.http.errors import ResponseTimeout
from tundish.providers.openai_compatible import Server, list_models


async def test_what_it_has(listing):
    listing.has("a", "org/b")
    assert [entry.id for entry in await list_models(Server(base_url=listing.base_url))] == ["a", "org/b"]


async def test_a_server_that_stalls_in_its_answer_is_given_up(listing):
    listing.stalls = True
    async with asyncio.timeout(30):
        with pytest.raises(ResponseTimeout, match="did not list its models"):
            await list_models(Server(base_url=listing.base_url), timeout_s=0.2)
