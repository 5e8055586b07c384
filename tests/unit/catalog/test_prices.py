"""Prices: as listed and dated, unknown when unknown; local cost with its arithmetic; a ladder of qualities."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tundish.catalog.catalog import Catalog
from tundish.catalog.price import Price
from tundish.catalog.prices import local_price, price_of, quality_of
from tundish.catalog.prices.price_list import nano_usd_per_token, read_price_list
from tundish.catalog.prices.quality import ladder

LOCAL = {
    "watts": 100.0,
    "tariff_usd_per_kwh": 0.36,
    "hardware_usd": 0.0,
    "years": 4.0,
    "utilisation": 0.5,
    "prefill_tokens_per_s": 1_000.0,
    "decode_tokens_per_s": 50.0,
}


@pytest.mark.parametrize(
    ("provider", "model", "nano_in", "nano_out"),
    [
        ("azure", "gpt-oss-120b", 150, 600),
        ("groq", "gpt-oss-120b", 150, 600),
        ("together", "gpt-oss-120b", 150, 600),
        ("fireworks", "gpt-oss-120b", 150, 600),
        ("bedrock", "gpt-oss-120b", 150, 600),
        ("openrouter", "gpt-oss-120b", 100, 500),
        ("ovh", "gpt-oss-120b", 80, 400),
        ("deepinfra", "gpt-oss-120b", 37, 170),
        ("groq", "gpt-oss-20b", 75, 300),
        ("together", "gpt-oss-20b", 50, 200),
        ("ovh", "gpt-oss-20b", 40, 150),
        ("azure", "gpt-4.1", 2_000, 8_000),
        ("azure", "gpt-4.1-mini", 400, 1_600),
        ("azure", "gpt-5", 1_250, 10_000),
        ("azure", "gpt-5-mini", 250, 2_000),
        ("azure", "gpt-5-nano", 50, 400),
        ("azure", "gpt-5.4-mini", 750, 4_500),
        ("azure", "gpt-5.5", 5_000, 30_000),
        ("Azure", "GPT-5.6", 4_000, 20_000),
    ],
)
def test_a_listed_price_is_exact_and_dated(provider: str, model: str, nano_in: int, nano_out: int) -> None:
    price = price_of(provider, model)
    assert price is not None
    assert (price.input_nano_usd, price.output_nano_usd) == (nano_in, nano_out)
    assert price.dated == datetime.date(2026, 11, 1)
    assert price.source


def test_an_unknown_price_is_unknown() -> None:
    assert price_of("azure", "gpt-oss-20b") is None  # not sold there
    assert price_of("azure", "gpt-99") is None
    assert price_of("nobody", "gpt-5") is None


def test_a_price_holds_only_where_it_is_listed() -> None:
    assert price_of("ovh", "gpt-oss-20b", region="eu") is not None
    assert price_of("ovh", "gpt-oss-20b", region="US") is None
    assert price_of("azure", "gpt-5", sku="globalstandard") is not None
    assert price_of("azure", "gpt-5", sku="DataZoneStandard") is None


@given(st.integers(0, 10**9))
def test_every_thousandth_of_a_dollar_is_a_whole_number(nano: int) -> None:
    assert nano_usd_per_token(nano / 1_000) == nano


@pytest.mark.parametrize("usd", [0.0001, -1.0, float("nan"), float("inf"), 1.00049])
def test_a_price_that_is_no_whole_number_is_refused(usd: float) -> None:
    with pytest.raises(ValueError, match=r"multiple of 0\.001"):
        nano_usd_per_token(usd)


_LIST = "provider = 'x'\ndated = 2026-11-01\nsource = 's'\n"
_MODEL = "[[models]]\nmodel = 'm'\ninput_usd_per_million = 1\noutput_usd_per_million = 1\n"


def test_a_list_is_read() -> None:
    assert [listed.model for listed in read_price_list((_LIST + _MODEL).encode()).models] == ["m"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "not toml",
        _LIST,
        _LIST + "models = []",
        _LIST + _MODEL.replace("output_usd_per_million = 1", ""),
        _LIST + _MODEL.replace("output_usd_per_million = 1", "output_usd_per_million = -1"),
        _LIST + _MODEL + "surprise = 1",
        _LIST.replace("2026-11-01", "'soon'") + _MODEL,
    ],
)
def test_a_damaged_list_is_refused(content: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (the message is msgspec's)
        read_price_list(content.encode())


def test_local_cost_is_energy_over_speed() -> None:
    # 100 W at 0.36 USD/kWh: 0.036 USD an hour, 10 000 nano-dollars a second.
    price = local_price(**LOCAL)
    assert (price.input_nano_usd, price.output_nano_usd) == (10, 200)


def test_local_cost_has_the_hardware_paid_by_the_time_in_use() -> None:
    # 31 557.6 USD over one year of 31 557 600 s, used half of it: 2 000 000 nano-dollars a second.
    stated = {**LOCAL, "watts": 0.0, "hardware_usd": 31_557.6, "years": 1.0, "utilisation": 0.5}
    price = local_price(**stated)
    assert (price.input_nano_usd, price.output_nano_usd) == (2_000, 40_000)
    assert "50% utilisation" in price.source


def test_local_cost_is_never_nothing() -> None:
    price = local_price(**{**LOCAL, "watts": 0.0})
    assert (price.input_nano_usd, price.output_nano_usd) == (1, 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("watts", -1.0),
        ("tariff_usd_per_kwh", float("nan")),
        ("hardware_usd", float("inf")),
        ("years", 0.0),
        ("utilisation", 0.0),
        ("utilisation", 1.1),
        ("prefill_tokens_per_s", 0.0),
        ("decode_tokens_per_s", -3.0),
        ("decode_tokens_per_s", float("nan")),
    ],
)
def test_a_number_that_cannot_be_is_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        local_price(**{**LOCAL, name: value})


def test_numbers_that_add_up_to_nonsense_are_refused() -> None:
    with pytest.raises(ValueError, match="a token would cost"):
        local_price(**{**LOCAL, "decode_tokens_per_s": 1e-300, "watts": 1e9})


def test_cached_tokens_cost_what_they_cost() -> None:
    price = Price(input_nano_usd=10, output_nano_usd=100, cached_input_nano_usd=1)
    assert price.cost_nano_usd(prompt_tokens=50, completion_tokens=2, cached_tokens=40) == 10 * 10 + 40 * 1 + 2 * 100
    plain = Price(input_nano_usd=10, output_nano_usd=100)
    assert plain.cost_nano_usd(prompt_tokens=50, completion_tokens=2, cached_tokens=40) == 50 * 10 + 2 * 100


def test_the_ladder_knows_every_chat_model_of_the_catalog() -> None:
    chat = [card for card in Catalog.load().cards if any(c.value == "chat" for c in card.capabilities)]
    assert chat
    assert [card.full_name for card in chat if quality_of(card.full_name) is None] == []
    assert "not measured" in ladder().source


def test_the_ladder_is_in_the_order_of_the_families() -> None:
    for better, worse in (("gpt-5", "gpt-5-mini"), ("gpt-oss-120b", "gpt-oss-20b"), ("gpt-oss-20b", "gpt-oss-nano")):
        assert (quality_of(better) or 0) > (quality_of(worse) or 0) > 0
    assert quality_of("OpenAI/GPT-OSS-20B") == quality_of("gpt-oss-20b")
    assert quality_of("never-heard-of-it") is None
