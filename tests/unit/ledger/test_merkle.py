"""RFC 9162's tree, by the vectors that Certificate Transparency's implementations share, and by invariants."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tundish.ledger import merkle
from tundish.ledger.merkle import (
    Frontier,
    consistency_path,
    inclusion_path,
    is_consistent,
    root_from_inclusion,
    root_of,
)

LEAVES = [
    merkle.leaf_hash(bytes.fromhex(content))
    for content in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = [
    (0, 1, []),
    (
        0,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        1,
        5,
        [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]
CONSISTENCY = [
    (1, 1, []),
    (
        1,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        [
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]
HASHES = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=70)


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    assert root_of(LEAVES[:size]).hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size", "path"), INCLUSION)
def test_inclusion_paths_are_those_of_certificate_transparency(index: int, size: int, path: list[str]) -> None:
    made = inclusion_path(index, LEAVES[:size])
    assert [node.hex() for node in made] == path
    found = root_from_inclusion(LEAVES[index], index, size, made)
    assert found is not None
    assert found.hex() == ROOTS[size]


@pytest.mark.parametrize(("old", "new", "path"), CONSISTENCY)
def test_consistency_paths_are_those_of_certificate_transparency(old: int, new: int, path: list[str]) -> None:
    made = consistency_path(old, LEAVES[:new])
    assert [node.hex() for node in made] == path
    assert is_consistent(old, bytes.fromhex(ROOTS[old]), new, bytes.fromhex(ROOTS[new]), made)


@given(HASHES)
def test_a_frontier_taken_up_again_is_the_same_tree(hashes: list[bytes]) -> None:
    frontier = Frontier()
    for leaf in hashes:
        frontier = Frontier(frontier.size, frontier.peaks)
        frontier.append(leaf)
    assert frontier.root() == root_of(hashes)


def test_a_frontier_needs_as_many_peaks_as_its_size_has() -> None:
    with pytest.raises(ValueError, match="2 complete subtrees, not 1"):
        Frontier(3, [b"0" * 32])


@given(HASHES, st.data())
def test_every_leaf_is_proven_and_nothing_else(hashes: list[bytes], data: st.DataObject) -> None:
    size = len(hashes)
    index = data.draw(st.integers(0, size - 1))
    path, root = inclusion_path(index, hashes), root_of(hashes)
    assert root_from_inclusion(hashes[index], index, size, path) == root
    assert root_from_inclusion(b"x" * 32, index, size, path) != root
    assert root_from_inclusion(hashes[index], index, size, [*path, b"x" * 32]) != root
    assert path == [] or root_from_inclusion(hashes[index], index, size, path[:-1]) != root
    assert root_from_inclusion(hashes[index], size, size, path) is None
    other = data.draw(st.integers(0, size - 1))
    if hashes[other] != hashes[index]:
        assert root_from_inclusion(hashes[index], other, size, path) != root
    for at in range(len(path)):
        swapped = [*path[:at], bytes(32), *path[at + 1 :]]
        assert path[at] == bytes(32) or root_from_inclusion(hashes[index], index, size, swapped) != root


@given(HASHES, st.data())
def test_growth_is_proven_and_a_rewritten_past_is_not(hashes: list[bytes], data: st.DataObject) -> None:
    new = len(hashes)
    old = data.draw(st.integers(1, new))
    path = consistency_path(old, hashes)
    old_root, new_root = root_of(hashes[:old]), root_of(hashes)
    assert is_consistent(old, old_root, new, new_root, path)
    changed = data.draw(st.integers(0, old - 1))
    rewritten = [*hashes[:changed], merkle.leaf_hash(b"rewritten"), *hashes[changed + 1 :]]
    assert not is_consistent(old, old_root, new, root_of(rewritten), consistency_path(old, rewritten))
    assert not is_consistent(old, old_root, new, new_root, [*path, bytes(32)])
    assert not path or not is_consistent(old, old_root, new, new_root, path[:-1])


@pytest.mark.parametrize(("old", "new"), [(0, 3), (4, 3), (-1, 3)])
def test_sizes_that_do_not_grow_are_not_consistent(old: int, new: int) -> None:
    assert not is_consistent(old, root_of(LEAVES[:3]), new, root_of(LEAVES[:3]), [])
    with pytest.raises(IndexError):
        consistency_path(old, LEAVES[:new])


def test_there_is_no_path_to_a_leaf_that_is_not_there() -> None:
    with pytest.raises(IndexError):
        inclusion_path(3, LEAVES[:3])
