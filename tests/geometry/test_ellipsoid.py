"""The ellipsoid against PROJ."""

from __future__ import annotations

import numpy as np
from pyproj import Geod, Transformer

from specimg.geometry.ellipsoid import distance_m, from_earth_fixed, normal, to_earth_fixed, wrapped

_EARTH = np.random.default_rng(7)
LON, LAT = _EARTH.uniform(-180, 180, 500), np.r_[_EARTH.uniform(-90, 90, 498), 90, -90]
HEIGHT = np.r_[_EARTH.uniform(-400, 9_000, 250), _EARTH.uniform(0, 800_000, 250)]


def test_earth_fixed_positions_agree_with_proj() -> None:
    expected = np.stack(Transformer.from_crs(4979, 4978, always_xy=True).transform(LON, LAT, HEIGHT), axis=-1)
    np.testing.assert_allclose(to_earth_fixed(LON, LAT, HEIGHT), expected, atol=1e-7)


def test_there_and_back_also_at_the_poles() -> None:
    lon, lat, height = from_earth_fixed(to_earth_fixed(LON, LAT, HEIGHT))
    np.testing.assert_allclose(lat, LAT, atol=1e-12)
    np.testing.assert_allclose(height, HEIGHT, atol=1e-7)
    np.testing.assert_allclose(wrapped(lon - LON)[:498], 0, atol=1e-12)


def test_distance_agrees_with_the_geodesic_below_a_hundred_kilometres() -> None:
    near_lon, near_lat = LON + 0.3, np.clip(LAT + 0.2, -90, 90)
    _, _, expected = Geod(ellps="WGS84").inv(LON, LAT, near_lon, near_lat)
    np.testing.assert_allclose(distance_m(LON, LAT, near_lon, near_lat), expected, rtol=2e-5, atol=1e-9)


def test_the_normal_is_the_way_height_goes() -> None:
    up = to_earth_fixed(LON, LAT, HEIGHT + 1) - to_earth_fixed(LON, LAT, HEIGHT)
    np.testing.assert_allclose(normal(LON, LAT), up, atol=1e-8)


def test_longitudes_wrap() -> None:
    np.testing.assert_array_equal(wrapped([180, -180, 181, 359.5, -181, 0]), [-180, -180, -179, -0.5, 179, 0])
