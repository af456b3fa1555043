"""The Geolocator of a Series: radar model, control points or CRS, whichever the image has."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import rasterio.warp
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError

from specimg.errors import InvalidInput
from specimg.formats.base import Series
from specimg.formats.tiff import gdal
from specimg.geometry.ellipsoid import wrapped
from specimg.geometry.geolocation import Geolocator, Ground, geolocator
from specimg.geometry.grid import Grid
from specimg.geometry.radar import Array, RadarGeometry


def ground_of(series: Series) -> Geolocator | None:
    """How to place samples of a raster on the Earth; ``None`` for a volume and for a picture without georeference.

    Build it once for many positions: the radar model fits an orbit.
    """
    if series.radar is not None:
        return geolocator(RadarGeometry.from_json(series.radar))
    if series.grid.space.kind == "map":
        return MapProjection(series.grid)
    return None


class MapProjection:
    """Affine and CRS of a map-projected raster. Exact by definition: what error the map has it does not say."""

    model = "crs"

    def __init__(self, grid: Grid) -> None:
        if grid.space.crs is None:
            raise InvalidInput("the grid has no CRS", field="crs")
        self._affine, self._crs = grid.affine, _crs(grid.space.crs)
        self._middle_x = float(grid.affine.to_world([(n - 1) / 2 for n in grid.shape])[0])

    def to_ground(self, line: npt.ArrayLike, pixel: npt.ArrayLike, height: npt.ArrayLike | None = None) -> Ground:
        """As the protocol says. ``height`` is passed through: a map has its own idea of the ground. The error is NaN."""
        line_, pixel_ = np.broadcast_arrays(np.asarray(line, np.float64), np.asarray(pixel, np.float64))
        world = self._affine.to_world(np.stack([np.zeros(line_.shape), line_, pixel_], axis=-1))
        lon, lat = _transform(self._crs, _WGS84, world[..., 0], world[..., 1])
        up = np.broadcast_to(np.asarray(0.0 if height is None else height, np.float64), line_.shape)
        return Ground(wrapped(lon), lat, np.array(up), np.full(line_.shape, np.nan))

    def to_image(
        self, lon: npt.ArrayLike, lat: npt.ArrayLike, height: npt.ArrayLike | None = None
    ) -> tuple[Array, Array]:
        """As the protocol says; ``height`` has no influence."""
        lon_, lat_ = np.broadcast_arrays(np.asarray(lon, np.float64), np.asarray(lat, np.float64))
        x, y = _transform(_WGS84, self._crs, lon_, lat_)
        if self._crs.is_geographic:
            # A geographic raster may run from 0 to 360 or past 180: take the turn that is nearest to its middle.
            x = x - 360 * np.round((x - self._middle_x) / 360)
        index = self._affine.to_index(np.stack([x, y, np.zeros(x.shape)], axis=-1))
        return index[..., 1], index[..., 2]


_WGS84 = CRS.from_epsg(4326)


@lru_cache(maxsize=64)
def _crs(text: str) -> CRS:
    try:
        with gdal():
            return CRS.from_user_input(text)
    except CRSError as error:
        raise InvalidInput("the CRS is not known", field="crs") from error


def _transform(source: CRS, target: CRS, x: Array, y: Array) -> tuple[Array, Array]:
    """Longitude or easting first, whatever order the CRS itself has (GIS order, as in GeoJSON and GeoTIFF)."""
    try:
        with gdal():
            moved = rasterio.warp.transform(source, target, x.ravel().tolist(), y.ravel().tolist())
    except RasterioError as error:
        raise InvalidInput("positions cannot be brought to this CRS", field="crs") from error
    first, second = (np.array(values, np.float64).reshape(x.shape) for values in moved)
    # PROJ answers infinity where a projection has no value.
    return np.where(np.isfinite(first), first, np.nan), np.where(np.isfinite(second), second, np.nan)
