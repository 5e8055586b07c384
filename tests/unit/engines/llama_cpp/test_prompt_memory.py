from __future__ import annotations

from tundish.engines.llama_cpp.prefix_entry import packed
from tundish.engines.llama_cpp.prompt_memory import PromptMemory
from tundish.engines.llama_cpp.slot_order import SlotOrder

PREFIX = list(range(100))
HELLO, GOODBYE = packed(PREFIX + [1] * 50), packed(PREFIX + [2] * 50)
LONG_HELLO = packed(PREFIX + [1] * 50 + [7] * 300)
ALL = range(4)


def continues(memory: PromptMemory, ids: bytes, *, idle: range = ALL) -> bool:
    return memory.continues(ids, beyond_tokens=len(PREFIX), idle=idle)


def test_a_conversation_is_found_in_its_slot_while_that_is_idle() -> None:
    memory = PromptMemory(moved_when_idle=False)
    memory.computed(2, HELLO)
    assert continues(memory, LONG_HELLO)
    assert not continues(memory, LONG_HELLO, idle=range(2))
    assert not continues(memory, GOODBYE)  # the prefix alone is no conversation


def test_what_is_written_over_is_gone() -> None:
    memory = PromptMemory(moved_when_idle=True)
    memory.computed(0, HELLO)
    memory.computed(0, GOODBYE)  # most of it is the same: llama.cpp writes over it
    assert not continues(memory, HELLO)


def test_what_is_quite_different_is_moved_where_there_is_a_cache_for_it() -> None:
    other = packed([9] * 200)
    for moves in (True, False):
        memory = PromptMemory(moved_when_idle=moves)
        memory.computed(0, HELLO)
        memory.computed(0, other)
        assert continues(memory, HELLO) is moves


def test_no_more_is_remembered_than_is_of_use() -> None:
    memory = PromptMemory(moved_when_idle=True)
    for number in range(200):
        memory.computed(0, packed([number] * 200))
    assert not memory.continues(packed([0] * 200), beyond_tokens=10, idle=ALL)
    assert memory.continues(packed([198] * 200), beyond_tokens=10, idle=ALL)


def test_the_slot_that_is_missed_least() -> None:
    order = SlotOrder(3, moved_when_idle=True)
    assert order.least_useful([]) is None
    for slot in (2, 0):
        order.holds(slot)
    assert order.least_useful([0, 1, 2]) == 1
    assert order.least_useful([0, 2]) == 2
    assert order.would_lose(2)
    order.launched()  # what idle slots held is in memory now
    assert not order.would_lose(2)


def test_what_cannot_be_moved_is_lost_without_asking() -> None:
    order = SlotOrder(1, moved_when_idle=False)
    order.holds(0)
    order.launched()
    assert order.least_useful([0]) == 0
    assert not order.would_lose(0)
