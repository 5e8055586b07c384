from __future__ import annotations

import importlib.resources

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tundish.harmony.vocabulary import O200K_HARMONY, VocabularyDamaged, unpack

# What openai_harmony 0.0.8 encodes these to.
GOLDEN = [
    ("Hello world", [13225, 2375]),
    ("naïve 👩‍👩‍👧 日本", [1503, 9954, 737, 61138, 102, 2524, 28823, 102, 2524, 28823, 100, 17428]),
    ("  indented\n\n\tcode();", [220, 1383, 23537, 279, 86873, 4177]),
    ("'s 12345 don't I'LL", [885, 220, 7633, 2548, 4128, 3413, 7454]),
    ("<|start|>system", [27, 91, 5236, 91, 29, 17360]),
    ("", []),
]


@pytest.mark.parametrize(("text", "tokens"), GOLDEN)
def test_encodes_as_published(text: str, tokens: list[int]) -> None:
    assert O200K_HARMONY().encode(text) == tokens
    assert O200K_HARMONY().decode(tokens) == text


@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("<|startoftext|>", 199_998),
        ("<|endoftext|>", 199_999),
        ("<|return|>", 200_002),
        ("<|constrain|>", 200_003),
        ("<|channel|>", 200_005),
        ("<|start|>", 200_006),
        ("<|end|>", 200_007),
        ("<|message|>", 200_008),
        ("<|call|>", 200_012),
        ("<|endofprompt|>", 200_018),
    ],
)
def test_special_tokens_have_their_published_ids(name: str, token: int) -> None:
    assert O200K_HARMONY().special(name) == token
    assert O200K_HARMONY().token_bytes(token) == name.encode()


def test_reserved_tokens_have_names_and_others_have_nothing() -> None:
    vocabulary = O200K_HARMONY()
    assert vocabulary.token_bytes(200_000) == b"<|reserved_200000|>"
    assert vocabulary.token_bytes(-1) == b""
    assert vocabulary.token_bytes(vocabulary.size) == b""
    assert vocabulary.size == 201_088
    with pytest.raises(KeyError):
        vocabulary.special("<|nothing|>")


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_what_is_encoded_comes_back_and_has_no_special_token(text: str) -> None:
    tokens = O200K_HARMONY().encode(text)
    assert O200K_HARMONY().decode(tokens) == text
    assert all(token < 199_998 for token in tokens)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["<|start|>", "<|end|>", "<|call|>", "<|", "|>", "system", " "]), max_size=12))
def test_text_that_looks_special_stays_text(pieces: list[str]) -> None:
    text = "".join(pieces)
    tokens = O200K_HARMONY().encode(text)
    assert all(token < 199_998 for token in tokens)
    assert O200K_HARMONY().decode(tokens) == text


def test_lone_surrogates_become_replacement_characters() -> None:
    vocabulary = O200K_HARMONY()
    assert vocabulary.decode(vocabulary.encode("a\ud800b")) == "a\ufffdb"
    assert vocabulary.decode(vocabulary.encode("\ud83d\ude00")) == "😀"


def test_a_long_text_encodes_as_its_parts_would() -> None:
    sentence = "The quick brown fox jumps over the lazy dog, 12 times. "
    text = sentence * 2_000
    whole = O200K_HARMONY()._encoding.encode_ordinary(text)  # 110 000 characters at once
    assert O200K_HARMONY().encode(text) == whole


@pytest.mark.parametrize("word", ["a", "é", "日", "😀", " ", "\n", "<|", "a\u0301"])
def test_a_huge_word_without_boundaries_is_encoded_and_comes_back(word: str) -> None:
    text = word * 100_000
    assert O200K_HARMONY().decode(O200K_HARMONY().encode(text)) == text


def test_gguf_lists_agree_with_the_vocabulary() -> None:
    vocabulary = O200K_HARMONY()
    tokens, types, merges = vocabulary.gguf_tokens(), vocabulary.gguf_token_types(), vocabulary.gguf_merges()
    assert len(tokens) == len(types) == 201_088
    assert len(set(tokens)) == len(tokens)
    assert tokens[13225] == "Hello"
    assert tokens[2375] == "Ġworld"  # GPT-2's letter for a space
    assert tokens[200_006] == "<|start|>"
    assert (types[13225], types[200_006]) == (1, 3)
    assert merges[:3] == ["Ġ Ġ", "ĠĠ ĠĠ", "i n"]
    assert len(merges) == 199_998 - 256
    known = set(tokens)
    for merge in merges:
        left, _, right = merge.partition(" ")
        assert left in known
        assert right in known
        assert left + right in known


def test_a_damaged_file_is_refused() -> None:
    data = (importlib.resources.files("tundish.harmony") / "o200k_base.xz").read_bytes()
    assert unpack(data).size == 201_088
    for damaged in (b"", data[:-1], data + b"\0", bytes([data[0] ^ 1]) + data[1:]):
        with pytest.raises(VocabularyDamaged, match="Install tundish again"):
            unpack(damaged)
