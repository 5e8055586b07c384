"""Exercises that are no dialogues: copying and looking up, of all tokens alike and not only of those that dialogues use."""

from __future__ import annotations

import numpy as np

Row = tuple[np.ndarray, np.ndarray]
"""Tokens, and the positions whose next token is to be learnt."""


class Exercises:
    """Draws rows over the kept vocabulary, each token as likely as any other."""

    def __init__(self, rng: np.random.Generator, *, vocabulary: int, separator: int) -> None:
        self._rng = rng
        self._vocabulary = vocabulary
        self._separator = separator

    def row(self) -> Row:
        return self._copy() if self._rng.random() < 0.5 else self._lookup()

    def _words(self, count: int) -> np.ndarray:
        return self._rng.integers(0, self._vocabulary, count, dtype=np.int32)

    def _copy(self) -> Row:
        """Tokens, a separator, the same tokens; sometimes once more."""
        words = self._words(int(self._rng.integers(4, 28)))
        times = 2 if self._rng.random() < 0.6 else 3
        tokens = np.concatenate([np.append(words, np.int32(self._separator))] * times)
        return tokens[:-1], np.arange(len(words), len(tokens) - 2)

    def _lookup(self) -> Row:
        """Pairs of key and value, a separator, then keys in another order: each is followed by its value."""
        pairs = int(self._rng.integers(3, 14))
        length = int(self._rng.integers(1, 3))
        keys = self._rng.permutation(self._vocabulary)[:pairs].astype(np.int32)
        values = self._words(pairs * length).reshape(pairs, length)
        told = np.concatenate([keys[:, None], values], axis=1)
        asked = told[self._rng.permutation(pairs)]
        tokens = np.concatenate([told.ravel(), [np.int32(self._separator)], asked.ravel()]).astype(np.int32)
        first = told.size + 1
        places = first + np.arange(asked.size).reshape(asked.shape)[:, :-1]
        return tokens, places.ravel()
