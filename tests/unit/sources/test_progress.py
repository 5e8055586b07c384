"""How fast a pull goes, and how long it will take."""

from __future__ import annotations

import datetime

import pytest

from tundish.core.clock import FixedClock
from tundish.sources.progress import Meter, PullEvent, PullProgress

MB = 1_000_000


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC))


@pytest.fixture
def told() -> list[PullEvent]:
    return []


def test_the_rate_is_that_of_the_last_ten_seconds(clock: FixedClock, told: list[PullEvent]) -> None:
    meter = Meter(clock, told.append)
    meter.expect("a", 1000 * MB)
    for second in range(60):
        clock.advance(1)
        meter.arrived("a", (second + 1) * MB if second < 30 else 30 * MB + (second - 29) * 5 * MB)
    last = told[-1]
    assert isinstance(last, PullProgress)
    assert last.bytes_per_s == pytest.approx(5 * MB, rel=0.01)
    assert last.left_s == pytest.approx((1000 * MB - last.arrived_bytes) / (5 * MB), rel=0.01)


def test_what_was_here_before_is_no_speed(clock: FixedClock, told: list[PullEvent]) -> None:
    meter = Meter(clock, told.append)
    meter.expect("a", 100 * MB, arrived_bytes=90 * MB)
    meter.arrived("a", 90 * MB)
    clock.advance(1)
    meter.arrived("a", 91 * MB)
    assert meter.progress().bytes_per_s == pytest.approx(MB)


def test_starting_over_is_no_negative_speed(clock: FixedClock, told: list[PullEvent]) -> None:
    meter = Meter(clock, told.append)
    meter.expect("a", 100 * MB)
    meter.arrived("a", 50 * MB)
    clock.advance(1)
    meter.arrived("a", 0)
    clock.advance(1)
    meter.arrived("a", MB)
    assert meter.progress().bytes_per_s == pytest.approx(MB)
    assert meter.arrived_bytes == MB


def test_it_tells_at_most_five_times_a_second_but_always_the_end(clock: FixedClock, told: list[PullEvent]) -> None:
    meter = Meter(clock, told.append)
    meter.expect("a", 1000)
    for count in range(1, 1001):
        clock.advance(0.001)
        meter.arrived("a", count)
    assert len(told) <= 7
    last = told[-1]
    assert isinstance(last, PullProgress)
    assert last.arrived_bytes == last.total_bytes == 1000


def test_the_total_is_unknown_while_one_file_is(clock: FixedClock, told: list[PullEvent]) -> None:
    meter = Meter(clock, told.append)
    meter.expect("a", 10)
    meter.expect("b", None)
    assert meter.total_bytes is None
    assert meter.progress().left_s is None
    meter.expect("b", 5, arrived_bytes=2)
    assert (meter.total_bytes, meter.arrived_bytes) == (15, 2)
