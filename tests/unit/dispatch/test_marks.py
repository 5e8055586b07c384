"""What several processes know of conversations: never less than what any of them was told lately."""

from __future__ import annotations

import itertools
import mmap
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tundish.dispatch import marks
from tundish.dispatch.conversations import Conversations
from tundish.dispatch.labels import Labels
from tundish.dispatch.marks import SharedMarks
from tundish.dispatch.work import ReadyWork
from tundish.policy.policy import Policy, Rule, policy

RUNS = itertools.count()
CLASSES = ("public", "internal", "restricted")


@pytest.fixture(scope="module")
def memory() -> Iterator[mmap.mmap]:
    with mmap.mmap(-1, marks.SHARED_BYTES) as made:
        yield made


def policy_of(classes: Sequence[str]) -> Policy:
    return policy(classes=classes, default_class=classes[0], rules=[Rule(data_class=classes[0], places=("*",))])


def label(labels: Labels, conversation: str, header: str | None = None, classes: Sequence[str] = CLASSES) -> str:
    work = ReadyWork("chat", "chat_completions", _never)
    work.conversations = (conversation,)
    found, _ = labels.label(policy_of(classes), route_default=None, project=None, header=header, work=work)
    return found.data_class


def _never(_: object):
    raise AssertionError("only the label is asked for")


@given(
    st.lists(st.tuples(st.integers(0, 2), st.text(max_size=8), st.sampled_from([None, *CLASSES])), max_size=30),
)
@settings(deadline=None)
def test_no_class_falls_whichever_process_is_asked(
    memory: mmap.mmap, requests: list[tuple[int, str, str | None]]
) -> None:
    """Three processes, any requests in any order."""
    run = next(RUNS)  # the memory is that of all examples
    workers = [Labels(Conversations(shared=SharedMarks(memory))) for _ in range(3)]
    highest: dict[str, int] = {}
    for worker, name, header in requests:
        got = CLASSES.index(label(workers[worker], f"{run}/{name}", header))
        claimed = 0 if header is None else CLASSES.index(header)
        assert got == max(claimed, highest.get(name, 0))
        highest[name] = got


def test_a_class_that_the_policy_no_longer_has_counts_as_the_highest(memory: mmap.mmap) -> None:
    one, two = (Labels(Conversations(shared=SharedMarks(memory))) for _ in range(2))
    label(two, "other", "public")
    label(two, "other")  # so that it has met the classes of the old policy
    label(one, "gone", "restricted")
    assert label(two, "gone", classes=("public", "internal", "secret")) == "secret"


def test_the_oldest_are_forgotten_and_those_that_speak_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "CELLS", 1 << 16)
    with mmap.mmap(-1, marks.HEADER_BYTES + 2 * (1 << 16)) as memory:
        shared = SharedMarks(memory)
        shared.add("silent", "restricted")
        turned = 0
        for number in range(6000):
            shared.add("speaks", "restricted")
            shared.add(f"c{number}", "internal")
            recent = f"c{max(0, number - 300)}"
            assert shared.has(recent, "internal")
            if number % 50 == 0:
                turned += shared.turn_over()
        assert turned > 3
        assert shared.has("speaks", "restricted")
        assert not shared.has("silent", "restricted")


def test_hardly_anybody_is_taken_for_another(memory: mmap.mmap) -> None:
    shared = SharedMarks(memory)
    for number in range(20_000):
        shared.add(f"marked-{number}", "restricted")
    assert sum(shared.has(f"unmarked-{number}", "") for number in range(20_000)) < 5
