"""An answer that another place began: the prompt ends within it, and what comes is its rest."""

from __future__ import annotations

import datetime

from tundish.core.events import ChoiceFinished, FinishReason, TextDelta
from tundish.core.request import Request, UserMessage
from tundish.harmony.parse import HarmonyParser
from tundish.harmony.render import answer_header, render
from tundish.harmony.tokens import RETURN
from tundish.harmony.vocabulary import O200K_HARMONY

TODAY = datetime.date(2026, 11, 24)


def request(begun: str = "") -> Request:
    return Request(model="m", messages=(UserMessage(text="Count to 4"),), answer_begun=begun)


def test_the_prompt_goes_on_within_the_answer() -> None:
    vocabulary = O200K_HARMONY()
    whole, begun = render(request(), today=TODAY), render(request("1, 2,"), today=TODAY)
    assert begun[: len(whole)] == whole
    assert begun[len(whole) :] == [*answer_header(), *vocabulary.encode("1, 2,")]


def test_what_comes_is_the_rest_and_needs_no_repair() -> None:
    parser = HarmonyParser(new_call_id=lambda: "c")
    assert parser.feed(answer_header()) == []
    events = parser.feed([*O200K_HARMONY().encode(" 3, 4"), RETURN])
    events += parser.finish(cut=False)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == " 3, 4"
    assert events[-1] == ChoiceFinished(FinishReason.STOP, 0)
