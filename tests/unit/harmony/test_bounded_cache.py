from __future__ import annotations

from tundish.harmony.bounded_cache import BoundedCache


def test_the_least_recently_used_makes_room() -> None:
    cache = BoundedCache[str, int](10)
    cache.put("a", 1, 4)
    cache.put("b", 2, 4)
    assert cache.get("a") == 1
    cache.put("c", 3, 4)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, None, 3)
    assert cache.size_bytes == 8


def test_what_is_larger_than_the_cache_is_not_remembered() -> None:
    cache = BoundedCache[str, int](10)
    cache.put("a", 1, 4)
    cache.put("b", 2, 11)
    assert (cache.get("a"), cache.get("b")) == (1, None)


def test_a_key_is_counted_once() -> None:
    cache = BoundedCache[str, int](10)
    cache.put("a", 1, 4)
    cache.put("a", 1, 4)
    assert cache.size_bytes == 4
