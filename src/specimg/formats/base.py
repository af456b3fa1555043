"""What a Format is, and the values it exchanges with the rest of specimg.

A Format turns files from outside into ``Series``. It runs inside a limited child process (``formats.sandbox``), so
everything that leaves it is plain JSON and raw samples: no objects cross, and nothing is unpickled.

A label format turns a file into a ``Mask`` and back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from specimg.geometry.grid import Grid

Kind = Literal["volume", "raster"]


@dataclass(frozen=True, slots=True)
class Window:
    """A suggested window in the channel's unit: centre and width as DICOM PS3.3 C.11.2.1.2 defines them."""

    name: str
    center: float
    width: float


@dataclass(frozen=True, slots=True)
class Channel:
    """One component of a sample. ``unit`` is what *real* values (after ``Rescale`` or calibration) are in.

    Units in use: ``HU``, ``1`` (dimensionless), ``DN`` (amplitude as delivered), ``dB`` (already in decibel) or a UCUM code.
    """

    name: str
    unit: str
    windows: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True)
class Rescale:
    """``real = stored * slope + intercept`` (DICOM modality LUT, NIfTI scl_slope/scl_inter).

    One value, or one per index along z where planes differ (PET).
    """

    slope: tuple[float, ...] = (1.0,)
    intercept: tuple[float, ...] = (0.0,)

    def at(self, z: int) -> tuple[float, float]:
        """Slope and intercept of plane ``z``."""
        slope = self.slope[z if len(self.slope) > 1 else 0]
        intercept = self.intercept[z if len(self.intercept) > 1 else 0]
        return slope, intercept

    @property
    def is_identity(self) -> bool:
        """Whether stored values are real values."""
        return set(self.slope) == {1.0} and set(self.intercept) == {0.0}


@dataclass(frozen=True, slots=True)
class Series:
    """One image that a Format found, described before any sample is read.

    ``axes`` is a subset of ``t c z y x`` in that order; volumes have z, y, x, rasters c, y, x. ``shape`` matches it.
    ``dtype`` is a little-endian NumPy name (``int16``, ``uint16``, ``float32``…). ``grid`` is always (z, y, x), z = 1 for
    a raster. Samples are *stored* values; ``rescale`` and ``radar`` say how to get real ones. ``source`` is what the
    Format needs again on export (DICOM UIDs, NIfTI codes), ``files`` the source's files in sample order, relative to it.
    Nothing in a Series identifies a patient.
    """

    key: str
    name: str
    kind: Kind
    modality: str
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    grid: Grid
    channels: tuple[Channel, ...]
    rescale: Rescale = Rescale()
    nodata: float | None = None
    radar: Mapping[str, Any] | None = None
    """JSON of ``geometry.radar.RadarGeometry``: ground control points, calibration and noise tables, look side."""
    warnings: tuple[str, ...] = ()
    """What a person must know before trusting the geometry or the values, in full sentences."""
    source: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """JSON form, as it crosses the process boundary and as it is stored with the image."""
        return {
            "key": self.key,
            "name": self.name,
            "kind": self.kind,
            "modality": self.modality,
            "axes": list(self.axes),
            "shape": list(self.shape),
            "dtype": self.dtype,
            "grid": self.grid.to_json(),
            "channels": [
                {
                    "name": c.name,
                    "unit": c.unit,
                    "windows": [{"name": w.name, "center": w.center, "width": w.width} for w in c.windows],
                }
                for c in self.channels
            ],
            "rescale": {"slope": list(self.rescale.slope), "intercept": list(self.rescale.intercept)},
            # JSON has no NaN; a browser would refuse the whole text.
            "nodata": "NaN" if self.nodata is not None and isnan(self.nodata) else self.nodata,
            "radar": self.radar,
            "warnings": list(self.warnings),
            "source": dict(self.source),
            "files": list(self.files),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Series:
        """From ``to_json``. The child is not trusted: shapes, axes and dtype are checked. Raises ``ValueError``."""
        axes, shape = tuple(value["axes"]), tuple(int(n) for n in value["shape"])
        order = [("t", "c", "z", "y", "x").index(axis) for axis in axes]
        if order != sorted(set(order)) or len(axes) != len(shape) or axes[-2:] != ("y", "x"):
            raise ValueError("axes must be a subset of t c z y x in that order, ending in y x")
        if any(n < 1 for n in shape):
            raise ValueError("every axis needs at least one sample")
        dtype = np.dtype(str(value["dtype"]))
        if dtype.kind not in "iufc" or dtype.byteorder == ">":
            raise ValueError("samples are little-endian integers, floats or complex numbers")
        if value["kind"] not in ("volume", "raster"):
            raise ValueError("kind is volume or raster")
        grid = Grid.from_json(value["grid"])
        sizes = dict(zip(axes, shape, strict=True))
        if grid.shape != (sizes.get("z", 1), sizes["y"], sizes["x"]):
            raise ValueError("grid and shape disagree")
        return cls(
            key=str(value["key"]),
            name=str(value["name"]),
            kind=value["kind"],
            modality=str(value["modality"]),
            axes=axes,
            shape=shape,
            dtype=dtype.name,
            grid=grid,
            channels=tuple(
                Channel(
                    str(c["name"]),
                    str(c["unit"]),
                    tuple(Window(str(w["name"]), float(w["center"]), float(w["width"])) for w in c["windows"]),
                )
                for c in value["channels"]
            ),
            rescale=Rescale(
                tuple(float(v) for v in value["rescale"]["slope"]),
                tuple(float(v) for v in value["rescale"]["intercept"]),
            ),
            nodata=None if value["nodata"] is None else float(value["nodata"]),
            radar=value["radar"],
            warnings=tuple(str(w) for w in value["warnings"]),
            source=dict(value["source"]),
            files=tuple(str(f) for f in value["files"]),
        )


class OpenSeries(Protocol):
    """A Series whose samples can be read. Any order of reads gives the same samples."""

    @property
    def series(self) -> Series:
        """The description; known before any sample is decoded."""
        ...

    def read(self, start: Sequence[int], stop: Sequence[int]) -> npt.NDArray[Any]:
        """Stored samples with ``start <= index < stop`` along ``series.axes``; dtype as declared, C order.

        Peak memory is of the order of the box, not of the series. Raises ``UnreadableFile``.
        """
        ...

    def close(self) -> None:
        """Release files."""
        ...


@runtime_checkable
class Format(Protocol):
    """A plug-in of the group ``specimg.formats``: an object with these members.

    ``open`` gets one claimed file or folder at a time, so that one that is refused does not keep the others out. A format
    whose images are spread over files (a DICOM series) has a method ``split(paths, root) -> list[list[Path]]`` besides,
    which says what belongs together. ``specimg.testing.contracts.FormatContract`` holds what each must promise.
    """

    @property
    def name(self) -> str:
        """Short, lower case, stable: it is stored with each image."""
        ...

    def sniff(self, path: Path, head: bytes) -> bool:
        """Whether this format reads ``path``. ``head`` holds the first 4 KiB of a file and is empty for a folder."""
        ...

    def open(self, paths: Sequence[Path], root: Path) -> list[OpenSeries]:
        """Open the files (or folders) this format claimed below ``root``.

        Raises ``UnreadableFile`` naming the file relative to ``root``, the field and the remedy.
        """
        ...


@dataclass(frozen=True, slots=True)
class MaskClass:
    """A label value of a mask and what it stands for. ``code`` is (value, scheme, meaning), e.g. SNOMED CT."""

    label: int
    name: str
    color: str = "#ff0000"
    code: tuple[str, str, str] | None = None
    category: tuple[str, str, str] | None = None
    algorithm: str | None = None
    """Name and version of the model where one proposed this; ``None`` where people drew it."""


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """Label voxels as they leave and enter: uint16 (z, y, x) on a grid; 0 is background."""

    voxels: npt.NDArray[np.uint16]
    grid: Grid
    classes: tuple[MaskClass, ...]


@dataclass(frozen=True, slots=True)
class ShapeRecord:
    """A vector label as it leaves and enters: ``labels.shapes.Shape`` without its rules, for formats below it.

    ``points`` are (z, y, x) in index space, integers at sample centres. A polygon does not repeat its first point; a box is
    its smaller and its larger corner. ``holes`` are rings of a polygon.
    """

    id: str
    kind: Literal["point", "polyline", "polygon", "box"]
    label: int
    points: tuple[tuple[float, float, float], ...]
    holes: tuple[tuple[tuple[float, float, float], ...], ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
