"""A history names every request that it goes on from, and shares nothing with one that differs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tundish.wire import history
from tundish.wire.history import History

Message = dict[str, Any]

words = st.text(max_size=6)
asked = st.builds(
    lambda role, content, extra: {"role": role, "content": content, **extra},
    st.sampled_from(["user", "system", "developer"]),
    st.one_of(words, st.lists(st.builds(lambda text: {"type": "text", "text": text}, words), max_size=2)),
    st.sampled_from([{}, {"name": "n"}]),
)
answer = st.builds(
    lambda content, calls: {
        "role": "assistant",
        "content": content,
        **({"tool_calls": [{"id": call, "type": "function", "function": {}} for call in calls]} if calls else {}),
    },
    st.one_of(st.none(), words),
    st.lists(st.text("ab", min_size=1, max_size=3), max_size=2),
)
turns = st.lists(st.tuples(st.lists(asked, min_size=1, max_size=2), answer), min_size=1, max_size=5)


def read(messages: list[Message], **layout: Any) -> History:
    found = history.read(json.dumps(messages, **layout).encode())
    assert found is not None
    return found


def whole(*answers: Message) -> bytes:
    return json.dumps({"choices": [{"index": i, "message": said} for i, said in enumerate(answers)]}).encode()


def streamed(*pieces: Message, end: str | None = "stop", index: int = 0) -> bytes:
    events = [{"choices": [{"index": index, "delta": piece}]} for piece in pieces]
    events.append({"choices": [{"index": index, "delta": {}, "finish_reason": end}]})
    return b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events) + b"data: [DONE]\n\n"


@given(turns, st.data())
def test_a_history_that_grows_knows_every_request_before(said: list[tuple[list[Message], Message]], data: Any) -> None:
    messages: list[Message] = []
    before: list[str] = []
    for number, (questions, reply) in enumerate(said):
        messages += questions
        layout = data.draw(st.sampled_from([{}, {"indent": 1}, {"separators": (",", ":")}, {"ensure_ascii": False}]))
        now = read(messages, **layout) if not layout.get("ensure_ascii", True) else read(messages)
        assert now.answered is (number > 0)
        assert set(before) <= set(now.earlier)
        before.append(now.own)
        if number == 0:
            keys = now.after(whole(reply), stream=False)
            assert keys is not None
            before += keys
        messages.append(reply)


@given(turns, turns)
def test_two_that_differ_in_any_message_share_only_what_came_before_it(
    one: list[tuple[list[Message], Message]], other: list[tuple[list[Message], Message]]
) -> None:
    def flat(said: list[tuple[list[Message], Message]]) -> list[Message]:
        return [message for questions, reply in said for message in (*questions, reply)]

    def plain(message: Message) -> tuple[str, str, tuple[str, ...]]:
        content = message.get("content") or ""
        text = content if isinstance(content, str) else "".join(part["text"] for part in content)
        text = text.strip() if message["role"] == "assistant" else text
        return message["role"], text, tuple(call["id"] for call in message.get("tool_calls", ()))

    left, right = flat(one), flat(other)
    pairs = zip(map(plain, left), map(plain, right), strict=False)
    same = next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(left), len(right)))
    shared = set(read(left).earlier) & set(read(right).earlier)
    assert shared <= set(read([*left[:same], {"role": "assistant", "content": "x"}]).earlier)


@pytest.mark.parametrize(
    "given",
    [
        whole({"role": "assistant", "content": "Hello there", "refusal": None}),
        streamed(
            {"role": "assistant", "content": ""}, {"content": "Hello"}, {"reasoning": "hm"}, {"content": " there"}
        ),
    ],
)
def test_an_answer_leads_to_what_the_client_sends_back(given: bytes) -> None:
    opening = read([{"role": "user", "content": "Hi"}])
    assert not opening.answered
    keys = opening.after(given, stream=given.startswith(b"data"))
    assert keys is not None
    for resent in ("Hello there", " Hello there\n", [{"type": "text", "text": "Hello there"}]):
        goes_on = read(
            [
                {"content": "Hi", "role": "user"},
                {"role": "assistant", "content": resent, "reasoning": "hm"},
                {"role": "user", "content": "More"},
            ]
        )
        assert set(keys) <= set(goes_on.earlier)
    assert not set(keys) & set(
        read([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello you"}]).earlier
    )


def test_tool_calls_are_told_apart_by_their_ids() -> None:
    opening = read([{"role": "user", "content": "Hi"}])
    first = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}
    more = {"index": 0, "function": {"arguments": '{"a": 1}'}}
    keys = opening.after(streamed({"tool_calls": [first]}, {"tool_calls": [more]}, end="tool_calls"), stream=True)
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    sent = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    assert keys is not None
    assert set(keys) <= set(read(sent).earlier)
    sent[1]["tool_calls"] = [{**call, "id": "call_2"}]
    assert not set(keys) & set(read(sent).earlier)


@pytest.mark.parametrize(
    "given",
    [
        streamed({"content": "Hel"}, end=None),
        streamed({"content": "Hel"})[:-40],
        b'data: {"error": {"message": "gone"}}\n\n',
        b"",
        b"data: {nonsense}\n\n",
    ],
)
def test_an_answer_that_is_not_whole_leads_nowhere(given: bytes) -> None:
    assert read([{"role": "user", "content": "Hi"}]).after(given, stream=True) is None


def test_each_of_several_choices_may_be_gone_on_from() -> None:
    opening = read([{"role": "user", "content": "Hi"}])
    keys = opening.after(whole({"content": "One"}, {"content": "Two"}), stream=False)
    assert keys is not None
    assert len(set(keys)) == 2


def test_a_begun_answer_belongs_to_the_answer() -> None:
    opening = [{"role": "user", "content": "Hi"}]
    prefilled = read([*opening, {"role": "assistant", "content": "Once"}])
    assert prefilled.own == read(opening).own
    assert not prefilled.answered
    assert prefilled.own in prefilled.earlier, "a client that goes on from half an answer is known by its question"


def test_very_long_histories_are_bounded() -> None:
    messages: list[Message] = []
    owns: list[str] = []
    for number in range(400):
        messages.append({"role": "user", "content": str(number)})
        owns.append(read(messages).own)
        messages.append({"role": "assistant", "content": "ok"})
    found = read(messages)
    assert len(found.earlier) <= 515
    assert owns[-1] in found.earlier
    assert owns[0] in found.earlier


@pytest.mark.parametrize("messages", [b"", b"{}", b"[1]", b'[{"role": 1}]', b"[" * 5000, b'[{"role":"user"}'])
def test_what_is_no_history(messages: bytes) -> None:
    assert history.read(messages) is None


@pytest.mark.parametrize("content", ["5", "{}", "[1]", '[{"text": 1}]', "true"])
def test_odd_content_is_still_told_apart(content: str) -> None:
    odd = history.read(f'[{{"role":"user","content":{content}}}]'.encode())
    assert odd is not None
    assert odd.own != read([{"role": "user", "content": "x"}]).own
