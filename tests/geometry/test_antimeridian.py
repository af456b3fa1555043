"""Cutting at the antimeridian: areas add up, nothing leaves -180 … 180, holes stay holes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.measure import points_in_poly

from specimg.geometry.antimeridian import Ring, split_line, split_polygon


def area(ring: Ring) -> float:
    """Shoelace, in a second form than the code's: positive counterclockwise."""
    x, y = np.array(ring).T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def total(polygons: list[list[Ring]]) -> float:
    return sum(area(ring) for polygon in polygons for ring in polygon)


def test_a_polygon_that_does_not_cross_is_only_turned() -> None:
    clockwise = [(10.0, 0.0), (10.0, 5.0), (20.0, 5.0), (20.0, 0.0)]
    assert split_polygon([clockwise]) == [[clockwise[::-1]]]


def test_rfc_7946_example_becomes_two_boxes() -> None:
    """RFC 7946 §3.1.9: a box over 180 degrees is two polygons that share the meridian."""
    east, west = split_polygon([[(170.0, 40.0), (190.0, 40.0), (190.0, 50.0), (170.0, 50.0)]])
    assert {*east[0]} == {(170.0, 40.0), (180.0, 40.0), (180.0, 50.0), (170.0, 50.0)}
    assert {*west[0]} == {(-180.0, 40.0), (-170.0, 40.0), (-170.0, 50.0), (-180.0, 50.0)}
    assert area(east[0]) > 0
    assert area(west[0]) > 0


def test_a_comb_falls_into_its_teeth() -> None:
    """Three teeth reach over the meridian from one back: one part west, three parts east, none overlapping."""
    comb = [(179.0, 0.0)]
    for tooth in range(3):
        comb += [(181.0, 2.0 * tooth), (181.0, 2.0 * tooth + 1), (179.5, 2.0 * tooth + 1), (179.5, 2.0 * tooth + 2)]
    comb[-1] = (179.0, 6.0)
    polygons = split_polygon([comb])
    assert len(polygons) == 4
    assert total(polygons) == pytest.approx(abs(area(comb)))


def test_a_hole_across_the_meridian_opens_into_the_outline() -> None:
    outer = [(178.0, 0.0), (182.0, 0.0), (182.0, 4.0), (178.0, 4.0)]
    hole = [(179.0, 1.0), (181.0, 1.0), (181.0, 3.0), (179.0, 3.0)]
    polygons = split_polygon([outer, hole])
    assert [len(polygon) for polygon in polygons] == [1, 1]
    assert total(polygons) == pytest.approx(16 - 4)


def test_a_hole_on_one_side_stays_a_clockwise_hole_there() -> None:
    outer = [(178.0, 0.0), (182.0, 0.0), (182.0, 4.0), (178.0, 4.0)]
    hole = [(-179.0, 1.0), (-178.5, 1.0), (-178.5, 2.0)]  # the same turn as 181
    west, east = sorted(split_polygon([outer, hole]), key=len)
    assert (len(west), len(east)) == (1, 2)
    assert area(east[1]) == pytest.approx(-0.25)
    assert min(lon for lon, _ in east[0]) == -180


@st.composite
def stars(draw: st.DrawFn) -> Ring:
    """Simple polygons: corners by angle around a centre near the antimeridian."""
    count = draw(st.integers(3, 12))
    radii = [draw(st.floats(0.5, 8)) for _ in range(count)]
    middle = draw(st.floats(172, 188))
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return [(middle + r * float(np.cos(a)), 10 + r * float(np.sin(a))) for r, a in zip(radii, angles, strict=True)]


@given(stars())
def test_parts_add_up_and_lie_at_home(star: Ring) -> None:
    polygons = split_polygon([star])
    assert total(polygons) == pytest.approx(abs(area(star)), rel=1e-9)
    assert all(-180 <= lon <= 180 for polygon in polygons for ring in polygon for lon, _ in ring)
    assert all(area(polygon[0]) > 0 for polygon in polygons)


@given(stars(), st.integers(0, 2**31))
def test_every_point_is_in_the_parts_just_when_it_is_in_the_whole(star: Ring, seed: int) -> None:
    chance = np.random.default_rng(seed)
    asked = np.stack([chance.uniform(164, 196, 200), chance.uniform(2, 18, 200)], axis=-1)
    inside = points_in_poly(asked, star)
    home = np.stack([np.where(asked[:, 0] > 180, asked[:, 0] - 360, asked[:, 0]), asked[:, 1]], axis=-1)
    found = np.zeros(200, bool)
    for polygon in split_polygon([star]):
        found ^= points_in_poly(home, polygon[0])
    np.testing.assert_array_equal(found, inside)


def test_a_line_is_cut_and_keeps_its_way() -> None:
    parts = split_line([(179.0, 0.0), (181.0, 2.0), (179.5, 3.0)])
    assert parts == [
        [(179.0, 0.0), (180.0, 1.0)],
        [(180.0, pytest.approx(2 + 2 / 3)), (179.5, 3.0)],
        [(-180.0, 1.0), (-179.0, 2.0), (-180.0, pytest.approx(2 + 2 / 3))],
    ]
    assert split_line([(1.0, 2.0), (3.0, 4.0)]) == [[(1.0, 2.0), (3.0, 4.0)]]


@given(st.lists(st.tuples(st.floats(170, 190), st.floats(-80, 80)), min_size=2, max_size=9, unique=True))
def test_line_parts_have_the_length_of_the_whole(line: Ring) -> None:
    def length(part: Ring) -> float:
        return sum(float(np.hypot(b[0] - a[0], b[1] - a[1])) for a, b in pairwise(part))

    assert sum(length(part) for part in split_line(line)) == pytest.approx(length(line), abs=1e-6)
