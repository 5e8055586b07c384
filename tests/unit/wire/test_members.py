"""Bodies of which only the top is decoded."""

from __future__ import annotations

import json

import pytest

from tundish.core.errors import InvalidRequest
from tundish.wire.chat_completions import decode_partial
from tundish.wire.members import conversation_key, decode_members, estimate_tokens


def test_members_are_found_and_put_together_again() -> None:
    body = b'{"model": "m", "stream":true, "messages": [ {"role":"user","content":"\xc3\xa9"} ], "model": "n"}'
    members = decode_members(body)
    assert members.text("model") == "n", "as every decoder has it"
    assert members.is_true("stream")
    assert json.loads(members.encode()) == json.loads(body)
    assert json.loads(members.with_text("model", 'a"b').encode())["model"] == 'a"b'


@pytest.mark.parametrize("body", [b"", b"[]", b'"x"', b"{", b'{"a":}', b"[" * 100_000, b'{"a":' + b"[" * 100_000])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode_members(body)


@pytest.mark.parametrize("value", [b"1", b"[]", b"{}", b"true", b'"\xed\xa0\x80"'])
def test_a_text_that_is_none(value: bytes) -> None:
    with pytest.raises(InvalidRequest, match="model"):
        decode_members(b'{"model": ' + value + b"}").text("model")


def test_what_is_set() -> None:
    members = decode_members(b'{"a": null, "b": [], "c": false, "d": [1], "e": "x", "f": {}}')
    assert [name for name in "abcdefg" if members.is_set(name)] == ["d", "e"]


def messages(*turns: tuple[str, str]) -> bytes:
    return json.dumps([{"role": role, "content": content} for role, content in turns]).encode()


def test_the_turns_of_a_conversation_have_one_key() -> None:
    first = conversation_key(messages(("system", "s"), ("user", "Hi")))
    assert first is not None
    assert conversation_key(messages(("system", "s"), ("user", "Hi"), ("assistant", "Ho"), ("user", "x"))) == first
    assert conversation_key(messages(("system", "t"), ("user", "Hi"))) != first
    assert conversation_key(messages(("system", "s"), ("user", "Hi!"))) != first


@pytest.mark.parametrize("given", [b"[]", b"{}", b"nonsense", b'[1, {"role": 2}]', b'[{"role":"system"}]', b"\xff"])
def test_no_conversation(given: bytes) -> None:
    assert conversation_key(given) is None


def test_an_estimate_of_prose_is_near() -> None:
    text = "The quick brown fox jumps over the lazy dog, and nobody in the foundry looks up from the ladle. " * 20
    assert 400 <= estimate_tokens(messages(("user", text))) <= 600, "o200k has 441"


def test_a_broken_stream_is_read_again() -> None:
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 5, "model": "m"}

    def event(delta: dict[str, object], **more: object) -> bytes:
        return b"data: " + json.dumps({**head, "choices": [{"index": 0, "delta": delta, **more}]}).encode() + b"\n\n"

    said = [event({"role": "assistant", "content": ""}), event({"content": "He"}), event({"content": "llo"})]
    partial = decode_partial(said)
    assert partial is not None
    assert (partial.completion_id, partial.text, partial.tokens, partial.plain) == ("c1", "Hello", 2, True)
    for more in (
        event({"tool_calls": [{"index": 0}]}),
        event({}, finish_reason="stop"),
        event({"content": "x"}, index=1),
        b"data: [DONE]\n\n",
    ):
        ended = decode_partial([*said, more])
        assert ended is not None
        assert not ended.plain
    assert decode_partial([b"data: nonsense\n\n"]) is None
    assert decode_partial([]) is None
