"""Rate headers, as they come and as they should not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tundish.providers import rate_headers

NAMES = [f"x-ratelimit-{what}-{of}" for what in ("limit", "remaining", "reset") for of in ("requests", "tokens")] + [
    "retry-after",
    "retry-after-ms",
]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("120ms", 0.12),
        ("2m59.56s", 179.56),
        ("1h2m3s", 3723.0),
        ("12", 12.0),
        ("0", 0.0),
        ("1700000000000", None),
        ("-1", None),
        ("nan", None),
        ("soon", None),
        ("", None),
        ("1x", None),
    ],
)
def test_a_reset(text: str, seconds: float | None) -> None:
    told = rate_headers.read({"x-ratelimit-reset-tokens": text, "x-ratelimit-limit-tokens": "9"}, 100.0)
    assert told is not None
    assert told.reset_tokens_s == (None if seconds is None else pytest.approx(seconds))


def test_milliseconds_are_more_exact() -> None:
    told = rate_headers.read({"retry-after": "2", "retry-after-ms": "1500"}, 10.0)
    assert told is not None
    assert told.retry_at_s() == 11.5


def test_nothing_told_is_nothing_known() -> None:
    assert rate_headers.read({"content-type": "x", "x-ratelimit-limit-tokens": "many"}, 1.0) is None


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=50) | st.integers().map(str)))
def test_no_header_does_any_harm(headers) -> None:
    told = rate_headers.read(headers, 5.0)
    if told is not None and (at_s := told.retry_at_s(10**9)) is not None:
        assert 5.0 <= at_s <= 5.0 + 7 * 86400
