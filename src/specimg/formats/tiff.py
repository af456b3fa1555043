"""TIFF files through GDAL, and nothing else of GDAL: no other driver, no side-car file, no network.

Used by ``sentinel1`` and ``geotiff``. GDAL counts pixels from the corner; everything that leaves here counts from sample
centres, as the rest of specimg does.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.errors
import rasterio.warp
from rasterio.control import GroundControlPoint
from rasterio.enums import Interleaving
from rasterio.windows import Window as PixelWindow

from specimg.errors import TooLarge, UnreadableFile
from specimg.formats.tiff_directory import whats_cut
from specimg.geometry.radar import ControlPoints

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First four bytes of TIFF and BigTIFF, little and big endian."""

MAX_SAMPLES = 20_000_000_000
"""Forty Sentinel-1 scenes. A TIFF of a few bytes can claim any size."""

MAX_BLOCK_BYTES = 512 * 2**20
"""Largest strip or tile that is decoded at once: GDAL needs all of it for one sample."""

_SAMPLED = 2_000_000

_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no .aux.xml, .ovr, .msk, world file or RPC beside it
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_GEOREF_SOURCES": "INTERNAL",
    "GTIFF_POINT_GEO_IGNORE": "FALSE",
    "GDAL_CACHEMAX": 64,  # MB
    "GDAL_NUM_THREADS": "1",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none",
    "GDAL_HTTP_MAX_RETRY": "0",
    "GDAL_SKIP": "VRT,HTTP,WMS,WMTS,WCS,STACIT,STACTA",
}


@contextmanager
def gdal() -> Iterator[None]:
    """The settings every read and write here runs under."""
    with rasterio.Env(**_OPTIONS), warnings.catch_warnings():
        # No georeference is said in a Series' warnings, in words a person can act on.
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        yield


class TiffFile:
    """An open TIFF. Raises ``UnreadableFile``, naming ``label``, for whatever GDAL does not like about it."""

    def __init__(self, path: Path, label: str) -> None:
        self.label = label
        with path.open("rb") as handle:
            if handle.read(4) not in MAGIC:
                raise self.refused("header", "it is not a TIFF", "Convert it with gdal_translate -of GTiff.")
        cut = whats_cut(path)
        if cut is not None:
            raise self.refused("file size", f"it is cut short: {cut} is missing", "Copy or download it again.")
        try:
            with gdal():
                self.dataset = rasterio.open(path.resolve(), driver="GTiff", sharing=False)
        except rasterio.errors.RasterioError as error:
            raise self.refused("header", "it is damaged or not complete", "Export or download it again.") from error
        try:
            self._require_sane()
        except Exception:
            self.close()
            raise

    @property
    def shape(self) -> tuple[int, int, int]:
        """(bands, rows, columns)."""
        return self.dataset.count, self.dataset.height, self.dataset.width

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of all bands."""
        dtype: np.dtype[Any] = np.dtype(self.dataset.dtypes[0])
        return dtype

    def read(self, band: int, start: Sequence[int], stop: Sequence[int]) -> npt.NDArray[Any]:
        """(rows, columns) of ``band`` (from 0) with ``start <= (row, column) < stop``, native byte order."""
        window = PixelWindow(start[1], start[0], stop[1] - start[1], stop[0] - start[0])
        try:
            with gdal():
                return np.asarray(self.dataset.read(band + 1, window=window))
        except rasterio.errors.RasterioError as error:
            where = f"samples of rows {start[0]} to {stop[0] - 1}"
            raise self.refused(where, "they cannot be decoded", "The file is damaged; download it again.") from error

    def sampled(self, band: int) -> npt.NDArray[Any]:
        """Up to two million samples from blocks spread over the image: enough for a first stretch, never the whole file."""
        rows, columns = self.dataset.block_shapes[band]
        down, across = math.ceil(self.dataset.height / rows), math.ceil(self.dataset.width / columns)
        wanted = max(1, min(64, _SAMPLED // (rows * columns), down * across))
        chosen = np.unique(np.linspace(0, down * across - 1, wanted + 2).round().astype(int)[1:-1])
        parts = []
        for block in chosen:
            top, left = int(block) // across * rows, int(block) % across * columns
            stop = (min(top + rows, self.dataset.height), min(left + columns, self.dataset.width))
            parts.append(self.read(band, (top, left), stop).ravel())
        return np.concatenate(parts)

    def control_points(self) -> ControlPoints | None:
        """Ground control points in WGS 84 at sample indices, or ``None``."""
        points, crs = self.dataset.gcps
        if not points:
            return None
        if crs is None:
            raise self.refused(
                "ground control points",
                "they have no CRS",
                "Write one with gdal_translate -a_gcps_srs, e.g. EPSG:4326.",
            )
        column, row = np.array([p.col for p in points]), np.array([p.row for p in points])
        lon, lat = np.array([p.x for p in points]), np.array([p.y for p in points])
        if crs.to_epsg() != 4326:
            with gdal():
                lon, lat = (np.array(v) for v in rasterio.warp.transform(crs, "EPSG:4326", lon.tolist(), lat.tolist()))
        line, pixel = self._index(row, self.dataset.height), self._index(column, self.dataset.width)
        return ControlPoints(line, pixel, lon, lat, np.array([p.z or 0.0 for p in points]))

    def refused(self, field: str, problem: str, remedy: str) -> UnreadableFile:
        """An error about this file."""
        return UnreadableFile(file=self.label, field=field, problem=problem, remedy=remedy)

    def close(self) -> None:
        """Release the file."""
        self.dataset.close()

    def _require_sane(self) -> None:
        bands, rows, columns = self.shape
        if bands < 1 or bands * rows * columns > MAX_SAMPLES:
            raise TooLarge(f"{self.label}: {bands} x {rows} x {columns} samples; at most {MAX_SAMPLES} are read")
        if len(set(self.dataset.dtypes)) != 1:
            raise self.refused("SampleFormat", "its bands have different types", "Write one file per type.")
        block_rows, block_columns = self.dataset.block_shapes[0]
        together = bands if self.dataset.interleaving is Interleaving.pixel else 1
        if together * block_rows * block_columns * self.dtype.itemsize > MAX_BLOCK_BYTES:
            raise TooLarge(
                f"{self.label}: it is stored as one block of {block_rows} x {block_columns} samples; "
                "rewrite it in tiles: gdal_translate -co TILED=YES"
            )

    def _index(self, positions: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.float64]:
        """Index of corner-based GCP positions along an axis.

        Sentinel-1's own processor writes sample indices where GDAL expects corners: its grid runs from 0 to N - 1 on N
        samples. A resized copy scales those numbers by s = size / N and so runs from 0 to size - s, which tells s, and
        that a written position p belongs to corner p + s / 2.
        """
        step = size - positions.max()
        is_sentinel1 = str(self.dataset.tags().get("TIFFTAG_SOFTWARE", "")).startswith("Sentinel-1 IPF")
        if is_sentinel1 and positions.min() == 0 and 0 < step <= 1:
            return np.asarray(positions + step / 2 - 0.5)
        return np.asarray(positions - 0.5)


def to_gdal(points: ControlPoints) -> list[GroundControlPoint]:
    """Control points as GDAL counts: from the corner of the first sample."""
    columns = zip(points.line, points.pixel, points.lon, points.lat, points.height, strict=True)
    return [GroundControlPoint(row=y + 0.5, col=x + 0.5, x=lon, y=lat, z=z) for y, x, lon, lat, z in columns]
