"""What tokens cost here: prices that override the shipped ones, and the cost of this machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tundish.catalog.price import Price
from tundish.catalog.prices import local_price
from tundish.catalog.prices.price_list import nano_usd_per_token
from tundish.config.section import Section

_MOST_USD = 1_000_000.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PriceOverride:
    """A price that counts instead of the shipped one."""

    model: str
    profile: str | None
    """None: of the model wherever it runs elsewhere."""
    price: Price


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LocalCost:
    """What this machine costs and does; None where nothing was said."""

    watts: float | None = None
    """Drawn while it computes."""
    tariff_usd_per_kwh: float | None = None
    hardware_usd: float | None = None
    years: float | None = None
    """Over which the hardware is written off."""
    utilisation: float = 0.3
    """The share of that time in which it computes."""
    prefill_tokens_per_s: float | None = None
    decode_tokens_per_s: float | None = None


def read_price(section: Section) -> Price | None:
    """`input`, `output`, `cached_input` in USD per million tokens, `dated`, `source`; None when one is missing."""
    section.require("input", "USD per million prompt tokens.")
    section.require("output", "USD per million generated tokens.")
    given = section.number("input", None, most=_MOST_USD)
    generated = section.number("output", None, most=_MOST_USD)
    cached = section.number("cached_input", None, most=_MOST_USD)
    dated, source = section.date("dated"), section.text("source", "")
    input_nano = _nano_usd(section, "input", given)
    output_nano = _nano_usd(section, "output", generated)
    if input_nano is None or output_nano is None:
        return None
    return Price(
        input_nano_usd=input_nano,
        output_nano_usd=output_nano,
        cached_input_nano_usd=_nano_usd(section, "cached_input", cached),
        dated=dated,
        source=source or "configuration",
    )


def _nano_usd(section: Section, key: str, usd_per_million: float | None) -> int | None:
    try:
        return None if usd_per_million is None else nano_usd_per_token(usd_per_million)
    except ValueError:
        section.problem(f"must be a multiple of 0.001 USD, not {usd_per_million:g}.", key)
        return None


def read_overrides(root: Section, profiles: Sequence[str]) -> Sequence[PriceOverride]:
    """The prices of `[[prices]]`."""
    overrides: list[PriceOverride] = []
    named: set[tuple[str | None, str]] = set()
    for section in root.array_of_tables("prices"):
        section.require("model", "the model whose price this is.")
        model = section.text("model")
        profile = section.one_of("backend", profiles)
        price = read_price(section)
        section.finish()
        if model is not None and (profile, model) in named:
            section.problem("This price is given twice.", "model")
        elif model is not None and price is not None:
            overrides.append(PriceOverride(model=model, profile=profile, price=price))
            named.add((profile, model))
    return overrides


def overriding(overrides: Sequence[PriceOverride], profile: str, model: str) -> Price | None:
    """The price that the configuration has for `model` there: one for that kind of service first."""
    for wanted in (profile, None):
        for override in overrides:
            if override.model == model and override.profile == wanted:
                return override.price
    return None


def cost_of(cost: LocalCost) -> Price | str | None:
    """What a token costs on this machine, or what is missing to know it; None where nothing was said."""
    stated = {
        "watts": cost.watts,
        "tariff_usd_per_kwh": cost.tariff_usd_per_kwh,
        "hardware_usd": cost.hardware_usd,
        "years": cost.years,
        "prefill_tokens_per_s": cost.prefill_tokens_per_s,
        "decode_tokens_per_s": cost.decode_tokens_per_s,
    }
    known = {name: value for name, value in stated.items() if value is not None}
    if not known:
        return None
    missing = [name for name in stated if name not in known]
    if missing:
        return f"local_cost has no {', '.join(missing)}"
    try:
        return local_price(utilisation=cost.utilisation, **known)
    except ValueError as error:
        return str(error)


def read_local_cost(parent: Section, defaults: LocalCost) -> LocalCost:
    """`local_cost` of the site, or of one local deployment, whose speed is its own."""
    section = parent.table("local_cost")
    cost = LocalCost(
        watts=section.number("watts", defaults.watts, above=True, most=1e6),
        tariff_usd_per_kwh=section.number("tariff_usd_per_kwh", defaults.tariff_usd_per_kwh, most=100.0),
        hardware_usd=section.number("hardware_usd", defaults.hardware_usd, most=1e9),
        years=section.number("years", defaults.years, above=True, most=50.0),
        utilisation=section.number("utilisation", defaults.utilisation, above=True, most=1.0),
        prefill_tokens_per_s=section.number("prefill_tokens_per_s", defaults.prefill_tokens_per_s, above=True),
        decode_tokens_per_s=section.number("decode_tokens_per_s", defaults.decode_tokens_per_s, above=True),
    )
    section.finish()
    return cost
