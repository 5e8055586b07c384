"""Words beyond the pools, from the vocabulary itself, so that copying is learnt for words and not for a list of them."""

from __future__ import annotations

import functools
import re

import pools

from tundish.harmony.vocabulary import O200K_HARMONY

_SAID_BELOW, _READ_BELOW = 8_000, 12_000
"""The vocabulary is ordered by frequency: words below these ranks can be said in every form, and read."""
_PIECES = re.compile(rb" ?[a-z]{1,2}| ?[A-Z][a-z]?|[0-9]{1,3}| ?[!-/:-@\[-`{-~]{1,2}|\s{1,4}")
_WORD = re.compile(rb" [a-z]{3,10}")
_NAME = re.compile(rb" [A-Z][a-z]{2,10}")


@functools.cache
def common_tokens() -> frozenset[int]:
    """Rows of the vocabulary that are kept whatever the dialogues say.

    Single bytes, short pieces, numbers, punctuation, common words in all their forms, harmony's special tokens.
    """
    vocabulary = O200K_HARMONY()
    special = range(199_998, vocabulary.size)
    kept = {token for token in special if not vocabulary.token_name(token).startswith("<|reserved")}
    for token in range(_READ_BELOW):
        text = vocabulary.token_bytes(token)
        if len(text) == 1 or _PIECES.fullmatch(text) or _WORD.fullmatch(text) or _NAME.fullmatch(text):
            kept.add(token)
    kept.update(vocabulary.encode("".join(f"{number} " for number in range(1000))))
    for word in [*_single_words(), *(word.lower() for word in pools.WORDS)]:
        for form in _forms(word):
            tokens = vocabulary.encode(form)
            if len(tokens) == 1:
                kept.update(tokens)
    return frozenset(kept)


@functools.cache
def rare_words() -> tuple[str, ...]:
    """Words of one token, and made-up ones of two; each can be said in every form."""
    words = _single_words()
    made_up = [first + second[:4] for first, second in zip(words[::2], words[1::2], strict=False)]
    kept, encode = common_tokens(), O200K_HARMONY().encode
    return tuple(word for word in [*words, *made_up] if all(kept.issuperset(encode(form)) for form in _forms(word)))


def _single_words() -> list[str]:
    token_bytes = O200K_HARMONY().token_bytes
    texts = (token_bytes(token) for token in range(_SAID_BELOW))
    return [text[1:].decode() for text in texts if _WORD.fullmatch(text)]


def _forms(word: str) -> tuple[str, ...]:
    """As it stands after a space and at the beginning, small and capitalised."""
    return f" {word}", word, f" {word.capitalize()}", word.capitalize()
