"""Whatever becomes of a file's bytes: it is read or refused, never anything else."""

from __future__ import annotations

import functools
import importlib.util
import sys
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tundish.catalog import gguf
from tundish.catalog.gguf.facts import GgufFacts
from tundish.core.errors import ModelFileInvalid


@functools.cache
def _originals() -> tuple[tuple[bytes, int], ...]:
    """Content and header length of each (hypothesis and fixtures do not mix)."""
    spec = importlib.util.spec_from_file_location("gguf_files", Path(__file__).with_name("conftest.py"))
    assert spec is not None
    assert spec.loader is not None
    files = importlib.util.module_from_spec(spec)
    sys.modules["gguf_files"] = files
    spec.loader.exec_module(files)
    made = (files.gpt_oss_file(layers=1), files.llama_file(layers=1))
    return tuple((file.encode(), len(file.header())) for file in made)


def _outcome(content: bytes) -> GgufFacts | None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mutated.gguf"
        path.write_bytes(content)
        try:
            return gguf.read(path)
        except ModelFileInvalid:
            return None


@settings(max_examples=400, deadline=None)
@given(
    which=st.integers(0, 1),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_changed_bytes_in_the_header(which: int, changes: list[tuple[float, int]]) -> None:
    content, header = _originals()[which]
    mutated = bytearray(content)
    for place, value in changes:
        mutated[int(place * header)] = value
    facts = _outcome(bytes(mutated))
    if facts is not None:
        assert 1 <= facts.block_count <= 512
        assert facts.expert_used_count <= facts.expert_count
        assert facts.tensor_bytes.total <= facts.file_bytes
        assert len(facts.layers) == facts.block_count


@settings(max_examples=150, deadline=None)
@given(
    which=st.integers(0, 1),
    at=st.floats(0, 1),
    removed=st.integers(0, 64),
    inserted=st.binary(max_size=64),
)
def test_bytes_lost_and_slipped_in(which: int, at: float, removed: int, inserted: bytes) -> None:
    content, header = _originals()[which]
    place = int(at * header)
    _outcome(content[:place] + inserted + content[place + removed :])


@settings(max_examples=150, deadline=None)
@given(content=st.binary(max_size=400))
def test_any_bytes_after_the_magic(content: bytes) -> None:
    assert _outcome(b"GGUF\x03\x00\x00\x00" + content) is None
