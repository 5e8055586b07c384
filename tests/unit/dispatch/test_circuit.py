"""The circuit breaker by itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tundish.dispatch.circuit import Breaker, Entry
from tundish.dispatch.rules import BreakerRules
from tundish.routing.table import Circuit

RULES = BreakerRules(failures=3, open_s=10.0, probes=1, successes=2)


def opened(rules: BreakerRules = RULES) -> Breaker:
    breaker = Breaker(rules)
    for _ in range(rules.failures):
        breaker.failed(Entry.ORDINARY, 0.0)
    return breaker


def test_it_opens_after_failures_in_a_row() -> None:
    breaker = Breaker(RULES)
    for outcome in "ffsff":
        assert breaker.enter(0.0) is Entry.ORDINARY
        if outcome == "f":
            assert not breaker.failed(Entry.ORDINARY, 0.0)
        else:
            breaker.succeeded(Entry.ORDINARY)
    assert breaker.failed(Entry.ORDINARY, 0.0)
    assert breaker.enter(0.0) is None


def test_probes_close_it() -> None:
    breaker = opened()
    assert breaker.enter(9.9) is None
    assert breaker.wants_probe(10.0)
    assert breaker.enter(10.0) is Entry.PROBE
    assert breaker.enter(10.0) is None, "one probe at a time"
    assert not breaker.wants_probe(10.0)
    assert not breaker.succeeded(Entry.PROBE)
    assert breaker.enter(10.0) is Entry.PROBE
    assert breaker.succeeded(Entry.PROBE)
    assert breaker.state(10.0) is Circuit.CLOSED


def test_a_failed_probe_opens_it_again() -> None:
    breaker = opened()
    breaker.enter(10.0)
    assert breaker.failed(Entry.PROBE, 11.0)
    assert breaker.state(20.9) is Circuit.OPEN
    assert breaker.state(21.0) is Circuit.HALF_OPEN


def test_a_probe_that_was_cancelled_makes_room_for_another() -> None:
    breaker = opened()
    breaker.enter(10.0)
    breaker.left(Entry.PROBE)
    assert breaker.enter(10.0) is Entry.PROBE


def test_what_began_before_it_opened_says_nothing() -> None:
    breaker = opened()
    assert breaker.enter(10.0) is Entry.PROBE
    assert not breaker.succeeded(Entry.ORDINARY)
    assert not breaker.failed(Entry.ORDINARY, 10.0)
    assert breaker.state(10.0) is Circuit.HALF_OPEN


@given(st.lists(st.tuples(st.sampled_from("efsl"), st.floats(0, 20)), max_size=60))
def test_never_more_probes_than_allowed_and_never_stuck(moves: list[tuple[str, float]]) -> None:
    breaker, now_s = Breaker(RULES), 0.0
    running: list[Entry] = []
    for move, wait_s in moves:
        now_s += wait_s
        if move == "e":
            entry = breaker.enter(now_s)
            if entry is not None:
                running.append(entry)
        elif running:
            entry = running.pop(0)
            if move == "f":
                breaker.failed(entry, now_s)
            elif move == "s":
                breaker.succeeded(entry)
            else:
                breaker.left(entry)
    for entry in running:
        breaker.left(entry)
    assert breaker.enter(now_s + 10.0) is not None, "a deployment that nobody asks can always be asked again"
