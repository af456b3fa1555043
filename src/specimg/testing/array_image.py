"""An image made of an array, in the clothes of ``store.image.Image``: for tests of whatever only reads pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from specimg.formats.base import Channel, Series
from specimg.geometry.affine import Affine
from specimg.geometry.grid import Grid, Space


@dataclass(frozen=True, slots=True)
class ArrayLevel:
    """A level of an ``ArrayImage``."""

    factors: tuple[int, int, int]


class ArrayImage:
    """Real values (z, y, x) as an image with a pyramid of block means, one per entry of ``factors``."""

    def __init__(
        self,
        values: npt.NDArray[Any],
        *,
        spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
        modality: str = "CT",
        unit: str = "HU",
        space: Space | None = None,
        factors: Sequence[tuple[int, int, int]] = ((1, 1, 1),),
        nodata: float | None = None,
    ) -> None:
        z, y, x = spacing
        affine = Affine.from_steps(z=(0, 0, z), y=(0, y, 0), x=(x, 0, 0), origin=(0, 0, 0))
        depth, rows, columns = values.shape
        self.grid = Grid((depth, rows, columns), affine, space or Space("patient"))
        self.series = Series(
            key="array",
            name="array",
            kind="volume" if depth > 1 else "raster",
            modality=modality,
            axes=("z", "y", "x"),
            shape=values.shape,
            dtype=values.dtype.name,
            grid=self.grid,
            channels=(Channel("value", unit),),
            nodata=nodata,
        )
        self.levels = tuple(ArrayLevel(f) for f in factors)
        self._arrays = [_means(values, f) for f in factors]

    def read_box(
        self, start: Sequence[int], stop: Sequence[int], *, level: int = 0, c: int = 0, t: int = 0
    ) -> npt.NDArray[Any]:
        """The box ``start <= index < stop`` of a level."""
        return self._arrays[level][tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]

    def real(self, stored: npt.NDArray[Any], *, z: int | range) -> npt.NDArray[np.float32]:
        """The array holds real values already."""
        return stored.astype(np.float32)


def _means(values: npt.NDArray[Any], factors: tuple[int, int, int]) -> npt.NDArray[Any]:
    """Block means; a rest at the end of an axis is its own block."""
    result = values
    for axis, f in enumerate(factors):
        if f > 1:
            edges = np.arange(0, result.shape[axis], f)
            counts = np.diff(np.append(edges, result.shape[axis]))
            shape = [1, 1, 1]
            shape[axis] = counts.size
            result = np.add.reduceat(result.astype(np.float64), edges, axis=axis) / counts.reshape(shape)
    return result.astype(values.dtype)
