"""Label chunks: the grid they lie on, and their bytes.

A label array is cut into 32 x 32 x 32 voxels, rasters into 1 x 256 x 256. The bytes of a chunk are exactly those of a
Zarr v3 chunk with the codecs ``bytes`` (little-endian) and ``blosc`` (lz4, bit shuffle), so that serving any version as
Zarr is sending bytes, and exporting is copying them. A chunk without labels has no bytes: Zarr reads the fill value 0.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numcodecs.blosc import Blosc

from specimg.errors import InvalidInput, StoreError
from specimg.labels.edit import Box, Index, Spans, fill_runs

VOLUME_CHUNK: Index = (32, 32, 32)
RASTER_CHUNK: Index = (1, 256, 256)

CODECS = (
    {"name": "bytes", "configuration": {"endian": "little"}},
    {
        "name": "blosc",
        "configuration": {"cname": "lz4", "clevel": 5, "shuffle": "bitshuffle", "typesize": 2, "blocksize": 0},
    },
)
"""As ``zarr.json`` has them."""

_KEY = re.compile(r"(0|[1-9][0-9]{0,6})/(0|[1-9][0-9]{0,6})/(0|[1-9][0-9]{0,6})")


@dataclass(frozen=True, slots=True)
class ChunkGrid:
    """A label array of ``shape`` (z, y, x) cut into chunks of ``chunk`` voxels; border chunks are full size, as in Zarr."""

    shape: Index
    chunk: Index

    @classmethod
    def of(cls, shape: Index) -> ChunkGrid:
        """The chunk grid of an image of this shape: one z is a raster."""
        return cls(shape, RASTER_CHUNK if shape[0] == 1 else VOLUME_CHUNK)

    @property
    def counts(self) -> Index:
        """Number of chunks along (z, y, x)."""
        z, y, x = (-(-n // c) for n, c in zip(self.shape, self.chunk, strict=True))
        return z, y, x

    def box(self, index: Index) -> Box:
        """The voxels of a chunk, cut at the border of the array."""
        start = tuple(i * c for i, c in zip(index, self.chunk, strict=True))
        stop = tuple(min(a + c, n) for a, c, n in zip(start, self.chunk, self.shape, strict=True))
        return (start[0], start[1], start[2]), (stop[0], stop[1], stop[2])

    def touching(self, start: Sequence[int], stop: Sequence[int]) -> list[Index]:
        """Indices of the chunks that meet a box, in C order."""
        ranges = [range(a // c, -(-b // c)) for a, b, c in zip(start, stop, self.chunk, strict=True)]
        return [(z, y, x) for z, y, x in itertools.product(*ranges)]

    def unravel(self, ids: Iterable[int]) -> Iterator[Index]:
        """Chunk indices of flat chunk indices."""
        _, ny, nx = self.counts
        for flat in ids:
            yield int(flat) // (ny * nx), int(flat) // nx % ny, int(flat) % nx

    def parse(self, key: str) -> Index:
        """The chunk index of a key ``z/y/x``. Raises ``InvalidInput`` if there is no such chunk."""
        match = _KEY.fullmatch(key)
        if match is not None:
            index = int(match[1]), int(match[2]), int(match[3])
            if all(i < n for i, n in zip(index, self.counts, strict=True)):
                return index
        raise InvalidInput("there is no such chunk in this array", field="chunk")


def key_of(index: Index) -> str:
    """``z/y/x``: the part of the Zarr key after ``0/c/``."""
    return f"{index[0]}/{index[1]}/{index[2]}"


def encode(voxels: npt.NDArray[np.uint16]) -> bytes | None:
    """The Zarr chunk of these voxels; ``None`` if all are background."""
    if not voxels.any():
        return None
    data: bytes = _codec().encode(np.ascontiguousarray(voxels, dtype="<u2"))
    return bytes(data)


def decode(data: bytes | None, chunk: Index) -> npt.NDArray[np.uint16]:
    """The voxels of a Zarr chunk, writable. Raises ``StoreError`` if the bytes are not one of ours."""
    voxels = np.zeros(chunk, dtype="<u2")
    # A Blosc frame says its decoded size in its header (bytes 4 to 8); a smaller one would leave part of a chunk empty.
    if data is None:
        return voxels
    if len(data) < 16 or int.from_bytes(data[4:8], "little") != voxels.nbytes:
        raise StoreError("a label chunk does not have the size of a chunk")
    try:
        _codec().decode(data, out=voxels)
    except (RuntimeError, ValueError) as error:
        raise StoreError("a label chunk cannot be decoded") from error
    return voxels


@dataclass(frozen=True, slots=True, eq=False)
class ChunkedSpans:
    """Spans cut at chunk borders: for each chunk the runs in its own flat (C order) indices.

    ``ids`` are flat chunk indices, ascending; the runs of ``ids[i]`` are ``starts[bounds[i]:bounds[i + 1]]``.
    """

    grid: ChunkGrid
    ids: npt.NDArray[np.int64]
    bounds: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int32]
    stops: npt.NDArray[np.int32]

    def mask(self, index: Index) -> npt.NDArray[np.bool_]:
        """The voxels of one chunk."""
        _, ny, nx = self.grid.counts
        flat = (index[0] * ny + index[1]) * nx + index[2]
        i = int(np.searchsorted(self.ids, flat))
        runs = slice(0, 0)
        if i < len(self.ids) and self.ids[i] == flat:
            runs = slice(self.bounds[i], self.bounds[i + 1])
        cz, cy, cx = self.grid.chunk
        return fill_runs(self.starts[runs], self.stops[runs], cz * cy * cx).reshape(self.grid.chunk)


def cut(spans: Spans, grid: ChunkGrid) -> ChunkedSpans:
    """Cut runs at chunk borders and sort them by chunk, without a Python loop over runs.

    Raises ``InvalidInput`` if a voxel lies outside the array.
    """
    spans.require_inside(grid.shape)
    cz, cy, cx = grid.chunk
    _, ny, nx = grid.counts
    z, y, x, length = (spans.runs[:, i] for i in range(4))
    first, last = x // cx, (x + length - 1) // cx
    pieces = last - first + 1
    run = np.repeat(np.arange(len(pieces), dtype=np.int32), pieces)
    nth = np.arange(len(run), dtype=np.int32) - np.repeat(np.cumsum(pieces) - pieces, pieces).astype(np.int32)
    along = first[run] + nth
    left = along * cx
    row = (((z % cz) * cy + y % cy) * cx)[run]
    start = row + np.maximum(x[run] - left, 0)
    stop = row + np.minimum((x + length)[run] - left, cx)
    flat = ((z // cz).astype(np.int64) * ny + y // cy)[run] * nx + along
    order = np.argsort(flat, kind="stable")
    ids, bounds = np.unique(flat[order], return_index=True)
    return ChunkedSpans(grid, ids, np.append(bounds, len(run)), start[order], stop[order])


def _codec() -> Blosc:
    return Blosc(cname="lz4", clevel=5, shuffle=Blosc.BITSHUFFLE, blocksize=0)
