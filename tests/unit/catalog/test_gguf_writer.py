"""What we write, the reference implementation and our own reader read back."""

from __future__ import annotations

import tempfile
from pathlib import Path

import gguf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tundish.catalog.gguf import writer as gguf_writer
from tundish.catalog.gguf.header import read_header
from tundish.catalog.gguf.writer import MetadataValue, Tensor

F32, Q8_0 = 0, 8

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.one_of(
    st.booleans(),
    st.integers(0, 2**32 - 1),
    st.floats(width=32, allow_nan=False),
    texts,
    st.lists(texts, min_size=1, max_size=5),
    st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=5),
)
keys = st.from_regex(r"[a-z][a-z0-9_.]{0,30}", fullmatch=True).filter(
    lambda key: key != "general.alignment" and not key.startswith("gguf")
)


@st.composite
def tensors(draw: st.DrawFn) -> list[Tensor]:
    made: list[Tensor] = []
    for index in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from([F32, Q8_0]))
        row, rows = 32 * draw(st.integers(1, 3)), draw(st.integers(1, 3))
        size = row * rows * 4 if kind == F32 else row * rows // 32 * 34
        made.append(
            Tensor(
                name=f"t{index}.weight", dims=(row, rows), kind=kind, data=draw(st.binary(min_size=size, max_size=size))
            )
        )
    return made


@given(metadata=st.dictionaries(keys, values, max_size=6), given_tensors=tensors())
def test_what_is_written_is_read_back(metadata: dict[str, MetadataValue], given_tensors: list[Tensor]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.gguf"
        path.write_bytes(b"".join(gguf_writer.write(metadata, given_tensors)))
        ours = read_header(path)
        reader = gguf.GGUFReader(path)
        read = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
        data = [bytes(tensor.data.tobytes()) for tensor in reader.tensors]
        del reader  # it keeps the file mapped
    assert read == metadata
    assert [(t.name, t.dims) for t in ours.tensors] == [(t.name, t.dims) for t in given_tensors]
    assert set(ours.metadata) == set(metadata)
    assert data == [bytes(t.data) for t in given_tensors]


@pytest.mark.parametrize(("dims", "length"), [((32,), 33), ((32,), 0), ((31,), 34), ((32, 2), 34)])
def test_a_tensor_whose_bytes_do_not_fit_is_refused(dims: tuple[int, ...], length: int) -> None:
    with pytest.raises(ValueError, match="t: "):
        Tensor(name="t", dims=dims, kind=Q8_0, data=bytes(length))
