"""Geolocators: line and pixel of a raster to longitude and latitude, and back, each with a stated error.

Three models, best first:

- ``range-doppler``: the radar equations, from the orbit, range and timing annotation of the product. Exact for a given
  height; reproduces the producer's own grid to centimetres on current products.
- ``control-points``: bilinear inside the cells of the product's own lattice of ground control points. Exact at the points;
  its error is what the points show when every second line and column of them is left out.
- ``crs`` (``formats.ground``): the affine of a map-projected raster and its CRS.

Never one affine through all control points: on real scenes that is 0.4 to 2.5 km wrong, and nothing says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from specimg.errors import InvalidInput
from specimg.geometry.ellipsoid import distance_m, from_earth_fixed, normal, to_earth_fixed, wrapped
from specimg.geometry.radar import Array, ControlPoints, Orbit, RadarGeometry

_ORBIT_DEGREE = 8
"""Of the polynomials through the state vectors (16 to 17 a scene, 10 s apart)."""

_STEPS = 25
_CLOSE_M = 1e-4
_CLOSE_SAMPLES = 1e-6

_TYPICAL_INCIDENCE = 35.0
"""Degrees; stands in where a product does not annotate it, only to turn a height error into a ground error."""


class Ground(NamedTuple):
    """Longitude and latitude (degrees, WGS 84), height (m above the ellipsoid) and the error to expect on the ground (m)."""

    lon: Array
    lat: Array
    height: Array
    error_m: Array


class Geolocator(Protocol):
    """Where samples lie on the ground. Everything broadcasts; where there is no answer it is NaN."""

    @property
    def model(self) -> str:
        """``range-doppler``, ``control-points`` or ``crs``: stored with each derived position."""
        ...

    def to_ground(self, line: npt.ArrayLike, pixel: npt.ArrayLike, height: npt.ArrayLike | None = None) -> Ground:
        """Ground position of sample (line, pixel); integers are sample centres.

        ``height`` is in metres above the ellipsoid. ``None`` takes the height that the product's own control points have
        there, and ``error_m`` then includes how badly they know it; give 0 for ships and water.
        """
        ...

    def to_image(
        self, lon: npt.ArrayLike, lat: npt.ArrayLike, height: npt.ArrayLike | None = None
    ) -> tuple[Array, Array]:
        """Line and pixel of a ground position: the inverse of ``to_ground`` with the same ``height``."""
        ...


def geolocator(radar: RadarGeometry) -> Geolocator | None:
    """The best model that a product's annotation allows; ``None`` if it has no usable control points.

    ``RadarGeometry.missing`` says why in words.
    """
    lattice = None if radar.gcps is None else Lattice.of(radar.gcps)
    if lattice is None:
        return None
    if radar.orbit is not None and lattice.azimuth_time is not None:
        return RangeDoppler(radar.orbit, lattice)
    return ControlPointGrid(lattice)


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """Control points on a lattice of (m,) lines and (n,) pixels; every value is (m, n). ``lon`` runs on past 180 degrees."""

    lines: Array
    pixels: Array
    lon: Array
    lat: Array
    height: Array
    azimuth_time: Array | None
    incidence: Array | None

    @classmethod
    def of(cls, points: ControlPoints) -> Lattice | None:
        """``None`` where points do not form a lattice of two by two or more, or where one holds a pole."""
        lines, row = np.unique(points.line, return_inverse=True)
        pixels, column = np.unique(points.pixel, return_inverse=True)
        shape = (lines.size, pixels.size)
        place = row * pixels.size + column
        if min(shape) < 2 or len(points) != lines.size * pixels.size or np.unique(place).size != len(points):
            return None
        lon = points.lon - 360 * np.round((points.lon - points.lon[0]) / 360)
        if np.ptp(lon) > 180 or np.abs(points.lat).max() > 89:
            return None

        def table(values: Array) -> Array:
            placed = np.empty(len(points))
            placed[place] = values
            return placed.reshape(shape)

        return cls(
            lines=lines,
            pixels=pixels,
            lon=table(lon),
            lat=table(points.lat),
            height=table(points.height),
            azimuth_time=None if points.azimuth_time is None else table(points.azimuth_time),
            incidence=None if points.incidence is None else table(points.incidence),
        )

    def at(self, table: Array, line: npt.ArrayLike, pixel: npt.ArrayLike) -> Array:
        """Bilinear value of an (m, n) table; outside the lattice its edge cells are continued."""
        line_, pixel_ = np.broadcast_arrays(np.asarray(line, np.float64), np.asarray(pixel, np.float64))
        row, down = _cell(self.lines, line_)
        column, along = _cell(self.pixels, pixel_)
        upper = (1 - along) * table[row, column] + along * table[row, column + 1]
        lower = (1 - along) * table[row + 1, column] + along * table[row + 1, column + 1]
        return np.asarray((1 - down) * upper + down * lower)

    def every_second(self) -> Lattice | None:
        """Every second line and column, the last ones kept; ``None`` where nothing would be left out."""
        if min(self.lat.shape) < 3:
            return None
        rows, columns = (np.unique(np.r_[np.arange(0, n, 2), n - 1]) for n in self.lat.shape)
        pick = np.ix_(rows, columns)
        return Lattice(
            lines=self.lines[rows],
            pixels=self.pixels[columns],
            lon=self.lon[pick],
            lat=self.lat[pick],
            height=self.height[pick],
            azimuth_time=None if self.azimuth_time is None else self.azimuth_time[pick],
            incidence=None if self.incidence is None else self.incidence[pick],
        )

    def height_uncertainty(self) -> float:
        """Largest error in height when every second control point must be told from the others, in metres."""
        half = self.every_second()
        if half is None:
            return float(np.ptp(self.height))
        told = half.at(half.height, self.lines[:, None], self.pixels)
        return float(np.abs(told - self.height).max())


class ControlPointGrid:
    """Bilinear in longitude, latitude and height between control points."""

    model = "control-points"

    def __init__(self, lattice: Lattice) -> None:
        self._lattice = lattice
        half = lattice.every_second()
        if half is None:
            # Two by two points (a vendor's four corners) cannot check one another.
            self._error_m = float("nan")
        else:
            lon = half.at(half.lon, lattice.lines[:, None], lattice.pixels)
            lat = half.at(half.lat, lattice.lines[:, None], lattice.pixels)
            self._error_m = float(distance_m(lon, lat, lattice.lon, lattice.lat).max())

    @property
    def error_m(self) -> float:
        """Largest ground distance by which the left-out half of the points is missed; NaN if none can be left out."""
        return self._error_m

    def to_ground(self, line: npt.ArrayLike, pixel: npt.ArrayLike, height: npt.ArrayLike | None = None) -> Ground:
        """As the protocol says. A ``height`` cannot be honoured: the difference is added to the error instead."""
        lattice = self._lattice
        lon = wrapped(lattice.at(lattice.lon, line, pixel))
        lat = lattice.at(lattice.lat, line, pixel)
        own = lattice.at(lattice.height, line, pixel)
        error = np.full(own.shape, self._error_m)
        if height is not None:
            incidence = np.radians(_incidence(lattice, line, pixel))
            error = error + np.abs(own - np.asarray(height, np.float64)) / np.tan(incidence)
        return Ground(lon, lat, own, error)

    def to_image(
        self, lon: npt.ArrayLike, lat: npt.ArrayLike, height: npt.ArrayLike | None = None
    ) -> tuple[Array, Array]:
        """As the protocol says; ``height`` has no influence."""
        lattice = self._lattice
        lon_, lat_ = np.broadcast_arrays(np.asarray(lon, np.float64), np.asarray(lat, np.float64))
        middle = (lattice.lon.max() + lattice.lon.min()) / 2
        target = np.stack([lon_ - 360 * np.round((lon_ - middle) / 360), lat_], axis=-1)
        line, pixel = _affine_guess(lattice, target)
        ground = np.stack([lattice.lon, lattice.lat], axis=-1)
        step_line, step_pixel = np.full(line.shape, np.inf), np.full(line.shape, np.inf)
        for _ in range(_STEPS):
            missed, down, along = _bilinear_with_slopes(lattice, ground, line, pixel)
            missed = target - missed
            determinant = down[..., 0] * along[..., 1] - down[..., 1] * along[..., 0]
            step_line = (missed[..., 0] * along[..., 1] - missed[..., 1] * along[..., 0]) / determinant
            step_pixel = (down[..., 0] * missed[..., 1] - down[..., 1] * missed[..., 0]) / determinant
            line, pixel = line + step_line, pixel + step_pixel
            if max(np.abs(step_line).max(initial=0), np.abs(step_pixel).max(initial=0)) < _CLOSE_SAMPLES:
                break
        arrived = (np.abs(step_line) < _CLOSE_SAMPLES) & (np.abs(step_pixel) < _CLOSE_SAMPLES)
        return np.where(arrived, line, np.nan), np.where(arrived, pixel, np.nan)


class RangeDoppler:
    """Slant range, zero Doppler and a height above the ellipsoid give one point on the Earth (and another, not looked at).

    The orbit is a polynomial through the state vectors. Azimuth time comes from the product's grid, which carries the
    residual bistatic correction across the swath (0.5 ms, 3.7 m) that ``line * azimuthTimeInterval`` has not. Slant range
    comes from the ground range conversion *nearest* in azimuth time: between two, interpolating is worse (0.7 to 6 m).
    """

    model = "range-doppler"

    def __init__(self, orbit: Orbit, lattice: Lattice) -> None:
        if lattice.azimuth_time is None:
            raise InvalidInput("the range-Doppler model needs the azimuth time of the control points", field="gcps")
        self._orbit, self._lattice, self._times = orbit, lattice, lattice.azimuth_time
        degree = min(_ORBIT_DEGREE, orbit.times.size - 1)
        fit = np.polynomial.Chebyshev.fit
        self._position = [fit(orbit.times, orbit.positions[:, axis], degree) for axis in range(3)]
        self._velocity = [track.deriv() for track in self._position]
        self._acceleration = [track.deriv() for track in self._velocity]
        self._height_error_m = lattice.height_uncertainty()
        self._residuals_m = self._missed_control_points()

    @property
    def residuals_m(self) -> Array:
        """(m, n) ground distances between this model and the product's control points, at their heights."""
        return self._residuals_m

    def to_ground(self, line: npt.ArrayLike, pixel: npt.ArrayLike, height: npt.ArrayLike | None = None) -> Ground:
        """As the protocol says. The error is the residual at the points around; without a height, also that of theirs."""
        lattice = self._lattice
        line_, pixel_ = np.broadcast_arrays(np.asarray(line, np.float64), np.asarray(pixel, np.float64))
        error = _largest_around(lattice, self._residuals_m, line_, pixel_)
        if height is None:
            up = lattice.at(lattice.height, line_, pixel_)
            # A point that is higher than thought lies nearer to the sensor: it is displaced by height / tan(incidence).
            error = error + self._height_error_m / np.tan(np.radians(_incidence(lattice, line_, pixel_)))
        else:
            up = np.broadcast_to(np.asarray(height, np.float64), line_.shape)
        lon, lat = self._solve(line_, pixel_, up)
        return Ground(lon, lat, np.array(up), error)

    def to_image(
        self, lon: npt.ArrayLike, lat: npt.ArrayLike, height: npt.ArrayLike | None = None
    ) -> tuple[Array, Array]:
        """As the protocol says: the time of zero Doppler by Newton's method, then range back to pixel."""
        lon_, lat_ = np.broadcast_arrays(np.asarray(lon, np.float64), np.asarray(lat, np.float64))
        if height is not None:
            return self._project(lon_, lat_, np.broadcast_to(np.asarray(height, np.float64), lon_.shape))
        lattice = self._lattice
        line, pixel = self._project(lon_, lat_, np.full(lon_.shape, lattice.height.mean()))
        # The height wanted is the one the grid has at the answer: a few rounds, each shrinking by slope / tan(incidence).
        for _ in range(_STEPS):
            up = lattice.at(lattice.height, line, pixel)
            before, (line, pixel) = pixel, self._project(lon_, lat_, up)
            if not np.nanmax(np.abs(pixel - before), initial=0) > 1e-4:
                break
        return line, pixel

    def _solve(self, line: Array, pixel: Array, height: Array) -> tuple[Array, Array]:
        """Newton on three equations, from the control points' own position, so that the right one of two is found."""
        lattice = self._lattice
        time = lattice.at(self._times, line, pixel).ravel()
        slant = self._slant_range(time, pixel.ravel())
        sensor, motion = self._track(self._position, time), self._track(self._velocity, time)
        up = height.ravel()
        start = lattice.at(lattice.lon, line, pixel).ravel(), lattice.at(lattice.lat, line, pixel).ravel()
        points = to_earth_fixed(*start, up)
        step = np.full(points.shape, np.inf)
        for _ in range(_STEPS):
            sight = points - sensor
            lon, lat, own = from_earth_fixed(points)
            missed = np.stack(
                [np.sum(sight**2, axis=-1) - slant**2, np.sum(sight * motion, axis=-1), own - up], axis=-1
            )
            slopes = np.stack([2 * sight, motion, normal(lon, lat)], axis=-2)
            step = np.linalg.solve(slopes, missed[..., None])[..., 0]
            points = points - step
            if np.abs(step).max(initial=0) < _CLOSE_M:
                break
        lon, lat, _ = from_earth_fixed(points)
        lost = np.abs(step).max(axis=-1) >= _CLOSE_M
        return np.where(lost, np.nan, lon).reshape(line.shape), np.where(lost, np.nan, lat).reshape(line.shape)

    def _project(self, lon: Array, lat: Array, height: Array) -> tuple[Array, Array]:
        points = to_earth_fixed(lon, lat, height).reshape(-1, 3)
        time = np.full(len(points), self._times.mean())
        step = np.full(len(points), np.inf)
        for _ in range(_STEPS):
            sensor, motion = self._track(self._position, time), self._track(self._velocity, time)
            sight = points - sensor
            doppler = np.sum(sight * motion, axis=-1)
            slope = np.sum(sight * self._track(self._acceleration, time), axis=-1) - np.sum(motion**2, axis=-1)
            step = doppler / slope
            # Far outside the fitted stretch the polynomials run away: stay within it.
            time = np.clip(time - step, self._orbit.times[0], self._orbit.times[-1])
            if np.abs(step).max(initial=0) < 1e-9:
                break
        slant = np.linalg.norm(points - self._track(self._position, time), axis=-1)
        pixel = self._pixel(time, slant)
        line = self._line(time, pixel)
        lost = np.abs(step) >= 1e-7
        return np.where(lost, np.nan, line).reshape(lon.shape), np.where(lost, np.nan, pixel).reshape(lon.shape)

    def _slant_range(self, time: Array, pixel: Array) -> Array:
        origin, coefficients = self._conversion(time)
        ground = pixel * self._orbit.pixel_spacing_m - origin
        return np.asarray(np.polynomial.polynomial.polyval(ground, coefficients.T, tensor=False))

    def _pixel(self, time: Array, slant: Array) -> Array:
        """Newton on the ground-to-slant polynomial itself, so that there and back is exact."""
        origin, coefficients = self._conversion(time)
        slopes = np.polynomial.polynomial.polyder(coefficients.T)
        last = self._lattice.pixels[-1] * self._orbit.pixel_spacing_m - origin
        ground = last / 2
        for _ in range(_STEPS):
            missed = np.polynomial.polynomial.polyval(ground, coefficients.T, tensor=False) - slant
            step = missed / np.polynomial.polynomial.polyval(ground, slopes, tensor=False)
            # High powers run away outside the swath: one swath of room on both sides is enough to see that it is outside.
            ground = np.clip(ground - step, -last, 2 * last)
            if np.abs(step).max(initial=0) < _CLOSE_M / 10:
                break
        ground = np.where((ground <= -last) | (ground >= 2 * last), np.nan, ground)
        return np.asarray((ground + origin) / self._orbit.pixel_spacing_m)

    def _line(self, time: Array, pixel: Array) -> Array:
        lattice = self._lattice
        rate = (self._times[-1] - self._times[0]).mean() / (lattice.lines[-1] - lattice.lines[0])
        line = lattice.lines[0] + (time - self._times[0].mean()) / rate
        for _ in range(4):
            line = line + (time - lattice.at(self._times, line, pixel)) / rate
        return np.asarray(line)

    def _conversion(self, time: Array) -> tuple[Array, Array]:
        nearest = np.abs(self._orbit.conversion_times[:, None] - time).argmin(axis=0)
        return self._orbit.conversion_origin_m[nearest], self._orbit.coefficients[nearest]

    def _missed_control_points(self) -> Array:
        lattice = self._lattice
        line, pixel = np.broadcast_arrays(lattice.lines[:, None], lattice.pixels)
        lon, lat = self._solve(line, pixel, lattice.height)
        return distance_m(lon, lat, lattice.lon, lattice.lat)

    @staticmethod
    def _track(axes: list[np.polynomial.Chebyshev], time: Array) -> Array:
        return np.stack([axis(time) for axis in axes], axis=-1)


def _cell(axis: Array, at: Array) -> tuple[npt.NDArray[np.intp], Array]:
    """Index of the interval of ``axis`` for each value and where in it: beyond 0..1 outside the axis, NaN for NaN."""
    low = np.clip(np.searchsorted(axis, at, side="right") - 1, 0, axis.size - 2)
    return low, np.asarray((at - axis[low]) / (axis[low + 1] - axis[low]))


def _largest_around(lattice: Lattice, table: Array, line: Array, pixel: Array) -> Array:
    """The largest of the four values of an (m, n) table at the corners of each sample's cell."""
    row, _ = _cell(lattice.lines, line)
    column, _ = _cell(lattice.pixels, pixel)
    return np.asarray(np.max([table[row + i, column + j] for i in (0, 1) for j in (0, 1)], axis=0))


def _incidence(lattice: Lattice, line: npt.ArrayLike, pixel: npt.ArrayLike) -> Array:
    """Degrees; held at the edges."""
    if lattice.incidence is None:
        return np.full(np.broadcast(np.asarray(line), np.asarray(pixel)).shape, _TYPICAL_INCIDENCE)
    inside = np.clip(line, lattice.lines[0], lattice.lines[-1]), np.clip(pixel, lattice.pixels[0], lattice.pixels[-1])
    return lattice.at(lattice.incidence, *inside)


def _affine_guess(lattice: Lattice, target: Array) -> tuple[Array, Array]:
    """Line and pixel from one affine through all points: good for nothing but to start Newton's method."""
    line, pixel = (values.ravel() for values in np.broadcast_arrays(lattice.lines[:, None], lattice.pixels))
    design = np.stack([lattice.lon.ravel(), lattice.lat.ravel(), np.ones(line.size)], axis=-1)
    solution, *_ = np.linalg.lstsq(design, np.stack([line, pixel], axis=-1), rcond=None)
    guess = np.concatenate([target, np.ones((*target.shape[:-1], 1))], axis=-1) @ solution
    return guess[..., 0], guess[..., 1]


def _bilinear_with_slopes(lattice: Lattice, table: Array, line: Array, pixel: Array) -> tuple[Array, Array, Array]:
    """Value and slope along line and pixel of an (m, n, k) table, each (..., k)."""
    row, down = _cell(lattice.lines, line)
    column, along = _cell(lattice.pixels, pixel)
    a, b = table[row, column], table[row, column + 1]
    c, d = table[row + 1, column], table[row + 1, column + 1]
    v, u = down[..., None], along[..., None]
    height = (lattice.lines[row + 1] - lattice.lines[row])[..., None]
    width = (lattice.pixels[column + 1] - lattice.pixels[column])[..., None]
    value = (1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * c + u * d)
    slope_line = ((1 - u) * (c - a) + u * (d - b)) / height
    slope_pixel = ((1 - v) * (b - a) + v * (d - c)) / width
    return value, slope_line, slope_pixel
