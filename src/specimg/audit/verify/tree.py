"""RFC 6962's tree, computed from the leaves alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def leaf_hash(leaf: bytes) -> bytes:
    """SHA-256(0x00 ‖ leaf)."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(peaks: Sequence[bytes]) -> bytes:
    """The tree head over the perfect subtrees of a size, largest first."""
    if not peaks:
        return hashlib.sha256().digest()
    head = peaks[-1]
    for peak in peaks[-2::-1]:
        head = node_hash(peak, head)
    return head


def root_from_path(hash: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The head that an inclusion proof leads to, ``None`` if it has the wrong length for this index and size.

    The definition read backwards: at each split of RFC 6962 §2.1.1 the leaf is on one side, and the path's next hash,
    taken from the top, is the other side.
    """
    sides: list[bool] = []  # from the top: is the leaf on the right?
    start, stop = 0, size
    if not 0 <= index < size:
        return None
    while stop - start > 1:
        middle = start + (1 << (stop - start - 1).bit_length() - 1)
        sides.append(index >= middle)
        start, stop = (middle, stop) if index >= middle else (start, middle)
    if len(path) != len(sides):
        return None
    for other, right in zip(path, reversed(sides), strict=True):
        hash = node_hash(other, hash) if right else node_hash(hash, other)
    return hash
