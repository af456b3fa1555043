"""RadarGeometry: what a radar product says about where its samples lie and what their numbers mean.

Line and pixel are array indices y and x: integers are sample *centres*, counted from 0. Sentinel-1 annotation counts the
same way (its grid ends at ``numberOfLines - 1``, and pixel 0 has the slant range time of the first sample).
``docs/radar.md`` has the formulas and their sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from specimg.errors import InvalidInput

Array = npt.NDArray[np.float64]
Brightness = Literal["sigma0", "beta0", "gamma0"]

MAX_CONTROL_POINTS = 100_000
MAX_TABLE_VALUES = 4_000_000


@dataclass(frozen=True, slots=True, eq=False)
class ControlPoints:
    """Ground control points: (n,) arrays of line, pixel, longitude and latitude (degrees, WGS 84) and height (m, ellipsoid).

    ``azimuth_time`` (s after the epoch of the ``Orbit``) and ``incidence`` (degrees from the normal of the ellipsoid) are
    there where the product says them. Raises ``InvalidInput``.
    """

    line: Array
    pixel: Array
    lon: Array
    lat: Array
    height: Array
    azimuth_time: Array | None = None
    incidence: Array | None = None

    def __post_init__(self) -> None:
        columns = [self.line, self.pixel, self.lon, self.lat, self.height, self.azimuth_time, self.incidence]
        known = [column for column in columns if column is not None]
        if any(column.shape != self.line.shape or column.ndim != 1 for column in known):
            raise InvalidInput("control points have one value a point in every column", field="gcps")
        if not 1 <= self.line.size <= MAX_CONTROL_POINTS:
            raise InvalidInput(f"a product has 1 to {MAX_CONTROL_POINTS} control points", field="gcps")
        if not all(np.isfinite(column).all() for column in known):
            raise InvalidInput("a control point is not a finite number", field="gcps")
        if (np.abs(self.lat) > 90).any() or (np.abs(self.lon) > 360).any():
            raise InvalidInput("a control point lies off the Earth: longitude and latitude are degrees", field="gcps")

    def __len__(self) -> int:
        return self.line.size

    def to_json(self) -> dict[str, Any]:
        """Columns; the viewer reads ``line``, ``pixel``, ``lon``, ``lat`` and ``height``."""
        columns = ("line", "pixel", "lon", "lat", "height", "azimuth_time", "incidence")
        values = {name: getattr(self, name) for name in columns}
        return {name: None if column is None else column.tolist() for name, column in values.items()}

    @classmethod
    def from_json(cls, value: Any) -> ControlPoints:
        """From ``to_json``; raises ``InvalidInput``."""
        try:
            required = {name: _column(value[name]) for name in ("line", "pixel", "lon", "lat", "height")}
            times, angles = value.get("azimuth_time"), value.get("incidence")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInput("control points need line, pixel, lon, lat and height", field="gcps") from error
        return cls(
            **required,
            azimuth_time=None if times is None else _column(times),
            incidence=None if angles is None else _column(angles),
        )


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationTable:
    """The gain A of one polarisation on a lattice of (m,) lines and (n,) pixels: brightness is ``DN² / A²``.

    ``sigma0`` is (m, n); ``beta0`` and ``gamma0`` are (m, n) or absent. The absolute calibration constant is already in
    them (ESA-EOPG-CSCOP-TN-0002 §4). Raises ``InvalidInput``.
    """

    lines: Array
    pixels: Array
    sigma0: Array
    beta0: Array | None = None
    gamma0: Array | None = None

    def __post_init__(self) -> None:
        for axis in (self.lines, self.pixels):
            if axis.ndim != 1 or axis.size < 1 or not np.isfinite(axis).all() or (np.diff(axis) <= 0).any():
                raise InvalidInput("lines and pixels of a calibration table must grow", field="calibration")
        shape = (self.lines.size, self.pixels.size)
        for gains in (self.sigma0, self.beta0, self.gamma0):
            if gains is not None and (gains.shape != shape or not np.isfinite(gains).all() or (gains <= 0).any()):
                raise InvalidInput("every gain of a calibration table is a positive number", field="calibration")
        if self.sigma0.size > MAX_TABLE_VALUES:
            raise InvalidInput(f"a calibration table has at most {MAX_TABLE_VALUES} values", field="calibration")

    def gain(self, line: npt.ArrayLike, pixel: npt.ArrayLike, *, brightness: Brightness = "sigma0") -> Array:
        """A at every (line, pixel): (rows, columns) for (rows,) lines and (columns,) pixels, numbers for numbers.

        Bilinear in A, as TN-0002 §4 asks (not in A²), and held beyond the last vector: products place it both before
        and after the last line. Raises ``InvalidInput`` if the table lacks this brightness.
        """
        table = getattr(self, brightness)
        if table is None:
            raise InvalidInput(f"this product has no {brightness} table", field="calibration")
        lines, pixels = np.asarray(line, np.float64), np.asarray(pixel, np.float64)
        row, down = _held_cell(self.lines, np.atleast_1d(lines))
        # Rows that no line asks for are left alone: a tile needs two of them.
        used, row = np.unique(np.concatenate([row, np.minimum(row + 1, self.lines.size - 1)]), return_inverse=True)
        along = np.stack([np.interp(np.atleast_1d(pixels), self.pixels, table[r]) for r in used])
        upper, lower = along[row[: down.size]], along[row[down.size :]]
        gains = upper + down[:, None] * (lower - upper)
        return np.asarray(gains.reshape(lines.shape + pixels.shape))

    def incidence(self, line: npt.ArrayLike, pixel: npt.ArrayLike) -> Array:
        """Incidence angle on the ellipsoid in degrees, from the tables alone: ``cos θ = A_gamma² / A_sigma²``.

        gamma0 = sigma0 / cos θ and beta0 = sigma0 / sin θ, so where gamma0 is missing ``sin θ = A_beta² / A_sigma²``.
        """
        sigma = self.gain(line, pixel) ** 2
        if self.gamma0 is not None:
            return np.asarray(np.degrees(np.arccos(np.clip(self._square("gamma0", line, pixel) / sigma, -1, 1))))
        return np.asarray(np.degrees(np.arcsin(np.clip(self._square("beta0", line, pixel) / sigma, -1, 1))))

    def _square(self, brightness: Brightness, line: npt.ArrayLike, pixel: npt.ArrayLike) -> Array:
        return np.asarray(self.gain(line, pixel, brightness=brightness) ** 2)

    def simplified(self) -> CalibrationTable:
        """The same table without vectors that equal both neighbours: exact, and the gain of GRD never varies with line."""
        keep = np.ones(self.lines.size, bool)
        for row in range(1, self.lines.size - 1):
            tables = [table for table in (self.sigma0, self.beta0, self.gamma0) if table is not None]
            keep[row] = any(not np.array_equal(t[row], t[k]) for t in tables for k in (row - 1, row + 1))
        return CalibrationTable(
            lines=self.lines[keep],
            pixels=self.pixels,
            sigma0=self.sigma0[keep],
            beta0=None if self.beta0 is None else self.beta0[keep],
            gamma0=None if self.gamma0 is None else self.gamma0[keep],
        )

    def to_json(self) -> dict[str, Any]:
        """``{lines, pixels, sigma0: [[…]], beta0, gamma0}``."""
        tables = {name: getattr(self, name) for name in get_args(Brightness)}
        return {
            "lines": self.lines.tolist(),
            "pixels": self.pixels.tolist(),
            **{name: None if table is None else table.tolist() for name, table in tables.items()},
        }

    @classmethod
    def from_json(cls, value: Any) -> CalibrationTable:
        """From ``to_json``; raises ``InvalidInput``."""
        try:
            tables = {name: value.get(name) for name in get_args(Brightness)}
            return cls(
                lines=_column(value["lines"]),
                pixels=_column(value["pixels"]),
                sigma0=np.array(tables["sigma0"], np.float64),
                beta0=None if tables["beta0"] is None else np.array(tables["beta0"], np.float64),
                gamma0=None if tables["gamma0"] is None else np.array(tables["gamma0"], np.float64),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInput("a calibration table needs lines, pixels and sigma0", field="calibration") from error


def sigma0(
    dn: npt.ArrayLike,
    table: CalibrationTable,
    line: npt.ArrayLike,
    pixel: npt.ArrayLike,
    *,
    brightness: Brightness = "sigma0",
) -> npt.NDArray[np.float32]:
    """Linear power ``|DN|² / A²`` of (rows, columns) samples at (rows,) lines and (columns,) pixels.

    Noise is not removed. DN = 0 is border or no signal and gives 0, which ``decibel`` turns into NaN.
    Source: ESA-EOPG-CSCOP-TN-0002 §4, formula for detected products.
    """
    amplitude = np.abs(np.asarray(dn)).astype(np.float64)
    return np.asarray((amplitude / table.gain(line, pixel, brightness=brightness)) ** 2, np.float32)


def decibel(power: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """``10 log10(power)``; NaN where there is none: DN = 0 is no data, not minus infinity."""
    values = np.asarray(power, np.float32)
    return np.asarray(10 * np.log10(np.where(values > 0, values, np.float32(np.nan))), np.float32)


@dataclass(frozen=True, slots=True)
class NoiseSummary:
    """What a product's thermal noise annotation is good for. The tables themselves stay in the original files.

    ``schema``: ``range-azimuth`` (processor 2.90 and later) or ``range`` (before). ``usable`` is false where removing
    it would change nothing or would be wrong; ``notes`` say why in full sentences.
    """

    schema: Literal["range-azimuth", "range"]
    usable: bool
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        return {"schema": self.schema, "usable": self.usable, "notes": list(self.notes)}

    @classmethod
    def from_json(cls, value: Any) -> NoiseSummary:
        """From ``to_json``; raises ``InvalidInput``."""
        try:
            schema, usable, notes = value["schema"], value["usable"], tuple(str(note) for note in value["notes"])
        except (KeyError, TypeError) as error:
            raise InvalidInput("a noise summary needs schema, usable and notes", field="noise") from error
        if schema not in ("range-azimuth", "range") or not isinstance(usable, bool):
            raise InvalidInput("a noise summary is of the schema range-azimuth or range", field="noise")
        return cls(schema, usable, notes)


@dataclass(frozen=True, slots=True, eq=False)
class Orbit:
    """Where the sensor was and how range is sampled: all that the range-Doppler equations need besides the grid's times.

    ``times`` (k,) seconds after ``epoch`` (RFC 3339), ``positions`` (k, 3) m and ``velocities`` (k, 3) m/s in the
    rotating Earth-fixed frame. Ground range to slant range, for each of the (m,) ``conversion_times``:
    ``slant_m = Σ coefficients[i] (pixel * pixel_spacing_m - conversion_origin_m) ** i``. Raises ``InvalidInput``.
    """

    epoch: str
    times: Array
    positions: Array
    velocities: Array
    pixel_spacing_m: float
    conversion_times: Array
    conversion_origin_m: Array
    coefficients: Array

    def __post_init__(self) -> None:
        count, conversions = self.times.size, self.conversion_times.size
        if count < 5 or (np.diff(self.times) <= 0).any():
            raise InvalidInput("an orbit needs five state vectors in order of time", field="orbit")
        if self.positions.shape != (count, 3) or self.velocities.shape != (count, 3):
            raise InvalidInput("a state vector has a position and a velocity", field="orbit")
        if (
            conversions < 1
            or self.coefficients.ndim != 2
            or self.coefficients.shape[0] != conversions
            or self.coefficients.shape[1] < 2
            or self.conversion_origin_m.shape != (conversions,)
            or not self.pixel_spacing_m > 0
        ):
            raise InvalidInput("the conversion from ground range to slant range is incomplete", field="orbit")
        if not all(
            np.isfinite(values).all()
            for values in (self.times, self.positions, self.velocities, self.conversion_times, self.coefficients)
        ):
            raise InvalidInput("an orbit holds finite numbers", field="orbit")

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        arrays = ("times", "positions", "velocities", "conversion_times", "conversion_origin_m", "coefficients")
        return {
            "epoch": self.epoch,
            "pixel_spacing_m": self.pixel_spacing_m,
            **{name: getattr(self, name).tolist() for name in arrays},
        }

    @classmethod
    def from_json(cls, value: Any) -> Orbit:
        """From ``to_json``; raises ``InvalidInput``."""
        try:
            return cls(
                epoch=str(value["epoch"]),
                times=_column(value["times"]),
                positions=np.array(value["positions"], np.float64),
                velocities=np.array(value["velocities"], np.float64),
                pixel_spacing_m=float(value["pixel_spacing_m"]),
                conversion_times=_column(value["conversion_times"]),
                conversion_origin_m=_column(value["conversion_origin_m"]),
                coefficients=np.array(value["coefficients"], np.float64),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput("an orbit needs times, positions, velocities and conversions", field="orbit") from error


@dataclass(frozen=True, slots=True, eq=False)
class RadarGeometry:
    """Everything of a radar product that is needed to place and to calibrate its samples.

    ``look`` is the side the antenna looks to along the flight, ``flight`` ascending or descending, ``start_time`` RFC 3339
    UTC of the first line. ``calibration`` is by polarisation, or ``None``: then samples are amplitude only. ``missing``
    says in full sentences what could not be had.
    """

    polarisations: tuple[str, ...]
    gcps: ControlPoints | None
    calibration: Mapping[str, CalibrationTable] | None
    noise: Mapping[str, NoiseSummary] = field(default_factory=dict)
    orbit: Orbit | None = None
    mission: str | None = None
    mode: str | None = None
    product_type: str | None = None
    processor: str | None = None
    flight: Literal["ascending", "descending"] | None = None
    look: Literal["right", "left"] | None = None
    start_time: str | None = None
    missing: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """JSON form: what ``Series.radar`` holds and the viewer reads."""
        tables = self.calibration
        return {
            "mission": self.mission,
            "mode": self.mode,
            "product_type": self.product_type,
            "processor": self.processor,
            "polarisations": list(self.polarisations),
            "flight": self.flight,
            "look": self.look,
            "start_time": self.start_time,
            "gcps": None if self.gcps is None else self.gcps.to_json(),
            "calibration": None if not tables else {name: table.to_json() for name, table in tables.items()},
            "noise": {name: summary.to_json() for name, summary in self.noise.items()},
            "orbit": None if self.orbit is None else self.orbit.to_json(),
            "missing": list(self.missing),
        }

    @classmethod
    def from_json(cls, value: Any) -> RadarGeometry:
        """From ``to_json``; raises ``InvalidInput``."""
        try:
            gcps, tables, orbit = value["gcps"], value["calibration"], value.get("orbit")
            noise = value.get("noise") or {}
            words = {name: _word(value.get(name)) for name in _WORDS}
            flight, look = value.get("flight"), value.get("look")
            if flight not in (None, "ascending", "descending") or look not in (None, "right", "left"):
                raise ValueError("flight or look")
            return cls(
                polarisations=tuple(str(name) for name in value["polarisations"]),
                gcps=None if gcps is None else ControlPoints.from_json(gcps),
                calibration=None
                if tables is None
                else {str(name): CalibrationTable.from_json(table) for name, table in tables.items()},
                noise={str(name): NoiseSummary.from_json(summary) for name, summary in noise.items()},
                orbit=None if orbit is None else Orbit.from_json(orbit),
                flight=flight,
                look=look,
                missing=tuple(str(sentence) for sentence in value.get("missing", ())),
                **words,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInput("radar geometry needs polarisations, gcps and calibration", field="radar") from error


_WORDS = ("mission", "mode", "product_type", "processor", "start_time")


def _word(value: Any) -> str | None:
    return None if value is None else str(value)


def _column(values: Any) -> Array:
    column = np.array(values, np.float64)
    if column.ndim != 1:
        raise ValueError("a column is a list of numbers")
    return column


def _held_cell(axis: Array, at: Array) -> tuple[npt.NDArray[np.intp], Array]:
    """Index of the interval of ``axis`` that holds each value, and where in it from 0 to 1; ends are held."""
    if axis.size == 1:
        return np.zeros(at.shape, np.intp), np.zeros(at.shape)
    low = np.clip(np.searchsorted(axis, at, side="right") - 1, 0, axis.size - 2)
    return low, np.clip((at - axis[low]) / (axis[low + 1] - axis[low]), 0, 1)
