"""Members in, one body out: nothing lost that matters, nothing sent that is not understood."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tundish.core.errors import InvalidRequest
from tundish.providers import profile
from tundish.providers.request_shape import CHAT_COMPLETIONS, COMPLETIONS, RequestShape

values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
names = st.sampled_from(
    ["model", "messages", "temperature", "top_k", "n", "tools", "logit_bias", "user", "keep_alive", "x", 'a"b', "stop"]
)


def shape(name: str, surface: str = CHAT_COMPLETIONS, **more) -> RequestShape:
    known = profile.load(name)
    return RequestShape(known, surface, model=more.get("model", "there"), refuses=known.refuses)


def encoded(**members) -> dict[str, bytes]:
    return {name: json.dumps(value).encode() for name, value in members.items()}


def body(name: str, members: dict[str, bytes], *, stream: bool = False, usage_asked: bool = False, **more) -> dict:
    return json.loads(shape(name, **more).body(members, stream=stream, usage_asked=usage_asked))


@given(st.sampled_from(profile.known()), st.dictionaries(names, values))
def test_what_is_sent_is_what_was_asked_or_it_was_refused(name: str, members: dict) -> None:
    there, given_ = shape(name), encoded(**members)
    if there.refused(given_) is not None:
        with pytest.raises(InvalidRequest):
            there.check(given_)
        return
    sent = json.loads(there.body(given_, stream=False, usage_asked=False))
    known = profile.load(name)
    assert sent.pop("model") == "there"
    for key, value in members.items():
        if key in sent:
            assert sent[key] == value
        elif key != "model":
            ours = key in ("keep_alive", "x", 'a"b')
            assert (ours and not known.takes_any) or key in known.refuses
    assert sent.keys() <= members.keys()


@given(st.text(min_size=1, max_size=8))
def test_any_name_of_a_model_is_json(model: str) -> None:
    try:
        model.encode()
    except UnicodeEncodeError:
        return
    assert body("openai", encoded(model="ours"), model=model)["model"] == model


@pytest.mark.parametrize(
    ("given_", "limit"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"max_tokens": 5, "max_completion_tokens": 6}, 5),
        ({"max_tokens": 7, "max_completion_tokens": None}, 7),
        ({"max_tokens": None}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("name", ["openai", "ollama"])
def test_the_limit_has_one_name(name: str, given_: dict, limit: int | None) -> None:
    sent = body(name, encoded(**given_))
    field = profile.load(name).max_tokens
    assert sent == {"model": "there"} | ({} if limit is None else {field: limit})


def test_completions_know_only_the_older_name() -> None:
    sent = json.loads(shape("openai", COMPLETIONS).body(encoded(max_tokens=3), stream=False, usage_asked=False))
    assert sent == {"model": "there", "max_tokens": 3}


@pytest.mark.parametrize(
    "members",
    [{"max_tokens": "5", "max_completion_tokens": 6}, {"stream_options": 7}, {"stream_options": []}],
)
def test_what_cannot_be_reworked_is_the_clients_mistake(members: dict) -> None:
    with pytest.raises(InvalidRequest):
        body("openai", encoded(**members), stream=True)


def test_usage_is_asked_for_in_streams_only() -> None:
    assert "stream_options" not in body("openai", encoded(stream=False))
    assert body("openai", encoded(stream_options=None), stream=True)["stream_options"] == {"include_usage": True}
    asked = {"include_usage": True, "x": 1}
    assert body("openai", encoded(stream_options=asked), stream=True, usage_asked=True)["stream_options"] == asked


@pytest.mark.parametrize("name", profile.known())
def test_each_profile_is_whole(name: str) -> None:
    known = profile.load(name)
    assert known.name == name
    assert known.paths.chat_completions.startswith("/")
    assert known.key_header == known.key_header.lower()
    assert not known.refuses & set(known.takes)
