"""The packed model: what it says of itself is true, and damage is noticed."""

from __future__ import annotations

import hashlib
import importlib.resources

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tundish.core.errors import ModelFileInvalid
from tundish.engines.embedded import packed
from tundish.engines.embedded.expansion import contents
from tundish.engines.embedded.packed import Pack
from tundish.harmony.tokens import STOP_TOKENS
from tundish.harmony.vocabulary import O200K_HARMONY

INSTALLED = (importlib.resources.files("tundish.engines.embedded") / packed.FILE_NAME).read_bytes()


def test_it_is_small() -> None:
    assert len(INSTALLED) < 3_000_000


def test_it_expands_to_what_its_header_promises() -> None:
    pack = Pack.installed()
    hashed, size = hashlib.sha256(), 0
    for piece in contents(pack.header, pack.payload(), O200K_HARMONY()):
        hashed.update(piece)
        size += len(piece)
    assert (hashed.hexdigest(), size) == (pack.header.expanded_sha256, pack.header.expanded_bytes)


def test_kept_tokens_are_ascending_and_hold_what_harmony_needs() -> None:
    kept = Pack.installed().payload().kept_ids
    assert list(kept) == sorted(set(kept))
    assert kept[-1] < O200K_HARMONY().size
    needed = {O200K_HARMONY().special(f"<|{name}|>") for name in ("start", "channel", "message", "end", "constrain")}
    assert needed <= set(kept)
    assert STOP_TOKENS - set(kept) <= {O200K_HARMONY().special("<|endoftext|>")}


@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
@settings(max_examples=25, deadline=None)
def test_any_flipped_byte_is_noticed_or_changes_nothing(place: float, flip: int) -> None:
    content = bytearray(INSTALLED)
    content[int(place * len(content))] ^= flip
    whole = Pack(INSTALLED)
    try:
        damaged = Pack(bytes(content))
        payload = damaged.payload()
    except ModelFileInvalid as error:
        assert "Install tundish again" in error.message  # noqa: PT017 - either outcome is right
    else:
        # A flip in the header alone: it may only say something else of what comes out, which `expand` compares.
        assert payload.kept_ids == whole.payload().kept_ids


@pytest.mark.parametrize("length", [0, 1, 4, 100, len(INSTALLED) // 2, len(INSTALLED) - 1])
def test_a_cut_file_is_refused(length: int) -> None:
    with pytest.raises(ModelFileInvalid, match="Install tundish again"):
        Pack(INSTALLED[:length]).payload()
