"""GeoTIFF and COG: map-projected rasters, rasters with ground control points, plain TIFFs; label masks on the same grid.

GeoTIFF's affine leads to pixel corners; inside specimg an index is a sample centre. Rotated affines are kept as they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.transform import Affine as CornerAffine
from rasterio.windows import Window as PixelWindow
from scipy import ndimage

from specimg.errors import InvalidInput, TooLarge, UnreadableFile
from specimg.formats.base import Channel, Mask, MaskClass, OpenSeries, Rescale, Series, Window
from specimg.formats.tiff import MAGIC, TiffFile, gdal, to_gdal
from specimg.geometry.affine import Affine
from specimg.geometry.grid import Grid, Space
from specimg.geometry.radar import ControlPoints, RadarGeometry

MAX_BANDS = 1024

_POLARISATION = re.compile(r"(?:^|[^a-z])(vv|vh|hh|hv)(?:[^a-z]|$)", re.IGNORECASE)
_DECIBEL = re.compile(r"(?:^|[^a-z])db(?:[^a-z]|$)", re.IGNORECASE)
_RADAR_MAKERS = ("Sentinel-1 IPF",)
_CLASS_TAG = re.compile(r"^CLASS_(\d{1,5})$")
_MASK_BLOCK = 512
_MASK_ROWS = 4 * _MASK_BLOCK


class GeoTiff:
    """The format plug-in."""

    name = "geotiff"

    def sniff(self, path: Path, head: bytes) -> bool:
        """Any TIFF by its first bytes. A VRT or a PNG with a .tif name is none."""
        return head[:4] in MAGIC

    def open(self, paths: Sequence[Path], root: Path) -> list[OpenSeries]:
        """One series a file."""
        return [_open(path, root) for path in paths]


GEOTIFF = GeoTiff()


class OpenTiff:
    """Bands of one file."""

    def __init__(self, series: Series, file: TiffFile) -> None:
        self._series, self._file = series, file

    @property
    def series(self) -> Series:
        """What was found."""
        return self._series

    def read(self, start: Sequence[int], stop: Sequence[int]) -> npt.NDArray[Any]:
        """Stored samples along (c, y, x)."""
        bands = [self._file.read(c, start[1:], stop[1:]) for c in range(start[0], stop[0])]
        return np.stack(bands)

    def close(self) -> None:
        """Release the file."""
        self._file.close()


def _open(path: Path, root: Path) -> OpenTiff:
    label = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
    file = TiffFile(path, label)
    try:
        return OpenTiff(_describe(file, path), file)
    except Exception:
        file.close()
        raise


def _describe(file: TiffFile, path: Path) -> Series:
    bands = file.shape[0]
    if file.dtype.kind == "c":
        raise file.refused(
            "SampleFormat",
            f"samples are complex ({file.dtype}), as in single-look radar data",
            "Detect them first: write the amplitude, e.g. with gdal_calc or the producer's own tool.",
        )
    if file.dtype.kind not in "iuf" or bands > MAX_BANDS:
        raise file.refused(
            "SampleFormat", f"{bands} bands of {file.dtype} are not read", "Write numbers, 1024 bands at most."
        )
    warnings: list[str] = []
    grid, points = _grid(file, warnings)
    samples = [file.sampled(band) for band in range(bands)]
    names = _names(file, path)
    rescale = _rescale(file, warnings)
    nodata = _nodata(file, warnings)
    is_radar = _is_radar(file, names)
    channels = tuple(
        _channel(
            name, _unit(file, path, band, name, samples[band], is_radar), file.dtype, samples[band], nodata, rescale
        )
        for band, name in enumerate(names)
    )
    if any(flag.name == "per_dataset" for flags in file.dataset.mask_flag_enums for flag in flags):
        warnings.append("The file has a mask band of its own, which is not read: masked samples are shown.")
    return Series(
        key=path.stem,
        name=path.stem,
        kind="raster",
        modality="SAR" if is_radar else "OT",
        axes=("c", "y", "x"),
        shape=file.shape,
        dtype=file.dtype.name,
        grid=grid,
        channels=channels,
        rescale=rescale,
        nodata=nodata,
        radar=None if points is None else _radar(points, names, warnings).to_json(),
        warnings=tuple(warnings),
        files=(file.label,),
    )


def _grid(file: TiffFile, warnings: list[str]) -> tuple[Grid, ControlPoints | None]:
    """Map, else control points, else plain pixels."""
    _, rows, columns = file.shape
    corner, crs = file.dataset.transform, file.dataset.crs
    pixel_grid = Grid((1, rows, columns), Affine.identity(), Space("pixel"))
    if not corner.is_identity and crs is not None:
        try:
            return Grid((1, rows, columns), affine_of(corner), Space("map", crs_name(crs))), None
        except InvalidInput as error:
            raise file.refused("ModelTransformation", "it is singular", "Georeference the file again.") from error
    points = file.control_points()
    if points is not None:
        return Grid((1, rows, columns), Affine.identity(), Space("radar")), points
    if crs is not None:
        warnings.append("The file names a CRS but not where its samples lie in it: there is no ground position.")
    elif not corner.is_identity:
        warnings.append("The file has an affine but no CRS to say of what: there is no ground position.")
    else:
        warnings.append("The file has no georeference: there is no ground position.")
    if file.dataset.rpcs is not None:
        warnings.append("Its rational polynomial coefficients (RPC) are not used.")
    return pixel_grid, None


def affine_of(corner: CornerAffine) -> Affine:
    """From GDAL's affine, which leads to the outer corner of the first sample, to that of sample centres."""
    return Affine.from_steps(
        z=(0, 0, 1),
        y=(corner.b, corner.e, 0),
        x=(corner.a, corner.d, 0),
        origin=(corner.c + (corner.a + corner.b) / 2, corner.f + (corner.d + corner.e) / 2, 0),
    )


def corner_of(affine: Affine) -> CornerAffine:
    """Back to GDAL's."""
    m = affine.matrix
    a, b, d, e = (float(v) for v in (m[0, 2], m[0, 1], m[1, 2], m[1, 1]))
    return CornerAffine(a, b, float(m[0, 3]) - (a + b) / 2, d, e, float(m[1, 3]) - (d + e) / 2)


def crs_name(crs: CRS) -> str:
    """``EPSG:…`` where that says all, else WKT 2."""
    authority = crs.to_authority(confidence_threshold=100)
    if authority is not None and CRS.from_authority(*authority) == crs:
        return ":".join(authority)
    return str(crs.to_wkt(version="WKT2_2019"))


def _names(file: TiffFile, path: Path) -> list[str]:
    """Band descriptions where they tell bands apart, else colours, else the one polarisation in the name, else numbers."""
    described = [(text or "").strip()[:64] for text in file.dataset.descriptions]
    if all(described) and len(set(described)) == len(described):
        return described
    colors = [color.name for color in file.dataset.colorinterp]
    if len(colors) > 1 and set(colors) <= {"red", "green", "blue", "alpha"} and len(set(colors)) == len(colors):
        return colors
    polarisation = _POLARISATION.search(path.stem)
    if file.shape[0] == 1 and polarisation is not None:
        return [polarisation[1].upper()]
    return [f"band {number}" for number in range(1, file.shape[0] + 1)]


def _is_radar(file: TiffFile, names: Sequence[str]) -> bool:
    tags = file.dataset.tags()
    if str(tags.get("TIFFTAG_SOFTWARE", "")).startswith(_RADAR_MAKERS) or "CALIBRATION_FACTOR" in tags:
        return True
    return any(_POLARISATION.search(name) for name in names)


def _unit(file: TiffFile, path: Path, band: int, name: str, samples: npt.NDArray[Any], is_radar: bool) -> str:
    """What real values are in. Amplitude and power cannot be negative, so negative radar brightness is in decibel."""
    said = (file.dataset.units[band] or "").strip()
    if said:
        return "dB" if said.lower() == "db" else said[:32]
    if _DECIBEL.search(name) or _DECIBEL.search(path.stem):
        return "dB"
    if is_radar:
        finite = samples[np.isfinite(samples)] if samples.dtype.kind == "f" else samples
        if samples.dtype.kind == "f" and finite.size and np.median(finite) < 0:
            return "dB"
        return "DN" if samples.dtype.kind == "u" else "1"
    return "1"


def _channel(
    name: str, unit: str, dtype: np.dtype[Any], samples: npt.NDArray[Any], nodata: float | None, rescale: Rescale
) -> Channel:
    known = samples[np.isfinite(samples)] if dtype.kind == "f" else samples
    if nodata is not None:
        known = known[known != nodata]
    if dtype == np.uint8 and rescale.is_identity and unit != "DN":
        return Channel(name, unit, (Window("all", 127.5, 255.0),))
    if known.size == 0:
        return Channel(name, unit)
    if unit == "DN":
        # As ``sentinel1`` does: brightness is looked at in decibel.
        known = known[known > 0]
        low, high = 20 * np.log10(np.percentile(known, (2, 98))) if known.size else (20.0, 60.0)
        return Channel(name, unit, (Window("amplitude dB", float(low + high) / 2, max(float(high - low), 1.0)),))
    slope, intercept = rescale.at(0)
    low, high = sorted(float(v) * slope + intercept for v in np.percentile(known, (2, 98)))
    return Channel(name, unit, (Window("most of it", (low + high) / 2, max(high - low, 1e-6)),))


def _rescale(file: TiffFile, warnings: list[str]) -> Rescale:
    pairs = set(zip(file.dataset.scales, file.dataset.offsets, strict=True))
    if len(pairs) > 1:
        warnings.append("Bands have different scale and offset: values are shown as stored.")
        return Rescale()
    slope, intercept = pairs.pop()
    return Rescale((float(slope),), (float(intercept),))


def _nodata(file: TiffFile, warnings: list[str]) -> float | None:
    """One value for all bands. NaN needs no saying: it is never a value."""
    values = {None if value is None or np.isnan(value) else float(value) for value in file.dataset.nodatavals}
    if values == {None} and str(file.dataset.tags().get("TIFFTAG_SOFTWARE", "")).startswith("Sentinel-1 IPF"):
        return 0.0  # the border of every detected Sentinel-1 product
    if len(values) > 1:
        warnings.append("Bands have different no-data values: none is used.")
        return None
    return values.pop()


def _radar(points: ControlPoints, names: Sequence[str], warnings: list[str]) -> RadarGeometry:
    missing = (
        "There is no annotation: ground positions are interpolated between control points, at the heights these have.",
        "There is no calibration: values are as delivered.",
    )
    warnings.extend(missing)
    polarisations = tuple(m[1].upper() for name in names if (m := _POLARISATION.search(name)))
    return RadarGeometry(polarisations=polarisations, gcps=points, calibration=None, missing=missing)


# Masks ---------------------------------------------------------------------------------------------------------------


def read_mask(path: Path, reference: Series | None) -> Mask:
    """A single-band label raster. Declared no-data becomes background (0).

    It must lie on the grid of ``reference``: nothing is resampled. Class names and colours come from what ``write_mask``
    writes, or from the colour table. Raises ``UnreadableFile``.
    """
    file = TiffFile(path, path.name)
    try:
        if file.shape[0] != 1 or file.dtype.kind not in "iu":
            raise file.refused(
                "bands", "a label raster has one band of whole numbers", "Write class numbers to one band."
            )
        grid, _ = _grid(file, [])
        if reference is not None:
            grid = _on_grid_of(file, grid, reference)
        stored = file.read(0, (0, 0), file.shape[1:])
        nodata = file.dataset.nodata
        if nodata is not None:
            stored = np.where(stored == nodata, 0, stored)
        if stored.size and (int(stored.min()) < 0 or int(stored.max()) > 65_535):
            raise file.refused(
                "values",
                f"they run from {stored.min()} to {stored.max()}; labels are 0 to 65535",
                "If one stands for unlabelled, declare it: gdal_edit.py -a_nodata VALUE.",
            )
        voxels = stored.astype(np.uint16)[None]
        return Mask(voxels, grid, _classes(file, voxels))
    finally:
        file.close()


def _on_grid_of(file: TiffFile, grid: Grid, reference: Series) -> Grid:
    differs: str | None
    if grid.space.kind == "map" and reference.grid.space.kind == "map":
        differs = reference.grid.matches(grid)
    else:
        # Radar and pixel planes are their own coordinates: the same size is the same grid.
        differs = None if grid.shape == reference.grid.shape else f"shape {grid.shape} against {reference.grid.shape}"
    if differs is not None:
        raise file.refused(
            "grid",
            f"it does not lie on the image's grid: {differs}",
            "Warp it there first: gdalwarp -r near -te … -ts ….",
        )
    return reference.grid


def _classes(file: TiffFile, voxels: npt.NDArray[np.uint16]) -> tuple[MaskClass, ...]:
    named = {int(m[1]): text for key, text in file.dataset.tags(1).items() if (m := _CLASS_TAG.match(key))}
    try:
        colors = file.dataset.colormap(1)
    except ValueError:
        colors = {}
    # One pass without a copy: a scene's labels are most of a gigabyte.
    present = {label for label, place in enumerate(ndimage.find_objects(voxels), start=1) if place is not None}
    classes = []
    for label in sorted(present | set(named) - {0}):
        red, green, blue = colors.get(label, (255, 0, 0, 255))[:3]
        classes.append(MaskClass(label, named.get(label, f"class {label}")[:200], f"#{red:02x}{green:02x}{blue:02x}"))
    return tuple(classes)


def write_mask(mask: Mask, path: Path, reference: Series, originals: Sequence[Path]) -> tuple[str, ...]:
    """A tiled, deflated GeoTIFF on the image's own grid: uint8, or uint16 where labels need it. Returns warnings.

    Georeference comes verbatim from an original TIFF of the same size where there is one, so that a GIS lays the mask
    exactly over it; otherwise from the grid, or from the control points of the annotation. Class names are band metadata
    (``CLASS_1=Water``), colours the colour table. 0 is background and not declared as no data.
    """
    if mask.grid.shape[0] != 1:
        raise InvalidInput("a GeoTIFF holds rasters, not volumes; use NIfTI or DICOM SEG", field="format")
    _, rows, columns = mask.grid.shape
    highest = max([int(mask.voxels.max(initial=0)), *(c.label for c in mask.classes)])
    dtype = "uint8" if highest < 256 else "uint16"
    profile: dict[str, Any] = {
        "driver": "GTiff", "width": columns, "height": rows, "count": 1, "dtype": dtype,
        "compress": "deflate", "tiled": True, "blockxsize": _MASK_BLOCK, "blockysize": _MASK_BLOCK,
        "BIGTIFF": "IF_SAFER", **_georeference(mask.grid, reference, originals),
    }  # fmt: skip
    warnings = []
    if "crs" not in profile:
        warnings.append("The image has no georeference, so neither has the mask.")
    with gdal(), rasterio.open(path, "w", **profile) as out:
        for top in range(0, rows, _MASK_ROWS):
            bottom = min(top + _MASK_ROWS, rows)
            strip = np.ascontiguousarray(mask.voxels[0, top:bottom], dtype)
            out.write(strip, 1, window=PixelWindow(0, top, columns, bottom - top))
        out.write_colormap(1, {0: (0, 0, 0, 255), **{c.label: _rgba(c.color) for c in mask.classes}})
        out.update_tags(1, **{f"CLASS_{c.label}": c.name for c in mask.classes})
        out.set_band_description(1, "label")
    return tuple(warnings)


def _georeference(grid: Grid, reference: Series, originals: Sequence[Path]) -> dict[str, Any]:
    for original in originals:
        found = _georeference_of(original, grid)
        if found:
            return found
    if grid.space.kind == "map":
        return {"crs": CRS.from_user_input(grid.space.crs), "transform": corner_of(grid.affine)}
    if reference.radar is not None:
        points = RadarGeometry.from_json(reference.radar).gcps
        if points is not None:
            return {"crs": CRS.from_epsg(4326), "gcps": to_gdal(points)}
    return {}


def _georeference_of(original: Path, grid: Grid) -> dict[str, Any]:
    """Of one original file; empty if it is no TIFF of this size with a georeference."""
    try:
        file = TiffFile(original, original.name)
    except (UnreadableFile, TooLarge):
        return {}
    try:
        if file.shape[1:] != grid.shape[1:]:
            return {}
        points: tuple[list[GroundControlPoint], CRS | None] = file.dataset.gcps
        if points[0] and points[1] is not None:
            return {"crs": points[1], "gcps": points[0]}
        if file.dataset.crs is not None and not file.dataset.transform.is_identity:
            return {"crs": file.dataset.crs, "transform": file.dataset.transform}
        return {}
    finally:
        file.close()


def _rgba(color: str) -> tuple[int, int, int, int]:
    """``#rrggbb``."""
    match = re.fullmatch(r"#([0-9a-fA-F]{6})", color)
    value = int(match[1], 16) if match else 0xFF0000
    return value >> 16, value >> 8 & 255, value & 255, 255
