"""The o200k_harmony vocabulary, from package data: nothing is downloaded, no environment is read.

The packed file (scripts/build_vocabulary.py makes it) holds for each of the 199 998 ordinary tokens, in rank order: one
byte with its length, one byte with the position at which its last BPE merge joins two older tokens, then all tokens'
bytes. The merge positions are what a GGUF needs and what would otherwise take seconds to find.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import itertools
import lzma
from collections.abc import Sequence

import tiktoken

from tundish.core.errors import TundishError

_DATA = "o200k_base.xz"
_SHA256 = "8908af50b24e04a5c05ddbf93d70e7fd978adeeab74ab4c7bf2b0a268f0ef5ee"
_ORDINARY = 199_998
SIZE = 201_088

# openai/tiktoken, o200k_base; each alternative is a kind of word.
_PATTERN = "|".join(
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)

_NAMED = {
    "<|startoftext|>": 199_998,
    "<|endoftext|>": 199_999,
    "<|return|>": 200_002,
    "<|constrain|>": 200_003,
    "<|channel|>": 200_005,
    "<|start|>": 200_006,
    "<|end|>": 200_007,
    "<|message|>": 200_008,
    "<|call|>": 200_012,
    "<|endofprompt|>": 200_018,
}

_GGUF_NORMAL, _GGUF_CONTROL = 1, 3
"""llama.cpp's `llama_token_type`."""


class VocabularyDamaged(TundishError):
    """The packaged file is not what was shipped."""

    code = "vocabulary_damaged"


class Vocabulary:
    """Text to token ids and back. Safe to share between threads."""

    def __init__(self, packed: bytes) -> None:
        """`packed`: the file described above, decompressed."""
        lengths, self._splits = packed[:_ORDINARY], packed[_ORDINARY : 2 * _ORDINARY]
        ends = list(itertools.accumulate(lengths, initial=2 * _ORDINARY))
        self._tokens = [packed[start:end] for start, end in itertools.pairwise(ends)]
        self._names = {token: name for name, token in _NAMED.items()}
        self._encoding = tiktoken.Encoding(
            "o200k_harmony",
            pat_str=_PATTERN,
            mergeable_ranks={token: rank for rank, token in enumerate(self._tokens)},
            special_tokens=dict(_NAMED),
        )

    @property
    def size(self) -> int:
        """Ordinary, named and reserved tokens."""
        return SIZE

    def encode(self, text: str) -> list[int]:
        """Ordinary token ids of `text`; what looks like a special token stays text.

        Lone surrogates, which UTF-8 cannot hold, become U+FFFD.
        """
        ids: list[int] = []
        for piece in _bounded(text):
            ids += self._encoding.encode_ordinary(piece)
        return ids

    def token_bytes(self, token: int) -> bytes:
        """The bytes of an ordinary token; of a special one its name (`<|end|>`), of a number out of range nothing."""
        if 0 <= token < _ORDINARY:
            return self._tokens[token]
        return self.token_name(token).encode() if _ORDINARY <= token < SIZE else b""

    def token_name(self, token: int) -> str:
        """The name of a special token."""
        return self._names.get(token) or f"<|reserved_{token}|>"

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of `tokens`, U+FFFD where their bytes are not UTF-8."""
        return b"".join(map(self.token_bytes, tokens)).decode("utf-8", "replace")

    def special(self, name: str) -> int:
        """The id of a special token.

        Raises:
            KeyError: no token has that name.
        """
        return _NAMED[name]

    def gguf_tokens(self) -> list[str]:
        """All tokens in GPT-2's printable form, as `tokenizer.ggml.tokens` wants them."""
        # Latin-1 makes a character of each byte; the table then moves the unprintable ones where GPT-2 has them.
        table = _byte_characters()
        joined = "\n".join(token.decode("latin-1").translate(table) for token in self._tokens)
        return [*joined.split("\n"), *(self.token_name(token) for token in range(_ORDINARY, SIZE))]

    def gguf_token_types(self) -> list[int]:
        """`tokenizer.ggml.token_type`."""
        return [_GGUF_NORMAL] * _ORDINARY + [_GGUF_CONTROL] * (SIZE - _ORDINARY)

    def gguf_merges(self) -> list[str]:
        """`tokenizer.ggml.merges`: by rank, the two older tokens that each longer token was joined from."""
        table = _byte_characters()
        return [
            f"{text[:split]} {text[split:]}"
            for split, text in zip(
                self._splits,
                (token.decode("latin-1").translate(table) for token in self._tokens),
                strict=True,
            )
            if split
        ]


@functools.cache
def O200K_HARMONY() -> Vocabulary:  # noqa: N802 - a constant that is loaded on first use
    """The vocabulary of every gpt-oss.

    Raises:
        VocabularyDamaged: the installation is not intact.
    """
    return unpack((importlib.resources.files("tundish.harmony") / _DATA).read_bytes())


def unpack(data: bytes) -> Vocabulary:
    """The vocabulary in the packaged file.

    Raises:
        VocabularyDamaged: it is not the file that was shipped.
    """
    if hashlib.sha256(data).hexdigest() != _SHA256:
        raise VocabularyDamaged(f"The packaged vocabulary ({_DATA}) is damaged. Install tundish again.")
    return Vocabulary(lzma.decompress(data))


@functools.cache
def _byte_characters() -> dict[int, str]:
    """Byte → the printable character that stands for it in GPT-2's vocabularies."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


_LONGEST_PIECE = 20_000


def _bounded(text: str) -> list[str]:
    """Cut `text` where words end into pieces that encode as the whole would.

    A run without any word boundary is cut all the same: BPE is quadratic in the length of a single word, and a hostile
    prompt is one word.
    """
    if _has_surrogates(text):
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if len(text) <= _LONGEST_PIECE:
        return [text]
    pieces: list[str] = []
    start = 0
    while len(text) - start > _LONGEST_PIECE:
        end = _word_boundary(text, start + _LONGEST_PIECE // 2, start + _LONGEST_PIECE)
        pieces.append(text[start:end])
        start = end
    return [*pieces, text[start:]]


def _word_boundary(text: str, low: int, high: int) -> int:
    """A cut between a letter or digit and a following single space, the last in low … high; else `high`."""
    end = high
    while (cut := text.rfind(" ", low, end)) > 0:
        if text[cut - 1].isalnum() and text[cut + 1].isalpha():
            return cut
        end = cut
    return high


def _has_surrogates(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
