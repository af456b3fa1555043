"""Ground positions: against a made-up orbit solved another way, against each other, and back again.

Real annotation is in ``tests/formats/test_sentinel1.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specimg.formats.safe import parse_annotation
from specimg.geometry.ellipsoid import distance_m, wrapped
from specimg.geometry.geolocation import ControlPointGrid, Lattice, RangeDoppler, geolocator
from specimg.geometry.radar import ControlPoints, RadarGeometry
from specimg.testing.radar_phantoms import LINES, PIXELS, ground, terrain, write_safe

WITHIN_M = 0.01
"""Annotation writes azimuth time in microseconds: 7 mm along the flight."""


@pytest.fixture(scope="module")
def radar(tmp_path_factory: pytest.TempPathFactory) -> RadarGeometry:
    """As parsed from a phantom's annotation."""
    folder = write_safe(tmp_path_factory.mktemp("safe"), polarisations=("VV",)).folder
    (path,) = (folder / "annotation").glob("*.xml")
    annotation = parse_annotation(path, path.name)
    return RadarGeometry(("VV",), annotation.gcps, None, orbit=annotation.orbit)


@pytest.fixture(scope="module")
def model(radar: RadarGeometry) -> RangeDoppler:
    """Of the phantom."""
    found = geolocator(RadarGeometry.from_json(radar.to_json()))
    assert isinstance(found, RangeDoppler)
    return found


def points(**changes: Any) -> ControlPoints:
    """A lattice of 3 x 4 with a bend in it; line and pixel differ in every way."""
    line, pixel = (v.ravel() for v in np.meshgrid([0.0, 100, 250], [0.0, 40, 80, 199], indexing="ij"))
    values = {
        "line": line,
        "pixel": pixel,
        "lon": 76 + 0.01 * pixel + 0.001 * line,
        "lat": 10 - 0.02 * line + 0.003 * pixel + 1e-6 * line * pixel,
        "height": 100 + line,
    }
    return ControlPoints(**{**values, **changes})


# Range-Doppler -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("height", [0.0, -50.0, 2500.0])
@pytest.mark.parametrize(("line", "pixel"), [(0, 0), (69, 0), (12.5, 71.25), (68.9, 88), (-3, 92)])
def test_range_doppler_agrees_with_searching_the_look_angle(
    model: RangeDoppler, line: float, pixel: float, height: float
) -> None:
    lon, lat, up, error = model.to_ground(line, pixel, height)
    assert distance_m(lon, lat, *ground(line, pixel, height)) < WITHIN_M
    assert up == height
    assert error < WITHIN_M


def test_without_a_height_the_control_points_say_it_and_the_error_grows(model: RangeDoppler) -> None:
    line, pixel = 31.0, 57.5
    lon, lat, up, error = model.to_ground(line, pixel)
    assert up == pytest.approx(terrain(line, pixel))
    assert distance_m(lon, lat, *ground(line, pixel, terrain(line, pixel))) < WITHIN_M
    assert error >= model.to_ground(line, pixel, 0.0).error_m


def test_the_stated_error_covers_a_height_that_the_control_points_do_not_know(radar: RadarGeometry) -> None:
    """A peak at one control point: left out, it is missed by its height, and that much of ground range is owned up to."""
    assert radar.gcps is not None
    height = radar.gcps.height.copy()
    peak = 2 * 5 + 2
    height[peak] += 1000
    rough = ControlPoints(
        radar.gcps.line,
        radar.gcps.pixel,
        radar.gcps.lon,
        radar.gcps.lat,
        height,
        radar.gcps.azimuth_time,
        radar.gcps.incidence,
    )
    assert radar.orbit is not None
    error = RangeDoppler(radar.orbit, _lattice(rough)).to_ground(10, 10).error_m
    assert error > 200 / np.tan(np.radians(45))


@settings(max_examples=40, deadline=None)
@given(st.floats(-0.5, LINES - 0.5), st.floats(-0.5, PIXELS - 0.5), st.one_of(st.none(), st.floats(-400, 8800)))
def test_to_the_ground_and_back(model: RangeDoppler, line: float, pixel: float, height: float | None) -> None:
    lon, lat, _, _ = model.to_ground(line, pixel, height)
    back = model.to_image(lon, lat, height)
    np.testing.assert_allclose(back, (line, pixel), atol=2e-4)


def test_a_ship_beside_a_mountain_is_not_displaced_when_its_height_is_given(model: RangeDoppler) -> None:
    lon, lat = ground(40, 60, 0.0)
    assert model.to_image(lon, lat, 0.0) == pytest.approx((40, 60), abs=1e-3)
    displaced = model.to_image(lon, lat)
    assert abs(displaced[1] - 60) > 0.3  # the control points there say 250 m, and 1 sample is 450 m of ground


def test_positions_off_the_scene_are_nan_or_far_and_never_raise(model: RangeDoppler) -> None:
    line, pixel = model.to_image([0, 90, -170, 3], [0, 89, -40, 42], 0.0)
    inside = (line >= -0.5) & (line < LINES) & (pixel >= -0.5) & (pixel < PIXELS)
    assert not inside.any()


def test_arrays_keep_their_shape_and_numbers_work(model: RangeDoppler) -> None:
    assert model.to_ground(np.zeros((2, 3)), 5.0).lon.shape == (2, 3)
    assert model.to_ground(1, 2).lon.shape == ()
    assert model.to_ground([], []).lon.shape == (0,)
    assert model.to_image([], [])[0].shape == (0,)
    many = model.to_ground([1, 7], [2, 80], 10.0)
    assert many.lon[1] == pytest.approx(float(model.to_ground(7, 80, 10.0).lon), abs=1e-12)


# Control points ----------------------------------------------------------------------------------------------------------


def _lattice(given: ControlPoints) -> Lattice:
    lattice = Lattice.of(given)
    assert lattice is not None
    return lattice


def test_control_points_are_met_exactly() -> None:
    given = points()
    model = ControlPointGrid(_lattice(given))
    lon, lat, height, _ = model.to_ground(given.line, given.pixel)
    np.testing.assert_allclose(lon, given.lon, atol=1e-12)
    np.testing.assert_allclose(lat, given.lat, atol=1e-12)
    np.testing.assert_allclose(height, given.height, atol=1e-9)


@pytest.mark.parametrize(
    "order", [slice(None, None, -1), np.random.default_rng(2).permutation(12)], ids=["back", "mixed"]
)
def test_the_order_of_control_points_does_not_matter(order: Any) -> None:
    given = points()
    mixed = ControlPoints(*(getattr(given, name)[order] for name in ("line", "pixel", "lon", "lat", "height")))
    for model in (ControlPointGrid(_lattice(given)), ControlPointGrid(_lattice(mixed))):
        assert float(model.to_ground(57, 61.5).lat) == pytest.approx(10 - 0.02 * 57 + 0.003 * 61.5 + 1e-6 * 57 * 61.5)


@given(st.floats(-20, 270), st.floats(-20, 219))
def test_control_points_there_and_back(line: float, pixel: float) -> None:
    model = ControlPointGrid(_lattice(points()))
    lon, lat, _, _ = model.to_ground(line, pixel)
    np.testing.assert_allclose(model.to_image(lon, lat), (line, pixel), atol=1e-5)


def test_a_scene_across_the_date_line_does_not_run_around_the_world() -> None:
    given = points()
    moved = points(lon=wrapped(given.lon - 76 + 179))
    model = ControlPointGrid(_lattice(moved))
    lon, lat, _, _ = model.to_ground(100, 150)
    assert float(lon) == pytest.approx(179 + 1.5 + 0.1 - 360)
    np.testing.assert_allclose(model.to_image(lon, lat), (100, 150), atol=1e-5)


def test_the_error_is_what_left_out_points_show() -> None:
    """One point of a flat lattice pushed away by a known distance: leaving it out misses it by just that."""
    line, pixel = (v.ravel() for v in np.meshgrid([0.0, 50, 100], [0.0, 50, 100], indexing="ij"))
    lat = 0.001 * line
    lat[4] += 0.01
    model = ControlPointGrid(_lattice(ControlPoints(line, pixel, 0.001 * pixel, lat, 0 * line)))
    assert model.error_m == pytest.approx(0.01 * 110_574, rel=1e-3)  # a hundredth of a degree at the equator
    assert model.to_ground(3, 3).error_m == model.error_m


def test_four_corners_cannot_check_one_another() -> None:
    line, pixel = np.array([0.0, 0, 9, 9]), np.array([0.0, 9, 0, 9])
    model = ControlPointGrid(_lattice(ControlPoints(line, pixel, pixel, line, 0 * line)))
    assert np.isnan(model.to_ground(4, 4).error_m)


def test_a_height_that_control_points_cannot_honour_goes_into_the_error() -> None:
    model = ControlPointGrid(_lattice(points()))
    own = model.to_ground(100, 80)
    other = model.to_ground(100, 80, float(own.height) - 350)
    assert other.lon == own.lon
    assert float(other.error_m - own.error_m) == pytest.approx(350 / np.tan(np.radians(35)))


@pytest.mark.parametrize(
    "change",
    [
        {"line": np.where(np.arange(12) == 5, 101.0, points().line)},
        {"lon": np.linspace(-179, 179, 12)},
        {"lat": np.full(12, 89.9)},
    ],
    ids=["off the lattice", "around the pole", "at the pole"],
)
def test_points_that_cannot_be_interpolated_are_refused_rather_than_guessed(change: dict[str, Any]) -> None:
    assert geolocator(RadarGeometry(("VV",), points(**change), None)) is None


def test_no_control_points_no_position() -> None:
    assert geolocator(RadarGeometry(("VV",), None, None)) is None


def test_one_affine_through_the_points_would_be_wrong(radar: RadarGeometry, model: RangeDoppler) -> None:
    """Why there is no such model: on the phantom's 40 km it is off by hundreds of metres, bilinear by tens."""
    given = radar.gcps
    assert given is not None
    design = np.stack([given.line, given.pixel, np.ones(len(given))], axis=-1)
    (lon, lat) = (design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in (given.lon, given.lat))
    affine = float(distance_m(lon, lat, given.lon, given.lat).max())
    grid = ControlPointGrid(_lattice(given))
    line, pixel = (v.ravel() for v in np.meshgrid(np.arange(0, LINES, 7.0), np.arange(0, PIXELS, 7.0)))
    between = grid.to_ground(line, pixel)
    exact = model.to_ground(line, pixel)
    bilinear = float(distance_m(between.lon, between.lat, exact.lon, exact.lat).max())
    assert bilinear < grid.error_m < affine
