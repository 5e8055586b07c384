"""How long to wait before trying again."""

from __future__ import annotations

import email.utils
import time

import pytest

from tundish.sources.retry import RetryPolicy, retry_after_s


def test_waits_grow_up_to_a_limit_and_differ() -> None:
    policy = RetryPolicy(first_delay_s=1, max_delay_s=8)
    for failures, longest in ((1, 1), (2, 2), (3, 4), (4, 8), (5, 8), (50, 8)):
        waits = {policy.delay_s(failures, None) for _ in range(50)}
        assert longest / 2 <= min(waits)
        assert max(waits) <= longest
        assert len(waits) > 1


def test_the_sources_own_wish_comes_first_within_reason() -> None:
    policy = RetryPolicy(max_retry_after_s=60)
    assert policy.delay_s(1, 7.0) == 7.0
    assert policy.delay_s(1, 0.0) == 0.0
    assert policy.delay_s(1, 86_400.0) == 60


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, None), ("12", 12.0), (" 3 ", 3.0), ("soon", None), ("-5", None), ("", None), ("1e9", None), ("²", None)],
)
def test_retry_after_as_a_number(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value) == seconds


def test_retry_after_as_a_date() -> None:
    soon = retry_after_s(email.utils.formatdate(time.time() + 100, usegmt=True))
    assert soon is not None
    assert 90 < soon <= 100
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0
