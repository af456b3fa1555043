"""Raster tiles: 512 x 512 samples of one level in the image's own grid, stretched and coloured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from specimg.errors import InvalidInput
from specimg.geometry.radar import RadarGeometry, decibel, sigma0
from specimg.render.colormap import colorize, dual_polarisation, table
from specimg.render.decibel import Quantity, amplitude_db
from specimg.render.slice import level_grid, require_channel
from specimg.render.window import WindowLevel, to_grey
from specimg.store.image import Image

SIZE = 512
"""Rows and columns of a tile; also the chunk of a raster level, so that a tile reads one chunk a band."""

_RADAR: WeakKeyDictionary[Image, RadarGeometry] = WeakKeyDictionary()
_CLIP = (2.0, 98.0)
"""Percentiles that the default stretch maps to black and white."""


@dataclass(frozen=True, slots=True)
class TileRequest:
    """Tile (``row``, ``column``) of ``level``.

    One band is stretched between ``low`` and ``high`` and goes through ``colormap``. Two radar bands (co- and
    cross-polarised) with the colour map ``rgb`` become red, green and their difference in dB; three bands with ``rgb``
    are red, green, blue. ``ranges`` holds one (low, high) per shown channel; empty: the image's own percentiles.
    """

    level: int
    row: int
    column: int
    bands: tuple[int, ...] = (0,)
    quantity: Quantity = "stored"
    colormap: str = "grey"
    ranges: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        if self.colormap == "rgb":
            if len(self.bands) not in (2, 3):
                raise InvalidInput("a colour picture needs two bands (co, cross) or three", field="bands")
            if len(self.bands) == 2 and self.quantity == "stored":
                raise InvalidInput("two bands become a colour picture only in decibel", field="quantity")
        elif len(self.bands) != 1:
            raise InvalidInput("one band unless the colour map is rgb", field="bands")
        else:
            table(self.colormap)
        for low, high in self.ranges:
            if not (np.isfinite(low) and np.isfinite(high) and low < high):
                raise InvalidInput("low must be below high, both finite", field="low")
        if self.ranges and len(self.ranges) != (3 if self.colormap == "rgb" else 1):
            raise InvalidInput("give one low and high for each shown channel", field="low")


def render_tile(image: Image, request: TileRequest, ranges: Sequence[tuple[float, float]]) -> npt.NDArray[np.uint8]:
    """(512, 512, 4); samples beyond the border, nodata and samples without signal are clear. ``ranges`` as resolved."""
    start, stop = tile_box(image, request.level, request.row, request.column)
    bands = [read_quantity(image, request.quantity, band, request.level, start, stop) for band in request.bands]
    if request.colormap == "rgb":
        if len(bands) == 2:
            keys = dict(zip(("co", "cross", "ratio"), ranges, strict=True))
            color = dual_polarisation(bands[0], bands[1], keys)
        else:
            pairs = zip(bands, ranges, strict=True)
            color = np.stack([to_grey(band, WindowLevel.between(*pair)) for band, pair in pairs], axis=-1)
    else:
        color = colorize(to_grey(bands[0], WindowLevel.between(*ranges[0])), request.colormap)
        if color.ndim == 2:
            color = np.repeat(color[..., None], 3, axis=2)
    tile = np.zeros((SIZE, SIZE, 4), np.uint8)
    rows, columns = color.shape[:2]
    tile[:rows, :columns, :3] = color
    tile[:rows, :columns, 3] = np.where(np.all([np.isfinite(band) for band in bands], axis=0), 255, 0)
    return tile


def tile_box(image: Image, level: int, row: int, column: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Start and stop of a tile in the level's own grid. Raises ``InvalidInput`` where there is none."""
    if image.series.kind != "raster":
        raise InvalidInput("tiles are of rasters; ask a volume for slices", field="level")
    if not 0 <= level < len(image.levels):
        raise InvalidInput(f"this image has levels 0 to {len(image.levels) - 1}", field="level")
    _, height, width = level_grid(image, level).shape
    top, left = row * SIZE, column * SIZE
    if row < 0 or column < 0 or top >= height or left >= width:
        raise InvalidInput("there is no such tile at this level", field="row")
    return (0, top, left), (1, min(top + SIZE, height), min(left + SIZE, width))


def read_quantity(
    image: Image,
    quantity: Quantity,
    band: int,
    level: int,
    start: tuple[int, int, int],
    stop: tuple[int, int, int],
) -> npt.NDArray[np.float32]:
    """(rows, columns) of a box in the level's grid as the quantity asked for; NaN is nodata or no signal."""
    require_channel(image.series, band)
    stored = image.read_box(start, stop, level=level, c=band)[0]
    if quantity == "amplitude_db":
        values = amplitude_db(stored)
    elif quantity == "sigma0_db":
        values = _sigma0_db(image, band, level, start, stored)
    else:
        values = image.real(stored[None], z=0)[0] if stored.dtype.kind != "c" else np.abs(stored).astype(np.float32)
    nodata = image.series.nodata
    if nodata is not None:
        values = np.where(np.isnan(stored) if np.isnan(nodata) else stored == nodata, np.float32(np.nan), values)
    return np.asarray(values, np.float32)


def _sigma0_db(
    image: Image, band: int, level: int, start: tuple[int, int, int], stored: npt.NDArray[Any]
) -> npt.NDArray[np.float32]:
    """Calibrated at the centre of each sample. Raises ``InvalidInput`` where the product brought no calibration."""
    name = image.series.channels[band].name
    calibration = _radar(image).calibration if image.series.radar is not None else None
    found = (calibration or {}).get(name)
    if found is None:
        raise InvalidInput(f"this image has no calibration for {name}: sigma0 cannot be known", field="quantity")
    _, down, across = image.levels[level].factors
    rows, columns = stored.shape
    # A sample of a coarser level stands for a block, and holds the mean of its power; the gain hardly varies within it.
    lines = (start[1] + np.arange(rows) + 0.5) * down - 0.5
    pixels = (start[2] + np.arange(columns) + 0.5) * across - 0.5
    return decibel(sigma0(stored, found, lines, pixels))


def _radar(image: Image) -> RadarGeometry:
    """Tables of an image, parsed once: they are larger than a tile."""
    found = _RADAR.get(image)
    if found is None:
        found = _RADAR[image] = RadarGeometry.from_json(image.series.radar)
    return found


def default_ranges(image: Image, request: TileRequest) -> tuple[tuple[float, float], ...]:
    """The stretch of a whole image, from the coarsest level, so that neighbouring tiles agree. Cache the answer."""
    level = len(image.levels) - 1
    _, height, width = level_grid(image, level).shape
    # The coarsest level fits a screen; a raster without a pyramid is looked at in its middle.
    rows, columns = min(height, 2048), min(width, 2048)
    top, left = (height - rows) // 2, (width - columns) // 2
    box = (0, top, left), (1, top + rows, left + columns)
    bands = [read_quantity(image, request.quantity, band, level, *box) for band in request.bands]
    if request.colormap == "rgb" and len(bands) == 2:
        bands.append(bands[0] - bands[1])
    return tuple(_percentiles(band) for band in bands)


def _percentiles(values: npt.NDArray[np.float32]) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if known.size == 0:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(known, _CLIP))
    return (low, high) if high > low else (low - 0.5, low + 0.5)
