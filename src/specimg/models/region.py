"""Region: the small grid a method works on, whatever the size of the image.

A region is a box of *blocks*; a block is ``factors`` level-0 samples, whose factors are powers of two so that pyramid
levels fit them. A method sees at most ``budget`` blocks, so that a click costs the same in a 512-cube and in a 25,000²
radar scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

import numpy as np
import numpy.typing as npt

from specimg.models.base import Index


@dataclass(frozen=True, slots=True)
class Region:
    """``shape`` blocks from block ``start``, each of ``factors`` level-0 samples; ``whole`` is the image's level-0 shape."""

    start: Index
    shape: Index
    factors: Index
    whole: Index

    @classmethod
    def around(
        cls,
        low: Sequence[float] | npt.NDArray[np.float64],
        high: Sequence[float] | npt.NDArray[np.float64],
        *,
        spacing: Sequence[float],
        whole: Index,
        budget: int,
        normal: int | None = None,
    ) -> Region:
        """Cover level-0 indices ``low`` to ``high`` with at most ``budget`` blocks, as cubic in the world as possible.

        ``normal`` is the axis of a single plane that must not be averaged.
        """
        first = [min(max(floor(a + 0.5), 0), n - 1) for a, n in zip(low, whole, strict=True)]
        last = [min(max(floor(b + 0.5), f), n - 1) for b, f, n in zip(high, first, whole, strict=True)]
        edge = min(s for axis, s in enumerate(spacing) if axis != normal)
        while True:
            factors = [1 if axis == normal else _power_of_two(edge / s) for axis, s in enumerate(spacing)]
            start = [a // f for a, f in zip(first, factors, strict=True)]
            shape = [b // f - a + 1 for a, b, f in zip(start, last, factors, strict=True)]
            if shape[0] * shape[1] * shape[2] <= budget:
                return cls(_index(start), _index(shape), _index(factors), whole)
            edge *= 2**0.5

    @property
    def start0(self) -> Index:
        """First level-0 index."""
        return _index([s * f for s, f in zip(self.start, self.factors, strict=True)])

    @property
    def stop0(self) -> Index:
        """Level-0 index after the last, inside the image."""
        return _index(
            [min((s + n) * f, w) for s, n, f, w in zip(self.start, self.shape, self.factors, self.whole, strict=True)]
        )

    def step(self, spacing: Sequence[float]) -> tuple[float, float, float]:
        """Size of a block relative to its shortest side along an axis that has more than one block."""
        sides = [f * s for f, s in zip(self.factors, spacing, strict=True)]
        shortest = min((s for s, n in zip(sides, self.shape, strict=True) if n > 1), default=min(sides))
        z, y, x = (s / shortest for s in sides)
        return z, y, x

    def blocks_of(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Level-0 indices (n, 3) as fractional block indices within the region; integers are block centres."""
        factors = np.asarray(self.factors, np.float64)
        return np.asarray((np.asarray(points, np.float64) - (factors - 1) / 2) / factors - self.start)

    def indices_of(self, blocks: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Inverse of ``blocks_of``."""
        factors = np.asarray(self.factors, np.float64)
        return np.asarray((np.asarray(blocks, np.float64) + self.start) * factors + (factors - 1) / 2)

    def mark(self, points: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """True in the blocks that hold one of these level-0 indices."""
        marked = np.zeros(self.shape, np.bool_)
        blocks = np.floor(self.blocks_of(points) + 0.5).astype(np.int64).reshape(-1, 3)
        inside = ((blocks >= 0) & (blocks < self.shape)).all(axis=1)
        marked[tuple(blocks[inside].T)] = True
        return marked

    def open_sides(self) -> tuple[tuple[bool, bool], ...]:
        """For each axis, whether the image goes on before the first and after the last block."""
        return tuple((a > 0, b < n) for a, b, n in zip(self.start0, self.stop0, self.whole, strict=True))


def _power_of_two(ratio: float) -> int:
    return int(2 ** max(0, round(float(np.log2(ratio))))) if ratio > 0 else 1


def _index(values: Sequence[int]) -> Index:
    z, y, x = (int(v) for v in values)
    return z, y, x
