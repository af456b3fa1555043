"""The Merkle tree of RFC 6962 §2.1, as pure functions over hashes.

Leaves are hashed with a 0x00 in front, nodes with a 0x01, so that a node can never be passed off as a leaf. Only perfect
subtrees are stored: node ``(level, index)`` covers the leaves ``index << level`` up to ``(index + 1) << level``, and
once written it never changes. The root of any size, and any proof, is folded from a few of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

EMPTY_ROOT = hashlib.sha256(b"").digest()

NodeReader = Callable[[int, int], bytes]
"""The hash of perfect subtree (level, index)."""


@dataclass(frozen=True, slots=True)
class Node:
    """The root of a perfect subtree of ``2**level`` leaves."""

    level: int
    index: int
    hash: bytes


def leaf_hash(leaf: bytes) -> bytes:
    """RFC 6962: SHA-256(0x00 ‖ leaf)."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962: SHA-256(0x01 ‖ left ‖ right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Edge:
    """The right edge of a growing tree: all it takes to append and to know the root. O(log n) memory."""

    def __init__(self, size: int, roots: Sequence[bytes]) -> None:
        """``roots``: the perfect subtrees of ``size`` leaves from left (largest) to right."""
        if len(roots) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} perfect subtrees, not {len(roots)}")
        self.size = size
        self._roots = list(roots)

    @classmethod
    def read(cls, size: int, node: NodeReader) -> Edge:
        """The edge as it was at ``size``; works for every size the tree ever had."""
        return cls(size, [node(level, index) for level, index in perfect_subtrees(0, size)])

    def append(self, hash: bytes) -> Iterator[Node]:
        """Add a leaf hash; yields every perfect subtree it completes, the leaf itself first."""
        level, index = 0, self.size
        yield Node(level, index, hash)
        while index & 1:
            hash = node_hash(self._roots.pop(), hash)
            level, index = level + 1, index >> 1
            yield Node(level, index, hash)
        self._roots.append(hash)
        self.size += 1

    def root(self) -> bytes:
        """The Merkle tree head."""
        return fold(self._roots)


def fold(roots: Sequence[bytes]) -> bytes:
    """The head over perfect subtrees given from left to right."""
    if not roots:
        return EMPTY_ROOT
    head = roots[-1]
    for left in reversed(roots[:-1]):
        head = node_hash(left, head)
    return head


def perfect_subtrees(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """(level, index) of the perfect subtrees that make up leaves ``start`` to ``stop``, largest first.

    ``start`` is a multiple of a power of two that is at least as large as the range, as it is in every RFC 6962 split.
    """
    while start < stop:
        level = (stop - start).bit_length() - 1
        yield level, start >> level
        start += 1 << level


def inclusion(index: int, size: int, node: NodeReader) -> list[bytes]:
    """PATH(m, D[n]) of RFC 6962 §2.1.1, from the leaf's sibling up."""
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    path: list[bytes] = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            path.append(_head(middle, stop, node))
            stop = middle
        else:
            path.append(_head(start, middle, node))
            start = middle
    return path[::-1]


def consistency(old: int, new: int, node: NodeReader) -> list[bytes]:
    """PROOF(m, D[n]) of RFC 6962 §2.1.2: the tree of ``old`` leaves is how the tree of ``new`` began."""
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} leaves did not begin with {old}")
    if old == 0:
        return []  # every tree begins with the empty one
    path: list[bytes] = []
    start, stop = 0, new
    known = True  # the verifier has the head of [0, old) already
    while old != stop:
        middle = start + _split(stop - start)
        if old <= middle:
            path.append(_head(middle, stop, node))
            stop = middle
        else:
            path.append(_head(start, middle, node))
            start, known = middle, False
    if not known:
        path.append(_head(start, stop, node))
    return path[::-1]


def verify_inclusion(hash: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """RFC 9162 §2.1.3.2."""
    if not 0 <= index < size:
        return False
    fn, sn, r = index, size - 1, hash
    for p in path:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            while not fn & 1 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node_hash(r, p)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and r == root


def verify_consistency(old: int, new: int, path: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    """RFC 9162 §2.1.4.2. The empty tree is consistent with every tree, by an empty proof."""
    if not 0 <= old <= new:
        return False
    if old == 0:
        return not path and old_root == EMPTY_ROOT
    if old == new:
        return not path and old_root == new_root
    if not path:
        return False
    proof = list(path)
    if old & (old - 1) == 0:
        proof.insert(0, old_root)
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = proof[0]
    for c in proof[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            while not fn & 1 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, c)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and fr == old_root and sr == new_root


def _head(start: int, stop: int, node: NodeReader) -> bytes:
    return fold([node(level, index) for level, index in perfect_subtrees(start, stop)])


def _split(count: int) -> int:
    """The largest power of two below ``count``."""
    return 1 << (count - 1).bit_length() - 1
