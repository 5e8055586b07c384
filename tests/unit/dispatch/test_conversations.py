"""A conversation's class never falls, and no other conversation has it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tundish.core.errors import BackendDied, TundishError
from tundish.dispatch.conversations import Conversations
from tundish.dispatch.rules import BreakerRules, RetryRules, Rules
from tundish.dispatch.work import Lineage
from tundish.wire import history

from .plant import CLASSES, Asked, Hang, Plant, Played, answer, plant

Message = dict[str, Any]

RULES = Rules(retries=RetryRules(attempts=1), breaker=BreakerRules(failures=1000))
"""Each fate is met as it is."""


class Chat(Asked):
    """A request that sends its whole history; its answer is written as the plant's bytes are."""

    def __init__(self, messages: list[Message], header: str | None = None) -> None:
        super().__init__(claimed_class=header)
        found = history.read(json.dumps(messages).encode())
        assert found is not None
        self._history = found

    def lineage(self) -> Lineage:
        found = self._history
        if not found.answered:
            return Lineage(earlier=found.earlier, opening=found.own)
        return Lineage(earlier=found.earlier, own=(found.own,))

    def ends_answer(self, data: bytes) -> bool:
        return data.endswith(b"[DONE]\n\n")

    def answered(self, given: bytes) -> tuple[str, ...] | None:
        return self._history.after(given, stream=True)


def event(text: str, end: str | None = None) -> bytes:
    body = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": end}]}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


async def say(works: Plant, messages: list[Message], header: str | None = None, *, leaves: bool = False) -> str:
    """One turn over the wire; the answer that the client has afterwards."""
    run = works.dispatcher.begin(Chat(messages, header))
    failure: BaseException | None = None
    text = ""
    try:
        got = await run.open()
        while (piece := await got.next()) is not None:
            piece_text = getattr(piece, "text", "")
            run.journal.wrote(event(piece_text))
            text += piece_text
            if leaves and text:
                return text
        run.journal.wrote(event("", "stop") + b"data: [DONE]\n\n")
        run.complete()
    except TundishError as error:
        failure = error
    finally:
        await run.close(failure)
    return text


def classes(works: Plant) -> list[str]:
    return [receipt.data_class for receipt in works.seen.receipts]


def of_user(text: str) -> Message:
    return {"role": "user", "content": text}


def of_model(text: str) -> Message:
    return {"role": "assistant", "content": text}


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["Hi", "More", ""]),
            st.sampled_from([None, None, *CLASSES]),
            st.sampled_from(["answers", "answers", "leaves", "fails", "dies"]),
            st.integers(1, 2),
        ),
        min_size=1,
        max_size=7,
    )
)
def test_the_class_of_a_growing_history_never_falls(turns: list[tuple[str, str | None, str, int]]) -> None:
    """Whatever becomes of each turn: the client resends what it has, and goes on."""

    async def run() -> None:
        scripts = {
            "answers": ("Hel", "lo"),
            "leaves": ("Hel", Hang()),
            "fails": (BackendDied("Died."),),
            "dies": ("Hel", BackendDied("Died.")),
        }
        played = Played()
        works = plant({"a": played}, {"a": "device"}, rules=RULES)
        messages: list[Message] = []
        highest = 0
        for text, header, fate, questions in turns:
            messages += [of_user(text)] * questions
            played.scripts, played.asked = (scripts[fate],), []
            said = await say(works, messages, header, leaves=fate == "leaves")
            got = CLASSES.index(classes(works)[-1])
            claimed = 0 if header is None else CLASSES.index(header)
            assert got >= max(claimed, highest)
            begun = any(message["role"] == "assistant" for message in messages)
            if said:
                messages.append(of_model(said))
            if said or begun:  # before that it is nobody's
                highest = got

    asyncio.run(run())


async def test_the_same_first_words_are_two_conversations() -> None:
    works = plant({"a": Played(("One",), ("Two",), ("Three",), ("Four",))}, {"a": "device"})
    first = await say(works, [of_user("Hi")], "restricted")
    second = await say(works, [of_user("Hi")])
    assert (first, second) == ("One", "Two")
    await say(works, [of_user("Hi"), of_model("Two"), of_user("More")])
    await say(works, [of_user("Hi"), of_model("One"), of_user("More")])
    assert classes(works) == ["restricted", "public", "public", "restricted"]


async def test_a_turn_that_is_asked_again_has_its_class() -> None:
    works = plant({"a": Played(("One",))}, {"a": "device"})
    begun = [of_user("Hi"), of_model("One"), of_user("More")]
    await say(works, begun, "restricted")
    await say(works, begun)
    await say(works, [*begun[:2], of_user("Else")])
    assert classes(works) == ["restricted", "restricted", "public"], "the last one goes on from before it rose"


async def test_while_the_first_answer_is_on_its_way_its_words_are_held() -> None:
    works = plant({"a": Played(("One", Hang()), ("Two",))}, {"a": "device"})
    run = works.dispatcher.begin(Chat([of_user("Hi")], "restricted"))
    await run.open()
    await say(works, [of_user("Hi"), of_model("On"), of_user("More")])
    await run.close()
    assert classes(works)[0] == "restricted"


async def test_a_refused_beginning_leaves_nothing() -> None:
    works = plant({"a": Played()})
    with pytest.raises(TundishError):
        await answer(works, Chat([of_user("Hi")], "restricted"))
    await say(works, [of_user("Hi"), of_model("Ho"), of_user("More")])
    assert classes(works) == ["restricted", "public"]


def test_bounds_and_ages() -> None:
    now_s, used = [0.0], list[tuple[str, str]]()
    kept = Conversations(on_use=lambda *note: used.append(note), unix_s=lambda: now_s[0])
    assert kept.empty
    kept.bound(limit=2, keep_s=10.0)
    for name in ("a", "b", "b", "c"):
        kept.rise(name, "restricted")
    assert used == [(name, "restricted") for name in ("a", "b", "b", "c")], "each use is told"
    assert [kept.data_class(name) for name in "abc"] == [None, "restricted", "restricted"]
    now_s[0] = 9.0
    assert kept.data_class("b", CLASSES) == "restricted"
    now_s[0] = 18.0
    assert (kept.data_class("b"), kept.data_class("c")) == ("restricted", None)
    kept.bound(limit=1, keep_s=10.0)
    assert kept.data_class("b") == "restricted"


def test_holds_are_counted() -> None:
    kept = Conversations()
    for name in ("internal", "restricted", "restricted"):
        kept.hold("a", name)
    kept.release("a", "restricted")
    assert kept.data_class("a", CLASSES) == "restricted"
    kept.release("a", "restricted")
    assert kept.data_class("a", CLASSES) == "internal"
    kept.release("a", "internal")
    assert kept.empty
