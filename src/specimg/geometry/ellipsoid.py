"""The WGS 84 ellipsoid: longitude, latitude and height to Earth-fixed metres and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

SEMI_MAJOR_M = 6_378_137.0
FLATTENING = 1 / 298.257223563
SEMI_MINOR_M = SEMI_MAJOR_M * (1 - FLATTENING)
_ECCENTRICITY_2 = FLATTENING * (2 - FLATTENING)


def to_earth_fixed(lon: npt.ArrayLike, lat: npt.ArrayLike, height: npt.ArrayLike) -> Array:
    """(..., 3) metres, EPSG:4978, from degrees and metres above the ellipsoid (EPSG:4979, longitude first)."""
    lon_, lat_, height_ = np.broadcast_arrays(np.radians(lon), np.radians(lat), np.asarray(height, np.float64))
    normal = SEMI_MAJOR_M / np.sqrt(1 - _ECCENTRICITY_2 * np.sin(lat_) ** 2)
    x = (normal + height_) * np.cos(lat_) * np.cos(lon_)
    y = (normal + height_) * np.cos(lat_) * np.sin(lon_)
    z = (normal * (1 - _ECCENTRICITY_2) + height_) * np.sin(lat_)
    return np.stack([x, y, z], axis=-1)


def from_earth_fixed(points: npt.ArrayLike) -> tuple[Array, Array, Array]:
    """Longitude and latitude in degrees and height in metres of (..., 3) Earth-fixed metres; not for the Earth's centre."""
    xyz = np.asarray(points, np.float64)
    x, y, z = xyz[..., 0], xyz[..., 1], xyz[..., 2]
    across = np.hypot(x, y)
    # Bowring's parametric latitude; three rounds reach 1e-12 rad for any height of a satellite or below.
    parametric = np.arctan2(z * SEMI_MAJOR_M, across * SEMI_MINOR_M)
    lat = parametric
    second = _ECCENTRICITY_2 / (1 - _ECCENTRICITY_2)
    for _ in range(3):
        lat = np.arctan2(
            z + second * SEMI_MINOR_M * np.sin(parametric) ** 3,
            across - _ECCENTRICITY_2 * SEMI_MAJOR_M * np.cos(parametric) ** 3,
        )
        parametric = np.arctan2((1 - FLATTENING) * np.sin(lat), np.cos(lat))
    normal = SEMI_MAJOR_M / np.sqrt(1 - _ECCENTRICITY_2 * np.sin(lat) ** 2)
    # Along the normal, so that it also holds at the poles, where across / cos(lat) does not.
    height = across * np.cos(lat) + z * np.sin(lat) - SEMI_MAJOR_M**2 / normal
    return np.degrees(np.arctan2(y, x)), np.degrees(lat), np.asarray(height)


def normal(lon: npt.ArrayLike, lat: npt.ArrayLike) -> Array:
    """(..., 3) unit vectors straight up: how a position moves with its height."""
    lon_, lat_ = np.broadcast_arrays(np.radians(lon), np.radians(lat))
    return np.stack([np.cos(lat_) * np.cos(lon_), np.cos(lat_) * np.sin(lon_), np.sin(lat_)], axis=-1)


def distance_m(lon_a: npt.ArrayLike, lat_a: npt.ArrayLike, lon_b: npt.ArrayLike, lat_b: npt.ArrayLike) -> Array:
    """Straight distance between positions on the ellipsoid; within 1e-5 of the ground distance below 100 km."""
    apart = to_earth_fixed(lon_a, lat_a, 0) - to_earth_fixed(lon_b, lat_b, 0)
    return np.asarray(np.linalg.norm(apart, axis=-1))


def wrapped(lon: npt.ArrayLike) -> Any:
    """Longitudes in -180 <= lon < 180."""
    return (np.asarray(lon, np.float64) + 180) % 360 - 180
