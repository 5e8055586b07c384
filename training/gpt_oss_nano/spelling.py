"""Initial embeddings in which tokens that read alike are alike.

` Paris` is said, `Paris` must be written into JSON: four tokens for one word, with and without a space, with and without a capital, and
nothing but training would tell a model that they belong together. Numbers likewise share what their digits say.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from tundish.harmony.vocabulary import O200K_HARMONY

_SCALE = 0.3
_SHARED = 0.6
"""Of the variance: what a token has in common with its like."""


def alike(ids: Sequence[int], hidden: int) -> Tensor:
    """Rows [ids, hidden]: a part for each thing that a token's text says, and a part of its own."""
    told = [_parts(O200K_HARMONY().token_bytes(token)) for token in ids]
    numbers = {part: number for number, part in enumerate(sorted({part for parts in told for part in parts}))}
    shared = torch.randn(len(numbers) + 1, hidden)
    rows = torch.randn(len(ids), hidden)
    for row, parts in zip(rows, told, strict=True):
        if parts:
            common = shared[[numbers[part] for part in parts]].sum(0) / math.sqrt(len(parts))
            row.copy_(math.sqrt(_SHARED) * common + math.sqrt(1 - _SHARED) * row)
    return rows * _SCALE


def _parts(text: bytes) -> list[str]:
    if text.isdigit():
        return list(_digits(text.decode()))
    word = text.strip().lower().decode("utf-8", "replace")
    return [word] if word.isalpha() else []


def _digits(number: str) -> Iterable[str]:
    """`47` → `4 tens`, `7 ones`."""
    for place, digit in zip(("ones", "tens", "hundreds"), reversed(number), strict=False):
        yield f"{digit} {place}"
