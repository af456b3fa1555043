"""Series without files, for tests of the store: small asymmetric phantoms, and one too large for memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from specimg.formats.base import Channel, Series
from specimg.geometry.affine import Affine
from specimg.geometry.grid import Grid, Space
from specimg.store.image import Image
from specimg.store.writer import publish, write

AXIAL = Affine.from_steps(z=(0, 0, 1.0), y=(0, 0.7, 0), x=(0.7, 0, 0), origin=(-100, -50, 30))
OBLIQUE = Affine.from_steps(z=(0.3, 0.1, 2.2), y=(-0.2, 0.8, 0.1), x=(-0.75, -0.2, 0.15), origin=(12, -34, 56))
"""Turned in all three planes, left-handed and sheared, as a tilted gantry gives it."""
NORTH_UP = Affine.from_steps(z=(0, 0, 1), y=(0, -10, 0), x=(10, 0, 0), origin=(500_005, 5_399_995, 0))
ROTATED = Affine.from_steps(z=(0, 0, 1), y=(2, -9, 0), x=(9, 2, 0), origin=(500_005, 5_399_995, 0))


class ArraySeries:
    """An open series over an array, counting what was read."""

    def __init__(self, series: Series, array: npt.NDArray[Any]) -> None:
        self.series = series
        self.array = array
        self.read_bytes = 0

    def read(self, start: Sequence[int], stop: Sequence[int]) -> npt.NDArray[Any]:
        """The box."""
        block = self.array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))].copy()
        self.read_bytes += block.nbytes
        return block

    def close(self) -> None:
        """Nothing to release."""


def volume(array: npt.NDArray[Any], *, affine: Affine = AXIAL, unit: str = "HU", **changes: Any) -> ArraySeries:
    """A volume (z, y, x), or with leading t and c axes as ``axes`` in ``changes`` says."""
    axes = changes.pop("axes", ("z", "y", "x"))
    z, y, x = array.shape[-3:]
    count = array.shape[axes.index("c")] if "c" in axes else 1
    series = Series(
        key="phantom",
        name="phantom",
        kind="volume",
        modality="CT",
        axes=axes,
        shape=array.shape,
        dtype=array.dtype.name,
        grid=Grid((z, y, x), affine, Space("patient")),
        channels=tuple(Channel(f"channel {number}", unit) for number in range(count)),
    )
    return ArraySeries(replace(series, **changes), array)


def raster(
    array: npt.NDArray[Any],
    *,
    affine: Affine = NORTH_UP,
    crs: str | None = "EPSG:32633",
    unit: str = "DN",
    **changes: Any,
) -> ArraySeries:
    """A raster (c, y, x), on a map where there is a CRS, else in the radar's own plane."""
    count, y, x = array.shape
    series = Series(
        key="phantom",
        name="phantom",
        kind="raster",
        modality="SAR",
        axes=("c", "y", "x"),
        shape=array.shape,
        dtype=array.dtype.name,
        grid=Grid((1, y, x), affine if crs else Affine.identity(), Space("map", crs) if crs else Space("radar")),
        channels=tuple(Channel(name, unit) for name in ("VV", "VH", "HH", "HV")[:count]),
    )
    return ArraySeries(replace(series, **changes), array)


def stored(opened: ArraySeries, folder: Path, *, block_bytes: int = 2**27) -> Image:
    """Write and publish a phantom below ``folder``."""
    staging = folder / "staging"
    staging.mkdir(parents=True)
    staged = write(opened, staging, block_bytes=block_bytes)
    root = publish(staged, folder)
    return Image(
        id=staged.id, digest=staged.digest, format="phantom", series=staged.series, levels=staged.levels, root=root
    )


def asymmetric(shape: tuple[int, ...], dtype: str = "int16", *, seed: int = 7) -> npt.NDArray[Any]:
    """Noise on three different ramps: no flip, swap or shift of axes gives the same array."""
    ramps = sum(
        np.arange(n).reshape([-1 if i == k else 1 for i in range(len(shape))]) * 3**k for k, n in enumerate(shape)
    )
    noise = np.random.default_rng(seed).integers(0, 40, shape)
    return np.asarray((ramps + noise) % 250 if dtype in ("uint8", "int8") else ramps + noise).astype(dtype)
