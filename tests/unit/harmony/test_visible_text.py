"""Log probabilities travel with exactly the text of their tokens."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tundish.core.events import TextDelta, TextPhase, TokenLogprob
from tundish.harmony.visible_text import VisibleText


def entry(text: str | bytes) -> TokenLogprob:
    token = text if isinstance(text, bytes) else text.encode()
    return TokenLogprob(token=token.decode("utf-8", "replace"), token_bytes=token, logprob=-0.5)


def test_each_delta_carries_its_tokens() -> None:
    visible = VisibleText([], 0)
    assert visible.feed("Hel", TextPhase.ANSWER, [entry("Hel")]) == TextDelta("Hel", logprobs=(entry("Hel"),))
    assert visible.feed("lo", TextPhase.ANSWER, [entry("lo")]) == TextDelta("lo", logprobs=(entry("lo"),))


def test_tokens_of_held_back_text_wait() -> None:
    visible = VisibleText(["END"], 0)
    assert visible.feed("E", TextPhase.ANSWER, [entry("E")]) is None
    shown = visible.feed("at", TextPhase.ANSWER, [entry("at")])
    assert shown == TextDelta("Eat", logprobs=(entry("E"), entry("at")))


def test_tokens_of_a_stop_string_are_not_shown() -> None:
    visible = VisibleText(["END"], 0)
    visible.feed("go ", TextPhase.ANSWER, [entry("go ")])
    assert visible.feed("END", TextPhase.ANSWER, [entry("END")]) is None
    assert visible.stopped
    assert visible.flush(TextPhase.ANSWER) is None


def test_the_tokens_of_one_character_come_together() -> None:
    visible = VisibleText([], 0)
    first, second = entry(b"\xf0\x9f"), entry(b"\x98\x80")
    assert visible.feed("", TextPhase.ANSWER, [first]) is None
    assert visible.feed("😀", TextPhase.ANSWER, [second]) == TextDelta("😀", logprobs=(first, second))


def test_messages_are_set_apart_and_no_stop_string_reaches_across() -> None:
    visible = VisibleText(["\n\n", "ab"], 0)
    visible.begin_message()
    visible.feed("xa", TextPhase.PREAMBLE)
    assert visible.flush(TextPhase.PREAMBLE) == TextDelta("a", phase=TextPhase.PREAMBLE)
    visible.begin_message()
    assert visible.feed("b", TextPhase.ANSWER) == TextDelta("\n\nb")


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "ab", " ", "é"]), max_size=20), st.sampled_from([[], ["abb"], ["b b"]]))
def test_shown_text_is_the_text_of_the_shown_tokens(pieces: list[str], stops: list[str]) -> None:
    visible = VisibleText(stops, 0)
    deltas = [visible.feed(piece, TextPhase.ANSWER, [entry(piece)]) for piece in pieces]
    deltas.append(visible.flush(TextPhase.ANSWER))
    shown = [delta for delta in deltas if delta is not None]
    text = "".join(delta.text for delta in shown)
    tokens = "".join(logprob.token for delta in shown for logprob in delta.logprobs)
    # A token that is partly beyond a stop string is left out.
    assert text.startswith(tokens)
    assert tokens == text or (visible.stopped and len(text) - len(tokens) < 2)
