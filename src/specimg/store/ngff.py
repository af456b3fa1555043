"""The JSON of stored images: OME-Zarr 0.5, GeoZarr and CF, and our own attribute. The only file that knows it.

OME-Zarr 0.5 places a level by a scale and a translation along its own axes, so it cannot say how a volume lies in the
patient. We write the coordinates that lose nothing: ``D @ coordinate = world``, where the columns of ``D`` are the unit
vectors of the array's axes. For an axial series in its usual orientation they are LPS millimetres; otherwise the axes'
``orientation`` (RFC-4) tells the direction, and ``specimg.grid`` has the whole affine.

Rasters follow GeoZarr (multiscales, ``proj:``, ``spatial:``) and CF beside it, one group per level, so that OME readers,
xarray, rioxarray and OpenLayers open the same store; see docs/decisions/0002.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.crs import CRS

from specimg.digest import JSON
from specimg.formats.base import Series
from specimg.geometry.grid import Grid
from specimg.geometry.radar import ControlPoints
from specimg.store.pyramid import Level, method_of

_ORIENTATION = {
    "L": "right-to-left",
    "R": "left-to-right",
    "P": "anterior-to-posterior",
    "A": "posterior-to-anterior",
    "S": "inferior-to-superior",
    "I": "superior-to-inferior",
}
_COLORS = ("FF0000", "00FF00", "0000FF", "FFFFFF")
_CONVENTION = "https://github.com/zarr-conventions"
_CONVENTIONS: tuple[dict[str, JSON], ...] = (
    {
        "uuid": "d35379db-88df-4056-af3a-620245f8e347",
        "name": "multiscales",
        "schema_url": "https://raw.githubusercontent.com/zarr-conventions/multiscales/refs/tags/v1/schema.json",
        "spec_url": f"{_CONVENTION}/multiscales/blob/v1/README.md",
        "description": "Multiscale layout of zarr datasets",
    },
    {
        "uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f",
        "name": "proj:",
        "schema_url": "https://raw.githubusercontent.com/zarr-conventions/geo-proj/refs/tags/v1/schema.json",
        "spec_url": f"{_CONVENTION}/geo-proj/blob/v1/README.md",
        "description": "Coordinate reference system information for geospatial data",
    },
    {
        "uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
        "name": "spatial:",
        "schema_url": "https://raw.githubusercontent.com/zarr-conventions/spatial/refs/tags/v1/schema.json",
        "spec_url": f"{_CONVENTION}/spatial/blob/v1/README.md",
        "description": "Spatial coordinate information",
    },
)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Stored values of one channel: smallest and largest measured, and where a viewer should start and end its ramp."""

    low: float
    high: float
    start: float
    end: float


# --- arrays ---------------------------------------------------------------------------------------------------------


def fill_value(series: Series) -> float | int | complex:
    """What a chunk that was not written holds: ``nodata`` where the dtype has it, else zero."""
    dtype, nodata = np.dtype(series.dtype), series.nodata
    if nodata is None or dtype.kind == "c":
        return 0
    if dtype.kind == "f":
        return float(nodata)
    limits = np.iinfo(dtype)
    return int(nodata) if float(nodata).is_integer() and limits.min <= nodata <= limits.max else 0


def array_metadata(series: Series, level: Level) -> dict[str, Any]:
    """Zarr v3 metadata of a level's array: shards of chunks, each little-endian, bit-shuffled and LZ4-compressed."""
    dtype = np.dtype(series.dtype)
    fill = fill_value(series)
    return {
        "shape": list(level.shape),
        "data_type": dtype.name,
        "fill_value": [fill, fill] if dtype.kind == "c" else _json_number(fill),
        "dimension_names": list(series.axes),
        "attributes": _array_attributes(series),
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(level.shards)}},
        "codecs": [_sharding(level.chunks, dtype)],
    }


def _sharding(chunks: Sequence[int], dtype: np.dtype[Any]) -> dict[str, Any]:
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    blosc = {"cname": "lz4", "clevel": 5, "shuffle": "bitshuffle", "typesize": dtype.itemsize, "blocksize": 0}
    return {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": list(chunks),
            "codecs": [little, {"name": "blosc", "configuration": blosc}],
            "index_codecs": [little, {"name": "crc32c"}],
        },
    }


def plain_metadata(values: npt.NDArray[Any], names: Sequence[str], attributes: dict[str, Any]) -> dict[str, Any]:
    """Zarr v3 metadata of a small array in one uncompressed chunk: coordinates and the CF grid mapping."""
    return {
        "shape": list(values.shape),
        "data_type": values.dtype.name,
        "fill_value": "NaN" if values.dtype.kind == "f" else -1,
        "dimension_names": list(names),
        "attributes": attributes,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(values.shape)}},
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
    }


def _array_attributes(series: Series) -> dict[str, Any]:
    if series.kind == "volume":
        return {}
    # CF: "coordinates" makes xarray hand the grid mapping on with the variable, also when opened without options.
    attributes: dict[str, Any] = {"grid_mapping": "spatial_ref", "coordinates": "spatial_ref"}
    dtype = np.dtype(series.dtype)
    if series.nodata is not None and dtype.kind in "iu" and fill_value(series) == series.nodata:
        attributes["_FillValue"] = int(series.nodata)
    elif series.nodata is not None and dtype.kind == "f":
        # xarray's Zarr v3 encoding of a float: base64 of the little-endian float64.
        attributes["_FillValue"] = _xarray_float(series.nodata)
    return attributes


def _xarray_float(value: float) -> str:
    return base64.standard_b64encode(np.array(value, "<f8").tobytes()).decode()


# --- the group ------------------------------------------------------------------------------------------------------


def group_attributes(series: Series, levels: Sequence[Level], stretches: Sequence[Stretch]) -> dict[str, Any]:
    """Attributes of an image's root group."""
    attributes: dict[str, Any] = {
        "ome": {
            "version": "0.5",
            "multiscales": [
                {
                    "name": series.name,
                    "type": {"mean": "mean", "power": "root-mean-square"}[method_of(series)],
                    "axes": _axes(series),
                    "datasets": [
                        {"path": level.path, "coordinateTransformations": _transformations(series, level)}
                        for level in levels
                    ],
                }
            ],
            "omero": {"channels": _channels(series, stretches)},
        },
        "specimg": _own(series, levels),
    }
    if series.kind == "raster" and series.grid.space.kind == "map":
        attributes |= _geozarr(series, levels)
    return attributes


def _own(series: Series, levels: Sequence[Level]) -> dict[str, Any]:
    described = series.to_json()
    # Names of source files and what export needs of them stay in the database: this attribute is served.
    del described["files"], described["source"]
    return {
        "version": 1,
        "series": described,
        "grid": series.grid.to_json(),
        "levels": [level.to_json() | {"grid": _level_grid(series, level).to_json()} for level in levels],
    }


def _axes(series: Series) -> list[dict[str, JSON]]:
    codes = dict(zip("zyx", series.grid.affine.axis_codes(), strict=True))
    unit = _unit(series.grid)
    axes: list[dict[str, JSON]] = []
    for name in series.axes:
        if name in ("t", "c"):
            axes.append({"name": name, "type": {"t": "time", "c": "channel"}[name]})
            continue
        axis: dict[str, JSON] = {"name": name, "type": "space"}
        if unit is not None:
            axis["unit"] = unit
        if series.grid.space.kind == "patient":
            axis["orientation"] = {"type": "anatomical", "value": _ORIENTATION[codes[name]]}
        axes.append(axis)
    return axes


def _unit(grid: Grid) -> str | None:
    """A unit that OME-Zarr knows, if it has one."""
    if grid.space.kind == "patient":
        return "millimeter"
    if grid.space.crs is None:
        return None
    crs = CRS.from_user_input(grid.space.crs)
    if crs.is_geographic:
        return None  # degrees are not among OME-Zarr's units
    return {"metre": "meter", "meter": "meter", "foot": "foot"}.get(crs.linear_units)


def _transformations(series: Series, level: Level) -> list[JSON]:
    affine = _level_grid(series, level).affine
    scale = dict(zip("zyx", affine.spacing, strict=True))
    start = np.linalg.solve(affine.directions, affine.matrix[:3, 3])
    translation = dict(zip("zyx", (float(v) for v in start), strict=True))
    return [
        {"type": "scale", "scale": [scale.get(axis, 1.0) for axis in series.axes]},
        {"type": "translation", "translation": [translation.get(axis, 0.0) for axis in series.axes]},
    ]


def _channels(series: Series, stretches: Sequence[Stretch]) -> list[dict[str, JSON]]:
    many = len(series.channels) > 1
    return [
        {
            "label": channel.name,
            "color": _COLORS[number % len(_COLORS)] if many else "FFFFFF",
            "active": True,
            "window": {"min": stretch.low, "max": stretch.high, "start": stretch.start, "end": stretch.end},
        }
        for number, (channel, stretch) in enumerate(zip(series.channels, stretches, strict=True))
    ]


def _level_grid(series: Series, level: Level) -> Grid:
    return series.grid.downsampled(level.factors)


# --- rasters --------------------------------------------------------------------------------------------------------


def raster_level_attributes(series: Series, level: Level) -> dict[str, Any]:
    """Attributes of the group that holds one level of a raster."""
    return _spatial(series, level) if series.grid.space.kind == "map" else {}


def coordinates(series: Series, level: Level) -> dict[str, npt.NDArray[np.float64]]:
    """World coordinates of sample centres along x and y, where they are separable: not for a rotated raster."""
    grid = _level_grid(series, level)
    matrix = grid.affine.matrix
    if grid.space.kind != "map" or matrix[0, 1] != 0 or matrix[1, 2] != 0:
        return {}
    _, rows, columns = grid.shape
    return {
        "x": matrix[0, 3] + matrix[0, 2] * np.arange(columns),
        "y": matrix[1, 3] + matrix[1, 1] * np.arange(rows),
    }


def coordinate_attributes(series: Series, axis: str) -> dict[str, Any]:
    """CF attributes of a coordinate."""
    crs = CRS.from_user_input(series.grid.space.crs)
    if crs.is_geographic:
        name, units = {"x": ("longitude", "degrees_east"), "y": ("latitude", "degrees_north")}[axis]
    else:
        name, units = f"projection_{axis}_coordinate", _unit(series.grid) or crs.linear_units
    return {"axis": axis.upper(), "standard_name": name, "units": units}


def grid_mapping(series: Series, level: Level) -> dict[str, Any]:
    """CF grid mapping with GDAL's ``GeoTransform``, as rioxarray reads it; ground control points for a radar plane."""
    if series.grid.space.kind == "map":
        a, b, c, d, e, f = _geotransform(series, level)
        wkt = CRS.from_user_input(series.grid.space.crs).to_wkt()
        return {"crs_wkt": wkt, "spatial_ref": wkt, "GeoTransform": f"{c!r} {a!r} {b!r} {f!r} {d!r} {e!r}"}
    points = (series.radar or {}).get("gcps")
    if points is None:
        return {}
    wkt = CRS.from_epsg(4326).to_wkt()
    return {
        "crs_wkt": wkt,
        "spatial_ref": wkt,
        "gcps": json.dumps(_control_points(ControlPoints.from_json(points), level)),
    }


def _control_points(points: ControlPoints, level: Level) -> dict[str, Any]:
    """As rioxarray keeps GDAL's: GeoJSON, with rows and columns counted from the outer corner of the first sample."""
    _, y, x = level.factors
    columns = (points.line, points.pixel, points.lon, points.lat, points.height)
    features = [
        {
            "type": "Feature",
            "properties": {"id": str(number), "info": "", "row": (line + 0.5) / y, "col": (pixel + 0.5) / x},
            "geometry": {"type": "Point", "coordinates": [lon, lat, height]},
        }
        for number, (line, pixel, lon, lat, height) in enumerate(zip(*(c.tolist() for c in columns), strict=True), 1)
    ]
    return {"type": "FeatureCollection", "features": features}


def _geotransform(series: Series, level: Level) -> tuple[float, float, float, float, float, float]:
    """(a, b, c, d, e, f) of X = a column + b row + c, Y = d column + e row + f at the samples' outer corners."""
    affine = _level_grid(series, level).affine
    matrix, corner = affine.matrix, affine.to_world((0, -0.5, -0.5))
    a, b, d, e = (float(matrix[row, column]) for row, column in ((0, 2), (0, 1), (1, 2), (1, 1)))
    return a, b, float(corner[0]), d, e, float(corner[1])


def _spatial(series: Series, level: Level) -> dict[str, Any]:
    _, rows, columns = _level_grid(series, level).shape
    return _projection(series) | {
        "spatial:dimensions": ["y", "x"],
        "spatial:transform": list(_geotransform(series, level)),
        "spatial:shape": [rows, columns],
        "spatial:bbox": _bounds(series, level),
    }


def _projection(series: Series) -> dict[str, JSON]:
    crs = CRS.from_user_input(series.grid.space.crs)
    authority = crs.to_authority()
    return {"proj:wkt2": crs.to_wkt()} if authority is None else {"proj:code": ":".join(authority)}


def _bounds(series: Series, level: Level) -> list[float]:
    grid = _level_grid(series, level)
    _, rows, columns = grid.shape
    corners = grid.affine.to_world([(0, y - 0.5, x - 0.5) for y in (0, rows) for x in (0, columns)])
    low, high = corners.min(axis=0), corners.max(axis=0)
    return [float(low[0]), float(low[1]), float(high[0]), float(high[1])]


def _geozarr(series: Series, levels: Sequence[Level]) -> dict[str, Any]:
    layout: list[JSON] = []
    for number, level in enumerate(levels):
        asset = level.path.partition("/")[0]
        ratio = 1.0 if number == 0 else level.factors[1] / levels[number - 1].factors[1]
        item: dict[str, JSON] = {
            "asset": asset,
            "transform": {"scale": [ratio, ratio], "translation": [0.0, 0.0]},
            "spatial:transform": list(_geotransform(series, level)),
            "spatial:shape": list(_level_grid(series, level).shape[1:]),
        }
        if number:
            item["derived_from"] = levels[number - 1].path.partition("/")[0]
        layout.append(item)
    return _projection(series) | {
        "zarr_conventions": [*_CONVENTIONS],
        "multiscales": {"layout": layout, "resampling_method": "average"},
        "spatial:dimensions": ["y", "x"],
        "spatial:bbox": _bounds(series, levels[0]),
    }


def _json_number(value: float | int | complex) -> JSON:
    if isinstance(value, complex):
        raise TypeError("complex numbers are written as a pair")
    if isinstance(value, float) and not np.isfinite(value):
        return "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def consolidated(root: Mapping[str, Any], members: Mapping[str, Any]) -> str:
    """A root ``zarr.json`` that repeats its members' metadata, so that one request tells a reader everything.

    zarr-python writes it in the order in which the file system lists files, and warns that Zarr v3 has not adopted it; the
    same JSON with sorted keys is the same bytes everywhere. Readers that do not know it may ignore it.
    """
    inline = {"kind": "inline", "must_understand": False, "metadata": dict(members)}
    return json.dumps({**root, "consolidated_metadata": inline}, sort_keys=True, separators=(",", ":"), allow_nan=False)
