"""The Merkle tree of RFC 9162, section 2: hashes, and the two proofs that are drawn from them.

A tree is a list of leaf hashes. Everything here is a pure function of such lists; hashes are 32 raw bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

_sha256 = hashlib.sha256


def leaf_hash(content: bytes) -> bytes:
    """Of a leaf's bytes."""
    return _sha256(b"\0" + content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Of an inner node."""
    return _sha256(b"\1" + left + right).digest()


class Frontier:
    """A growing tree, reduced to the roots of its complete subtrees: log₂(size) hashes, the largest subtree first.

    Raises:
        ValueError: `peaks` are not as many as a tree of `size` has.
    """

    __slots__ = ("_peaks", "size")

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        if len(peaks) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} complete subtrees, not {len(peaks)}")
        self.size = size
        self._peaks = list(peaks)

    @property
    def peaks(self) -> tuple[bytes, ...]:
        """What a frontier can be made from again, with `size`."""
        return tuple(self._peaks)

    def append(self, leaf: bytes) -> None:
        """Add a leaf by its hash."""
        peaks, size = self._peaks, self.size
        while size & 1:
            leaf = _sha256(b"\1" + peaks.pop() + leaf).digest()
            size >>= 1
        peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """Of the tree so far."""
        if not self._peaks:
            return EMPTY_ROOT
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = node_hash(peak, root)
        return root

    def copy(self) -> Frontier:
        """One that grows by itself."""
        return Frontier(self.size, self._peaks)


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def inclusion_path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """What proves that leaf `index` is in the tree over `leaves` (section 2.1.3.1), from the bottom up.

    Raises:
        IndexError: there is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(f"there is no leaf {index} in a tree of {len(leaves)}")
    path: list[bytes] = []
    first, end = 0, len(leaves)
    while end - first > 1:
        middle = first + _split(end - first)
        if index < middle:
            path.append(root_of(leaves[middle:end]))
            end = middle
        else:
            path.append(root_of(leaves[first:middle]))
            first = middle
    path.reverse()
    return path


def root_from_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that `path` leads to from a leaf's hash (section 2.1.3.2); None if no tree of `size` has such a path."""
    if not 0 <= index < size:
        return None
    node, last, root = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if node & 1 or node == last:
            root = node_hash(sibling, root)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            root = node_hash(root, sibling)
        node >>= 1
        last >>= 1
    return root if last == 0 else None


def consistency_path(old_size: int, leaves: Sequence[bytes]) -> list[bytes]:
    """What proves that the tree over the first `old_size` of `leaves` only grew (section 2.1.4.1).

    Raises:
        IndexError: `old_size` is not from 1 to the number of leaves.
    """
    if not 1 <= old_size <= len(leaves):
        raise IndexError(f"a tree of {len(leaves)} leaves did not grow from one of {old_size}")
    path: list[bytes] = []
    first, end, whole = 0, len(leaves), True
    while old_size != end:
        middle = first + _split(end - first)
        if old_size <= middle:
            path.append(root_of(leaves[middle:end]))
            end = middle
        else:
            path.append(root_of(leaves[first:middle]))
            first, whole = middle, False
    if not whole:
        path.append(root_of(leaves[first:end]))
    path.reverse()
    return path


def is_consistent(old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether `path` proves that the tree with `new_root` continues the one with `old_root` (section 2.1.4.2)."""
    if not 1 <= old_size <= new_size:
        return False
    if old_size == new_size:
        return not path and old_root == new_root
    nodes = list(path)
    if old_size.bit_count() == 1:
        nodes.insert(0, old_root)
    if not nodes:
        return False
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node >>= 1
        last >>= 1
    old = new = nodes[0]
    for sibling in nodes[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old = node_hash(sibling, old)
            new = node_hash(sibling, new)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            new = node_hash(new, sibling)
        node >>= 1
        last >>= 1
    return last == 0 and old == old_root and new == new_root


def _split(size: int) -> int:
    """The largest power of two below `size` (at least 2)."""
    return 1 << ((size - 1).bit_length() - 1)
