"""Initial embeddings in which tokens that read alike are alike.

` Paris` is said, `Paris` must be written into JSON: four tokens for one word, with and without a space, with and without a capital, and
nothing but training would tell a model that they belong together, or what leads from one to the other. So a token is its word, plus its form,
plus a little of its own. Numbers likewise share what their digits say.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from tundish.harmony.vocabulary import O200K_HARMONY

_SCALE = 0.3
_WORD, _FORM = 0.6, 0.25
"""Of the variance: what a token has in common with other forms of its word, and with other words in its form."""


def alike(ids: Sequence[int], hidden: int) -> Tensor:
    """Rows [ids, hidden]: a part for each thing that a token's text says, and a part of its own."""
    told = [_parts(O200K_HARMONY().token_bytes(token)) for token in ids]
    numbers = {part: number for number, part in enumerate(sorted({part for parts in told for part in parts}))}
    shared = torch.randn(len(numbers) + 1, hidden)
    forms = torch.randn(8, hidden)
    rows = torch.randn(len(ids), hidden)
    for token, row, parts in zip(ids, rows, told, strict=True):
        if parts:
            word = shared[[numbers[part] for part in parts]].sum(0) / math.sqrt(len(parts))
            form = forms[_form(O200K_HARMONY().token_bytes(token))]
            row.copy_(math.sqrt(_WORD) * word + math.sqrt(_FORM) * form + math.sqrt(1 - _WORD - _FORM) * row)
    return rows * _SCALE


def _parts(text: bytes) -> list[str]:
    if text.isdigit():
        return list(_digits(text.decode()))
    word = text.strip().lower().decode("utf-8", "replace")
    return [word] if word.isalpha() else []


def _form(text: bytes) -> int:
    """With a space before it, with a capital, a number: a bit for each."""
    word = text.strip()
    return (text[:1] == b" ") + 2 * word[:1].isupper() + 4 * word.isdigit()


def _digits(number: str) -> Iterable[str]:
    """`47` → `4 tens`, `7 ones`."""
    for place, digit in zip(("ones", "tens", "hundreds"), reversed(number), strict=False):
        yield f"{digit} {place}"
