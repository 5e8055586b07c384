"""From a name to weights on this machine."""

from __future__ import annotations

import pytest

from tundish.catalog import local_model
from tundish.catalog.cache import Cache
from tundish.catalog.card import EmbeddedSource, WeightFormat
from tundish.catalog.catalog import Catalog
from tundish.catalog.errors import AmbiguousModel, ModelDamaged, ModelEmbedded, ModelNotCached
from tundish.core.errors import ModelNotFound

PACKAGED = Catalog.load()


@pytest.fixture
def resolve(cache: Cache):
    def do(name: str) -> local_model.Weights:
        return local_model.resolve(name, catalog=PACKAGED.with_cards(cache.cards()), cache=cache)

    return do


def test_a_cached_model_is_a_file(place, resolve) -> None:
    model = place()
    assert resolve("noise") == resolve("test/noise") == resolve("noise:q8_0") == model.weights


def test_the_embedded_model_is_told_apart(resolve, cache: Cache) -> None:
    assert resolve("gpt-oss-nano") == resolve("tundish/gpt-oss-nano:mxfp4-gguf") == EmbeddedSource()
    with pytest.raises(ModelEmbedded, match="comes with Tundish"):
        local_model.find("gpt-oss-nano", catalog=PACKAGED, cache=cache)


def test_what_is_known_but_not_here_says_how_to_fetch_it(resolve) -> None:
    with pytest.raises(ModelNotCached, match="tundish model pull gpt-oss-20b"):
        resolve("gpt-oss-20b")
    with pytest.raises(ModelNotFound, match="gpt-oss-20b"):
        resolve("gpt-oss-20")


def test_of_two_publishers_the_one_that_is_here(place, make_card, resolve) -> None:
    model = place(make_card("gpt-oss-20b"))
    assert resolve("gpt-oss-20b") == model.weights
    with pytest.raises(ModelNotCached):
        resolve("openai/gpt-oss-20b")
    with pytest.raises(AmbiguousModel, match="may mean"):
        PACKAGED.with_cards([make_card("gpt-oss-20b")]).find("gpt-oss-20b")


def test_the_format_is_the_engines(place, make_card, resolve, cache: Cache) -> None:
    tensors = make_card(variant="bf16-safetensors", format=WeightFormat.SAFETENSORS)
    model = place(tensors, files={"model.safetensors": b"x"})
    with pytest.raises(ModelNotCached):
        resolve("noise")
    assert local_model.find("noise", catalog=Catalog(cache.cards()), cache=cache) == model
    gguf = place(make_card(variant="q8-gguf"))
    assert resolve("noise") == gguf.weights


def test_a_model_that_is_cut_short_is_not_given_to_an_engine(place, resolve) -> None:
    model = place()
    model.weights.write_bytes(b"GGUF")
    with pytest.raises(ModelDamaged, match="must have"):
        resolve("noise")
