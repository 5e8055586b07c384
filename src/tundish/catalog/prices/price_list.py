"""The price lists of services, as they were on a stated day."""

from __future__ import annotations

import datetime
import functools
import importlib.resources
from collections.abc import Mapping, Sequence
from importlib.resources.abc import Traversable
from typing import Annotated

import msgspec
from msgspec import Meta

from tundish.catalog.price import Price

_FOLDER = "tundish.catalog.prices"
_NOT_LISTS = frozenset(("quality.toml",))
_UsdPerMillion = Annotated[float, Meta(ge=0, le=1_000_000)]


class ListedModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model's prices, in USD per million tokens."""

    model: str
    input_usd_per_million: _UsdPerMillion
    output_usd_per_million: _UsdPerMillion
    cached_input_usd_per_million: _UsdPerMillion | None = None


class PriceList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service's price list; one file of this folder."""

    provider: str
    dated: datetime.date
    source: str
    models: Annotated[tuple[ListedModel, ...], Meta(min_length=1)]
    region: str | None = None
    """Where alone these prices hold; None is everywhere."""
    skus: tuple[str, ...] = ()
    """For which SKUs alone they hold; empty is for all."""

    def applies(self, *, region: str | None, sku: str | None) -> bool:
        """Whether these prices hold there. What is not said does not speak against it."""
        if self.region is not None and region is not None and self.region.casefold() != region.casefold():
            return False
        return not self.skus or sku is None or sku.casefold() in [name.casefold() for name in self.skus]

    def price(self, listed: ListedModel) -> Price:
        """As nano-dollars a token.

        Raises:
            ValueError: it is no whole number of them.
        """
        cached = listed.cached_input_usd_per_million
        return Price(
            input_nano_usd=nano_usd_per_token(listed.input_usd_per_million),
            output_nano_usd=nano_usd_per_token(listed.output_usd_per_million),
            cached_input_nano_usd=None if cached is None else nano_usd_per_token(cached),
            dated=self.dated,
            source=self.source,
        )


def price_of(provider: str, model: str, *, region: str | None = None, sku: str | None = None) -> Price | None:
    """What the service's list says of the model; None is unknown, which is neither free nor like something else.

    Args:
        provider: the service: `azure`, `groq`, `openrouter`, …
        model: the catalog's name of the model.
        region: where it computes, where the service's prices differ by it.
        sku: likewise for Azure: the lists have global standard deployments.
    """
    found = [
        price
        for prices, price in _by_model().get((provider.casefold(), model.casefold()), ())
        if prices.applies(region=region, sku=sku)
    ]
    return found[0] if len(set(found)) == 1 else None


def nano_usd_per_token(usd_per_million: float) -> int:
    """USD per million tokens, as a whole number of nano-dollars a token.

    Raises:
        ValueError: it is finer than a thousandth of a dollar per million, or not a price at all.
    """
    nano = usd_per_million * 1_000
    if not 0 <= nano < 1e12 or abs(nano - round(nano)) > 1e-6:
        raise ValueError(f"{usd_per_million} USD per million tokens is not a multiple of 0.001")
    return round(nano)


def read_price_list(content: bytes) -> PriceList:
    """A list from TOML.

    Raises:
        ValueError: it is not one (msgspec's errors are of this kind).
    """
    return msgspec.toml.decode(content, type=PriceList)


@functools.cache
def _by_model() -> Mapping[tuple[str, str], Sequence[tuple[PriceList, Price]]]:
    found: dict[tuple[str, str], list[tuple[PriceList, Price]]] = {}
    for file in sorted(importlib.resources.files(_FOLDER).iterdir(), key=_name):
        if not file.name.endswith(".toml") or file.name in _NOT_LISTS:
            continue
        prices = read_price_list(file.read_bytes())
        for listed in prices.models:
            key = (prices.provider.casefold(), listed.model.casefold())
            found.setdefault(key, []).append((prices, prices.price(listed)))
    return found


def _name(file: Traversable) -> str:
    return file.name
