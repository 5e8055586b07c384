"""Counting: the same sums however they are come by, and nothing guessed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tundish.ledger import layout
from tundish.ledger.layout import ReceiptsFolder
from tundish.ledger.usage import Tally, Usage
from tundish.ledger.usage_count import counted

from .logs import Log, receipt

DAY_US = 86_400_000_000
MAYBE = st.none() | st.integers(0, 10**6)
RECEIPTS = st.lists(
    st.builds(
        lambda number, **fields: receipt(number, **fields),
        st.integers(0, 5 * DAY_US),
        route=st.sampled_from(["a", "b"]),
        deployment=st.sampled_from(["", "local", "cloud"]),
        project=st.sampled_from(["", "p"]),
        outcome=st.sampled_from(["ok", "cancelled", "backend_error"]),
        prompt_tokens=MAYBE,
        completion_tokens=MAYBE,
        cost_nano_usd=MAYBE,
        baseline_nano_usd=MAYBE,
        shadow_of=st.sampled_from(["", "", "req-1"]),
    ),
    max_size=30,
)


@given(RECEIPTS, st.integers(0, 30))
def test_sums_are_the_same_whole_in_parts_and_taken_up_again(receipts: list, cut: int) -> None:
    whole = Usage()
    for one in receipts:
        whole.count(one)
    first, second = Usage(), Usage()
    for one in receipts[:cut]:
        first.count(one)
    again = Usage(first.rows())
    for one in receipts[cut:]:
        again.count(one)
        second.count(one)
    first.add(second)
    assert whole.rows() == again.rows() == first.rows()
    for name in ("route", "deployment", "project", "day"):
        total = Tally()
        for tally in whole.by(lambda row, name=name: getattr(row, name)).values():
            total.add(tally)
        assert total == whole.total()
    tally = whole.total()
    assert tally.requests + tally.mirrored == len(receipts)
    assert tally.cost_nano_usd == sum(one.cost_nano_usd or 0 for one in receipts)


def test_an_unknown_price_is_counted_and_not_guessed() -> None:
    usage = Usage()
    usage.count(receipt(1, cost_nano_usd=None))
    usage.count(receipt(2, cost_nano_usd=None, completion_tokens=None, outcome="cancelled"))
    usage.count(receipt(3, cost_nano_usd=None, prompt_tokens=None, deployment="", outcome="service_unavailable"))
    usage.count(receipt(4, cost_nano_usd=300, baseline_nano_usd=1000))
    usage.count(receipt(5, cost_nano_usd=50))
    usage.count(receipt(6, cost_nano_usd=7, shadow_of="req-4", baseline_nano_usd=1000))
    total = usage.total()
    assert (total.requests, total.failed, total.unpriced, total.unmetered, total.mirrored) == (5, 2, 1, 1, 1)
    assert (total.compared, total.compared_nano_usd, total.baseline_nano_usd) == (1, 300, 1000)
    assert total.saved_nano_usd == 700
    assert total.cost_nano_usd == 357


@pytest.mark.parametrize("arrived_us", [0, -(10**18), 10**18, 2**62])
def test_a_clock_gone_wild_does_not_stop_the_count(arrived_us: int) -> None:
    usage = Usage()
    usage.count(receipt(1, arrived_us=arrived_us))
    assert Usage(usage.rows()).rows() == usage.rows()


def test_only_what_came_after_the_kept_count_is_read(tmp_path: Path) -> None:
    log = Log(tmp_path, segment_bytes=1500)
    for number in range(1, 9):
        log.append([receipt(number)])
    log.writer.keep_usage()
    for number in range(9, 12):
        log.append([receipt(number)])
    receipts = ReceiptsFolder(tmp_path)
    assert counted(receipts, "log").total().requests == 11
    kept = log.folder / layout.USAGE
    kept.write_bytes(kept.read_bytes().replace(b'"requests":8', b'"requests":108'))
    assert counted(receipts, "log").total().requests == 111  # it is believed
    assert counted(receipts, "log", afresh=True).total().requests == 11
    kept.write_bytes(b"garbage")
    assert counted(receipts, "log").total().requests == 11
    log.writer.close()
