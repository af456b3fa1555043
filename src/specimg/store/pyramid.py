"""Which levels an image has, in which chunks, and what a sample of a coarser level means.

A sample of level k stands for a block of ``factors`` level-0 samples, and holds the mean of those that were measured:
the plain mean for intensities, the root of the mean square for radar amplitude (so that power is kept, as multilooking
does), and for complex samples that amplitude with the phase of their mean. It is computed from sums over level 0, never
from rounded coarser samples. Samples equal to ``nodata`` and NaN do not count; a block without any is ``nodata``.
Integers are rounded half to even.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from specimg.formats.base import Series

Method = Literal["mean", "power"]
Factors = tuple[int, int, int]

VOLUME_CHUNK = 64
VOLUME_SHARD = 128
RASTER_CHUNK = 512
RASTER_SHARD = 4096
VOLUME_END = 128
"""A volume's coarsest level has no longer side: 8 chunks, which a browser shows first."""
RASTER_END = 256
"""A raster's coarsest level has no longer side: a thumbnail."""
_LARGE_PLANE = 2 * 2**20
"""Bytes of a plane above which a volume's shards are one chunk deep, so that a slab of shards fits into memory."""
_STRIP = 2 * 2**20
"""Level-0 samples summed at a time."""


@dataclass(frozen=True, slots=True)
class Level:
    """One level of the pyramid, described.

    ``path`` is its array's within the group; ``shape``, ``chunks`` and ``shards`` are along the series' axes; ``factors``
    is how many level-0 samples along (z, y, x) one of its samples stands for.
    """

    path: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...]
    factors: Factors

    def to_json(self) -> dict[str, Any]:
        """As it is stored in the database and in the group's attributes."""
        return {
            "path": self.path,
            "shape": list(self.shape),
            "chunks": list(self.chunks),
            "shards": list(self.shards),
            "factors": list(self.factors),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Level:
        """From ``to_json``."""
        z, y, x = value["factors"]
        return cls(str(value["path"]), tuple(value["shape"]), tuple(value["chunks"]), tuple(value["shards"]), (z, y, x))


def method_of(series: Series) -> Method:
    """How blocks are averaged: by power where a channel is a radar amplitude (``DN``) or samples are complex."""
    is_amplitude = any(channel.unit == "DN" for channel in series.channels)
    return "power" if is_amplitude or np.dtype(series.dtype).kind == "c" else "mean"


def plan(series: Series) -> tuple[Level, ...]:
    """The levels of a series, finest first. Depends on the series alone, so that the same source gives the same bytes."""
    side = _shard_sides(series)
    levels = [_level(series, 0, (1, 1, 1), side)]
    block = (1, RASTER_CHUNK, side[2]) if series.kind == "raster" else (min(side[0], VOLUME_CHUNK), *side[1:])
    while (factors := _next_factors(series, levels[-1].factors)) is not None:
        # The writer goes over level 0 once, in blocks one chunk deep: no coarse sample may need two of them.
        if any(f > b < n for f, b, n in zip(factors, block, series.grid.shape, strict=True)):
            break
        levels.append(_level(series, len(levels), factors, side))
    return tuple(levels)


def _next_factors(series: Series, now: Factors) -> Factors | None:
    """Factors of the next coarser level, or ``None`` after the coarsest."""
    z, y, x = series.grid.downsampled(now).shape
    if series.kind == "raster":
        return None if max(y, x) <= RASTER_END else (1, now[1] * 2, now[2] * 2)
    if max(z, y, x) <= VOLUME_END or max(y, x) <= VOLUME_CHUNK:
        return None
    spacing = series.grid.affine.spacing
    depth, width = spacing[0] * now[0], max(spacing[1] * now[1], spacing[2] * now[2])
    # Halving z brings samples nearer to cubes only up to this ratio. Planes with a rescale of their own cannot be mixed.
    is_halved = z > 1 and depth <= sqrt(2) * width and len(series.rescale.slope) == len(series.rescale.intercept) == 1
    return (now[0] * 2 if is_halved else now[0], now[1] * 2, now[2] * 2)


def _shard_sides(series: Series) -> Factors:
    """Longest side of a shard along (z, y, x)."""
    if series.kind == "raster":
        return (1, RASTER_SHARD, RASTER_SHARD)
    depth, rows, columns = series.grid.shape
    if depth >= 16:
        plane = rows * columns * np.dtype(series.dtype).itemsize
        deep = VOLUME_CHUNK if plane > _LARGE_PLANE else VOLUME_SHARD
        return (deep, VOLUME_SHARD, VOLUME_SHARD)
    # Thin stacks get wider chunks: a request should bring more than a few kilobytes.
    return (depth, 2 * _thin_side(depth), 2 * _thin_side(depth))


def _thin_side(depth: int) -> int:
    return 128 if depth >= 4 else 256


def _level(series: Series, number: int, factors: Factors, shard: Factors) -> Level:
    shape: tuple[int, ...] = series.grid.downsampled(factors).shape
    chunks: list[int] = []
    shards: list[int] = []
    for axis, size in zip("zyx", shape, strict=True):
        index = "zyx".index(axis)
        whole = shard[index]
        chunk = min(_chunk_side(series, index, whole), size)
        chunks.append(chunk)
        # The whole number of chunks that covers a small image, up to the usual shard.
        shards.append(chunk * min(-(-size // chunk), max(1, whole // chunk)))
    lead = len(series.axes) - (3 if "z" in series.axes else 2)
    keep = slice(0, 3) if "z" in series.axes else slice(1, 3)
    return Level(
        # A raster's level is a group with its coordinates beside the pixels: see docs/decisions.
        path=str(number) if series.kind == "volume" else f"{number}/image",
        shape=series.shape[:lead] + shape[keep],
        chunks=(1,) * lead + tuple(chunks[keep]),
        shards=(1,) * lead + tuple(shards[keep]),
        factors=factors,
    )


def _chunk_side(series: Series, index: int, whole: int) -> int:
    if series.kind == "raster":
        return min(RASTER_CHUNK, whole)
    return whole if whole < VOLUME_CHUNK else (VOLUME_CHUNK if whole <= VOLUME_SHARD else whole // 2)


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """Sums over blocks of level-0 samples: of values, of squares and how many counted. All are (z, y, x)."""

    total: npt.NDArray[Any] | None
    squares: npt.NDArray[np.float64] | None
    count: npt.NDArray[np.int32]

    def coarser(self, steps: Factors) -> Sums:
        """Blocks of blocks; a rest at an end is its own block."""
        total = None if self.total is None else block_sum(self.total, steps)
        squares = None if self.squares is None else block_sum(self.squares, steps)
        return Sums(total, squares, block_sum(self.count, steps, wide=np.int32))

    def samples(self, dtype: np.dtype[Any], nodata: float | None) -> npt.NDArray[Any]:
        """The samples of this level, in the image's dtype."""
        with np.errstate(invalid="ignore", divide="ignore"):
            value = self._values()
        if dtype.kind in "iu":
            np.rint(value, out=value)
        if self.count.all():
            return _cast(value, dtype)
        empty = self.count == 0
        value[empty] = np.nan if nodata is None else nodata
        return _cast(value, dtype)

    def _values(self) -> npt.NDArray[Any]:
        """Means, amplitudes, or amplitudes with the phase of the means; one array is made and worked on in place."""
        if self.squares is None:
            assert self.total is not None
            return np.asarray(self.total / self.count)
        amplitude = np.asarray(self.squares / self.count)
        np.sqrt(amplitude, out=amplitude)
        return amplitude if self.total is None else amplitude * np.exp(1j * np.angle(self.total))


def _cast(value: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    if dtype.kind in "iu":
        # The amplitude of -32768 is 32768; and beyond 2**53 a mean in float64 may round to just outside the range.
        limits = np.iinfo(dtype)
        low, high = float(limits.min), float(limits.max)
        np.clip(value, low, high if int(high) <= limits.max else np.nextafter(high, 0), out=value)
    return np.ascontiguousarray(value.astype(dtype, copy=False))


def sums(block: npt.NDArray[Any], steps: Factors, *, method: Method, nodata: float | None) -> Sums:
    """Sums over blocks of ``steps`` level-0 samples (z, y, x), strip by strip so that memory stays near the result's."""
    axis = 0 if block.shape[0] > 1 else 1
    length = max(1, _STRIP * block.shape[axis] // block.size // steps[axis]) * steps[axis]
    parts = [
        _sums(strip, steps, method, nodata)
        for first in range(0, block.shape[axis], length)
        for strip in [block[_along(axis, first, first + length)]]
    ]
    if len(parts) == 1:
        return parts[0]

    def joined(pieces: Sequence[npt.NDArray[Any] | None]) -> npt.NDArray[Any] | None:
        present = [piece for piece in pieces if piece is not None]
        return np.concatenate(present, axis=axis) if present else None

    count = joined([p.count for p in parts])
    assert count is not None
    return Sums(joined([p.total for p in parts]), joined([p.squares for p in parts]), count)


def _along(axis: int, start: int, stop: int) -> tuple[slice, ...]:
    return (slice(None),) * axis + (slice(start, stop),)


def _sums(strip: npt.NDArray[Any], steps: Factors, method: Method, nodata: float | None) -> Sums:
    missing = _missing(strip, nodata)
    if missing is not None:
        strip = np.where(missing, strip.dtype.type(0), strip)
        count = block_sum(~missing, steps, wide=np.int32)
    else:
        count = _full_counts(strip.shape, steps)
    is_complex = strip.dtype.kind == "c"
    total = block_sum(strip, steps) if method == "mean" or is_complex else None
    squares = None
    if method == "power":
        power = strip.real.astype(np.float64) ** 2 + strip.imag.astype(np.float64) ** 2 if is_complex else None
        squares = block_sum(np.square(strip, dtype=np.float64) if power is None else power, steps)
    return Sums(total, squares, count)


def _missing(strip: npt.NDArray[Any], nodata: float | None) -> npt.NDArray[np.bool_] | None:
    """Which samples were not measured; ``None`` if all were."""
    found: npt.NDArray[np.bool_] | None = None
    if strip.dtype.kind in "fc":
        found = np.isnan(strip)
    if nodata is not None and not np.isnan(nodata):
        equal = strip == nodata
        found = equal if found is None else found | equal
    return found if found is not None and found.any() else None


def _full_counts(shape: tuple[int, ...], steps: Factors) -> npt.NDArray[np.int32]:
    """How many samples each block has when none is missing: a rest at an end has fewer."""
    counts = np.full([-(-n // f) for n, f in zip(shape, steps, strict=True)], prod(steps), np.int32)
    for axis, (n, f) in enumerate(zip(shape, steps, strict=True)):
        if n % f:
            last = counts[_along(axis, counts.shape[axis] - 1, counts.shape[axis])]
            last[...] = last // f * (n % f)
    return counts


def block_sum(block: npt.NDArray[Any], steps: Factors, *, wide: Any = None) -> npt.NDArray[Any]:
    """Sums over blocks of ``steps`` samples; a rest at an end is its own block.

    They are in ``wide`` where it is given, else in complex128 or float64. Integers below 2**53 sum exactly.
    """
    final = wide or (np.complex128 if block.dtype.kind == "c" else np.float64)
    # Sums of small integers fit 32 bits, which halves the traffic of the first and largest step.
    is_small = block.dtype.kind == "b" or (block.dtype.kind in "iu" and block.dtype.itemsize <= 2)
    wide = np.int32 if is_small and prod(steps) <= 2**14 else final
    result = block
    for axis, step in enumerate(steps):
        if step == 1:
            continue
        even = result.shape[axis] // step * step
        whole = result[_along(axis, 0, even)]
        total = np.add(whole[_every(axis, 0, step)], whole[_every(axis, 1, step)], dtype=wide)
        for offset in range(2, step):
            total += whole[_every(axis, offset, step)]
        if even < result.shape[axis]:
            rest = result[_along(axis, even, result.shape[axis])].sum(axis=axis, keepdims=True, dtype=wide)
            total = np.concatenate((total, rest), axis=axis)
        result = total
    return result.astype(final, copy=False)


def _every(axis: int, start: int, step: int) -> tuple[slice, ...]:
    return (slice(None),) * axis + (slice(start, None, step),)
