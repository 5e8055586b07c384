"""An engine that leaves the grammar is noticed at once."""

from __future__ import annotations

import pytest

from tundish.core.errors import BackendError
from tundish.harmony import constraint
from tundish.harmony.constraint import ConstraintFollower

from .conftest import Ids, new_parser

NUMBER = '%llguidance {}\nstart: <[200005]> "final" <[200008]> /[0-9]+/\n'


def test_a_grammar_that_llguidance_refuses_has_a_problem() -> None:
    assert constraint.problem(NUMBER) == ""
    assert "start" in constraint.problem("%llguidance {}\nend: /a/\n")
    with pytest.raises(BackendError, match="cannot be enforced"):
        ConstraintFollower("%llguidance {}\nend: /a/\n")


def test_what_obeys_passes(ids: Ids) -> None:
    follower = ConstraintFollower(NUMBER)
    follower.feed(ids("<|channel|>final<|message|>12"))
    follower.feed(ids("34"))
    follower.feed(ids("<|return|>"))
    follower.feed(ids("anything after the end"))
    follower.finish()


@pytest.mark.parametrize("turn", ["final", "<|channel|>final<|message|>12a", "<|channel|>final<|message|><|end|>"])
def test_the_first_wrong_token_is_refused(ids: Ids, turn: str) -> None:
    *right, wrong = ids(turn)
    follower = ConstraintFollower(NUMBER)
    follower.feed(right)
    with pytest.raises(BackendError, match="stopped enforcing the JSON Schema"):
        follower.feed([wrong])


@pytest.mark.parametrize("turn", ["", "<|channel|>final<|message|>", "<|channel|>final<|message|><|return|>"])
def test_an_early_end_is_refused(ids: Ids, turn: str) -> None:
    follower = ConstraintFollower(NUMBER)
    with pytest.raises(BackendError, match="ended too early"):
        [follower.feed(ids(turn)), follower.finish()]


def test_followers_do_not_share_their_place(ids: Ids) -> None:
    first, second = ConstraintFollower(NUMBER), ConstraintFollower(NUMBER)
    first.feed(ids("<|channel|>final<|message|>1"))
    with pytest.raises(BackendError):
        second.feed(ids("1"))


def test_the_parser_follows(ids: Ids) -> None:
    parser = new_parser(grammar=NUMBER)
    parser.feed(ids("<|channel|>final<|message|>1"))
    with pytest.raises(BackendError):
        parser.feed(ids("x"))


def test_the_parser_wants_the_whole_answer_unless_it_was_cut(ids: Ids) -> None:
    for cut in (True, False):
        parser = new_parser(grammar=NUMBER)
        parser.feed(ids("<|channel|>final<|message|>"))
        if cut:
            parser.finish(cut=True)
        else:
            with pytest.raises(BackendError):
                parser.finish(cut=False)


def test_the_end_of_a_message_ends_a_turn_that_is_complete(ids: Ids) -> None:
    """llama.cpp takes `<|end|>` for an end of text and allows it wherever the grammar may end."""
    parser = new_parser(grammar=NUMBER)
    events = parser.feed(ids("<|channel|>final<|message|>12<|end|>"))
    assert parser.ended
    events += parser.finish(cut=False)
    assert "".join(event.text for event in events if hasattr(event, "text")) == "12"


def test_the_end_of_a_message_that_the_grammar_wants_ends_no_turn(ids: Ids) -> None:
    twice = '%llguidance {}\nstart: thought? answer\nthought: <[200005]> "analysis" <[200008]> /[a-z]*/ <[200007]>\n'
    parser = new_parser(grammar=twice + 'answer: (<[200006]> "assistant" <[200005]> "final" <[200008]> /[0-9]+/)?\n')
    parser.feed(ids("<|channel|>analysis<|message|>so<|end|>"))
    assert not parser.ended
    parser.feed(ids("<|start|>assistant<|channel|>final<|message|>1<|return|>"))
    assert parser.ended


def test_a_stop_string_may_end_the_answer_early(ids: Ids) -> None:
    parser = new_parser(grammar='%llguidance {}\nstart: <[200005]> "final" <[200008]> "1,2,3"\n', stop=[","])
    parser.feed(ids("<|channel|>final<|message|>1,"))
    assert parser.finish(cut=False)[-1].reason.value == "stop"  # type: ignore[union-attr]


def test_markers_inside_a_json_string_are_text(ids: Ids) -> None:
    """To llama.cpp they are, so the schema was obeyed with them."""
    grammar = '%llguidance {}\nstart: <[200005]> "final" <[200008]> %json {"type":"array"}\n'
    parser = new_parser(grammar=grammar, json_answer=True)
    events = parser.feed(ids('<|channel|>final<|message|>["<|channel|>a"]<|return|>'))
    assert "".join(event.text for event in events if hasattr(event, "text")) == '["<|channel|>a"]'


def test_the_cache_is_bounded() -> None:
    for index in range(50):
        assert constraint.problem(f'%llguidance {{}}\nstart: "{index}"\n') == ""
    assert constraint._compiled.size_bytes <= 64 * 1024 * 1024
