"""Words beyond the pools, from the vocabulary itself, so that copying is learnt for words and not for a list of them."""

from __future__ import annotations

import re

from tundish.harmony.vocabulary import O200K_HARMONY

RARE_BELOW = 20_000
"""The vocabulary is ordered by frequency: words below this rank can be read, said and copied."""


def rare_words() -> list[str]:
    """Words of one token, most of them in no pool, and made-up ones of two."""
    token_bytes = O200K_HARMONY().token_bytes
    words = [
        token_bytes(token)[1:].decode()
        for token in range(RARE_BELOW)
        if re.fullmatch(rb" [a-z]{3,10}", token_bytes(token))
    ]
    return words + [first + second[:5] for first, second in zip(words[::6], reversed(words[3::6]), strict=False)]
