"""What a token costs on a machine of one's own."""

from __future__ import annotations

import math

from tundish.catalog.price import Price

_SECONDS_PER_YEAR = 365.25 * 86_400
_NANO = 1_000_000_000


def local_price(
    *,
    watts: float,
    tariff_usd_per_kwh: float,
    hardware_usd: float,
    years: float,
    utilisation: float,
    prefill_tokens_per_s: float,
    decode_tokens_per_s: float,
) -> Price:
    """Energy plus amortised hardware; at least one nano-dollar a token, for nothing is free.

        a second's energy    = watts / 1 000 × tariff / 3 600
        a second's hardware  = hardware_usd / (years × seconds in a year × utilisation)
        a token              = (energy + hardware) / tokens a second, rounded up

    Args:
        watts: what the machine draws while it works, beyond what it would draw without the model.
        tariff_usd_per_kwh: of electricity.
        hardware_usd: what was paid for the share of the machine that the model has.
        years: until it is written off.
        utilisation: the share of that time in which it generates, 0 … 1; the rest is paid for by that share.
        prefill_tokens_per_s: prompt tokens that the whole machine reads in a second, all requests together.
        decode_tokens_per_s: tokens that it generates in a second, all streams together.

    Raises:
        ValueError: a number that cannot be; the message names it.
    """
    for name, value in (("watts", watts), ("tariff_usd_per_kwh", tariff_usd_per_kwh), ("hardware_usd", hardware_usd)):
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} is {value}, and must be 0 or more")
    for name, value in (
        ("years", years),
        ("utilisation", utilisation),
        ("prefill_tokens_per_s", prefill_tokens_per_s),
        ("decode_tokens_per_s", decode_tokens_per_s),
    ):
        if not 0 < value < math.inf:
            raise ValueError(f"{name} is {value}, and must be more than 0")
    if utilisation > 1:
        raise ValueError(f"utilisation is {utilisation}, and must be at most 1: it is a share of the time")
    energy_usd_per_s = watts / 1_000 * tariff_usd_per_kwh / 3_600
    hardware_usd_per_s = hardware_usd / (years * _SECONDS_PER_YEAR * utilisation)
    nano_usd_per_s = (energy_usd_per_s + hardware_usd_per_s) * _NANO
    return Price(
        input_nano_usd=_per_token(nano_usd_per_s, prefill_tokens_per_s),
        output_nano_usd=_per_token(nano_usd_per_s, decode_tokens_per_s),
        source=(
            f"{watts:g} W at {tariff_usd_per_kwh:g} USD/kWh, {hardware_usd:g} USD over {years:g} years at "
            f"{utilisation:.0%} utilisation, {prefill_tokens_per_s:g} and {decode_tokens_per_s:g} tokens/s"
        ),
    )


def _per_token(nano_usd_per_s: float, tokens_per_s: float) -> int:
    exact = nano_usd_per_s / tokens_per_s
    if not exact < _NANO:
        raise ValueError(
            f"a token would cost {exact / _NANO:g} USD; check the tokens a second, the years and the watts"
        )
    return max(1, math.ceil(exact))
