"""Keys and tokens: one look-up for many, kept while they hold, replaced without delay."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from tundish.core.errors import BackendError
from tundish.providers.credentials import LookedUp
from tundish.providers.entra import EntraTokens


@dataclasses.dataclass
class Given:
    token: str
    expires_on: int


class Login:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.asked = 0
        self.failure: Exception | None = None
        self.lasts_s = 3600

    async def __call__(self) -> Given:
        self.asked += 1
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        return Given(token=f"t{self.asked}", expires_on=int(1_000_000 + self.now_s + self.lasts_s))

    def close(self) -> None:
        pass

    def tokens(self) -> EntraTokens:
        return EntraTokens(self, unix_s=lambda: 1_000_000 + self.now_s, monotonic_s=lambda: self.now_s)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_many_who_wait_for_a_token_ask_for_one() -> None:
    login = Login()
    tokens = login.tokens()
    assert tokens.current() is None
    assert await asyncio.gather(*(tokens.fetch() for _ in range(10))) == ["Bearer t1"] * 10
    assert tokens.current() == "Bearer t1"


async def test_a_token_is_renewed_before_it_expires_and_nobody_waits() -> None:
    login = Login()
    tokens = login.tokens()
    await tokens.fetch()
    login.now_s = 3299
    assert tokens.current() == "Bearer t1"
    await settle()
    assert login.asked == 1
    login.now_s = 3301
    assert tokens.current() == "Bearer t1"
    await settle()
    assert tokens.current() == "Bearer t2"


async def test_a_renewal_that_fails_is_no_harm_while_the_token_holds(caplog) -> None:
    login = Login()
    tokens = login.tokens()
    await tokens.fetch()
    login.failure = BackendError("login is down")
    login.now_s = 3400
    assert tokens.current() == "Bearer t1"
    await settle()
    assert "login is down" in caplog.text
    login.now_s = 3410
    assert tokens.current() == "Bearer t1"
    await settle()
    assert login.asked == 2  # not again at once
    login.now_s = 3601
    assert tokens.current() is None
    with pytest.raises(BackendError, match="login is down"):
        await tokens.fetch()
    login.failure = None
    assert await tokens.fetch() == "Bearer t4"


async def test_who_is_cancelled_takes_no_token_from_the_others() -> None:
    login = Login()
    tokens = login.tokens()
    first = asyncio.ensure_future(tokens.fetch())
    second = asyncio.ensure_future(tokens.fetch())
    await asyncio.sleep(0)
    first.cancel()
    assert await second == "Bearer t1"
    assert login.asked == 1


async def test_a_refused_token_is_not_used_again() -> None:
    login = Login()
    tokens = login.tokens()
    value = await tokens.fetch()
    tokens.refused("Bearer another")
    assert tokens.current() == value
    tokens.refused(value)
    assert tokens.current() is None
    assert await tokens.fetch() == "Bearer t2"


async def test_a_key_is_looked_up_once_and_again_when_it_is_refused() -> None:
    looked = 0

    async def source() -> str:
        nonlocal looked
        looked += 1
        await asyncio.sleep(0)
        return f"k{looked}\n"

    key = LookedUp(source, header="api-key", prefix="")
    assert key.current() is None
    assert await asyncio.gather(key.fetch(), key.fetch()) == ["k1", "k1"]
    key.refused("k0")
    assert key.current() == "k1"
    key.refused("k1")
    assert await key.fetch() == "k2"
