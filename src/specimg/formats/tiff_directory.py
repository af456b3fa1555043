"""Whether a TIFF is whole: every tag value, strip and tile that its directories name lies inside the file.

libtiff reads on when a tag lies beyond the end: a download cut short would lose its georeference without a word. Layout:
TIFF 6.0 §2 and the BigTIFF extension (43 instead of 42, 8-byte offsets).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

MAX_DIRECTORIES = 1024
MAX_ENTRIES = 4096
MAX_BLOCKS = 50_000_000

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_NUMBERS = {3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
_BLOCKS = ((273, 279), (324, 325))
"""Tags of offsets and byte counts: of strips, of tiles."""


def whats_cut(path: Path) -> str | None:
    """``None`` if the file is whole, else what is missing, in words. Reads directories, never samples."""
    size = path.stat().st_size
    with path.open("rb") as handle:
        layout = _Layout.of(handle.read(16))
        if layout is None:
            return "its header"
        offset, seen = layout.first, set[int]()
        while offset:
            if offset in seen or len(seen) >= MAX_DIRECTORIES:
                return "an end to its directories"
            seen.add(offset)
            found = _directory(handle, layout, offset, size)
            if isinstance(found, str):
                return found
            offset = found
    return None


@dataclass(frozen=True, slots=True)
class _Layout:
    """Byte order (as NumPy writes it), whether BigTIFF, and where the first directory is."""

    order: str
    big: bool
    first: int

    @classmethod
    def of(cls, head: bytes) -> _Layout | None:
        order = {b"II": "<", b"MM": ">"}.get(head[:2])
        if order is None or len(head) < 16:
            return None
        version = int(np.frombuffer(head, f"{order}u2", 1, 2)[0])
        if version not in (42, 43):
            return None
        big = version == 43
        return cls(order, big, int(np.frombuffer(head, f"{order}u8" if big else f"{order}u4", 1, 8 if big else 4)[0]))

    @property
    def word(self) -> str:
        """An offset or a count."""
        return f"{self.order}u8" if self.big else f"{self.order}u4"

    @property
    def entry(self) -> np.dtype[np.void]:
        """One directory entry."""
        value = 8 if self.big else 4
        return np.dtype(
            [("tag", f"{self.order}u2"), ("type", f"{self.order}u2"), ("count", self.word), ("value", f"V{value}")]
        )


def _directory(handle: BinaryIO, layout: _Layout, offset: int, size: int) -> int | str:
    """Offset of the next directory (0: none), or what is cut."""
    counted = np.dtype(f"{layout.order}u8" if layout.big else f"{layout.order}u2")
    number = _read(handle, offset, counted, 1, size)
    if number is None or int(number[0]) > MAX_ENTRIES:
        return "a directory"
    at = offset + counted.itemsize
    entries = _read(handle, at, layout.entry, int(number[0]), size)
    following = _read(handle, at + int(number[0]) * layout.entry.itemsize, np.dtype(layout.word), 1, size)
    if entries is None or following is None:
        return "a directory"
    blocks: dict[int, npt.NDArray[np.uint64]] = {}
    for entry in entries:
        tag, kind, count = int(entry["tag"]), int(entry["type"]), int(entry["count"])
        length = _SIZES.get(kind, 0) * count
        inline = bytes(entry["value"])
        place = None if length <= len(inline) else int(np.frombuffer(inline, layout.word, 1)[0])
        if place is not None and place + length > size:
            return f"the value of tag {tag}"
        if any(tag in pair for pair in _BLOCKS) and kind in _NUMBERS:
            if count > MAX_BLOCKS:
                return "a sane number of blocks"
            dtype = np.dtype(layout.order + _NUMBERS[kind])
            if place is None:
                blocks[tag] = np.frombuffer(inline, dtype, count).astype(np.uint64)
            else:
                read = _read(handle, place, dtype, count, size)
                blocks[tag] = np.zeros(0, np.uint64) if read is None else read.astype(np.uint64)
    for offsets, lengths in _BLOCKS:
        starts, counts = blocks.get(offsets), blocks.get(lengths)
        if starts is None or counts is None or starts.size != counts.size:
            continue
        # A block of no bytes was never written and reads as zeros. No sum: a hostile one would wrap around.
        if ((counts > 0) & ((starts > size) | (counts > size - np.minimum(starts, size)))).any():
            return "part of its samples"
    return int(following[0])


def _read(
    handle: BinaryIO, offset: int, dtype: np.dtype[np.generic], count: int, size: int
) -> npt.NDArray[np.void] | None:
    """Values at a place, or ``None`` where they do not lie inside the file."""
    if offset + count * dtype.itemsize > size:
        return None
    handle.seek(offset)
    data = handle.read(count * dtype.itemsize)
    return np.frombuffer(data, dtype, count) if len(data) == count * dtype.itemsize else None
