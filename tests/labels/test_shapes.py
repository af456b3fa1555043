"""Shapes: what may be one, and which voxels it stands for."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize
from rasterio.transform import Affine as RasterAffine

from specimg.errors import InvalidInput, TooLarge
from specimg.labels.rasterise import draw, spans_of
from specimg.labels.shapes import MAX_POINTS, Shape

TRIANGLE = ((2.0, 1.0, 1.0), (2.0, 1.0, 9.0), (2.0, 8.0, 4.0))
HOLE = ((2.0, 2.5, 3.5), (2.0, 2.5, 5.5), (2.0, 4.5, 4.5))


def test_json_and_back() -> None:
    shape = Shape("7c2", "polygon", 3, TRIANGLE, (HOLE,), {"grade": 2, "sure": None, "nested": {"a": [1, 2.5]}})
    assert Shape.from_json(shape.to_json()) == shape
    assert shape.box == ((2.0, 1.0, 1.0), (2.0, 8.0, 9.0))
    assert shape.plane == (0, 2.0)


def test_the_digest_is_of_the_canonical_json() -> None:
    # SHA-256 of the RFC 8785 text, written by hand.
    text = '{"attributes":{},"holes":[],"id":"a","kind":"point","label":1,"points":[[0,1.5,2]]}'
    expected = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    assert Shape("a", "point", 1, ((0, 1.5, 2.0),)).digest == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""},
        {"id": "x" * 65},
        {"id": "a\nb"},
        {"kind": "circle"},
        {"label": 0},
        {"label": 65_536},
        {"label": True},
        {"label": 1.0},
        {"points": []},
        {"points": TRIANGLE[:2]},
        {"points": [(0, 0), (1, 1), (2, 2)]},
        {"points": [(2, 1, 1), (2, 1, math.nan), (2, 8, 4)]},
        {"points": [(2, 1, 1), (2, 1, math.inf), (2, 8, 4)]},
        {"points": [(2, 1, 1), (2, 1, 1e8), (2, 8, 4)]},
        {"points": [(2, 1, 1), (2, 1, "9"), (2, 8, 4)]},
        {"points": [(2, 1, 1), (3, 1, 9), (4, 8, 4)]},
        {"holes": [HOLE[:2]]},
        {"holes": [[(3, *p[1:]) for p in HOLE]]},
        {"attributes": {"a": math.nan}},
        {"attributes": {"a": "\ud800"}},
        {"kind": "box", "points": [(0, 0, 5), (1, 1, 4)]},
        {"kind": "point", "points": TRIANGLE},
        {"kind": "polyline", "holes": [HOLE]},
    ],
    ids=str,
)
def test_what_is_no_shape(wrong: dict[str, Any]) -> None:
    good = Shape("a", "polygon", 1, TRIANGLE).to_json()
    with pytest.raises(InvalidInput):
        Shape.from_json(good | wrong)


@pytest.mark.parametrize("missing", ["id", "kind", "label", "points"])
def test_a_part_that_is_missing(missing: str) -> None:
    value = Shape("a", "polygon", 1, TRIANGLE).to_json()
    del value[missing]
    with pytest.raises(InvalidInput):
        Shape.from_json(value)


def test_limits_are_met_before_they_hurt() -> None:
    with pytest.raises(TooLarge):
        Shape("a", "polyline", 1, ((0.0, 0.0, 0.0),) * (MAX_POINTS + 1))
    with pytest.raises(TooLarge):
        Shape("a", "point", 1, ((0.0, 0.0, 0.0),), attributes={"text": "x" * 20_000})


# --- voxels of a shape ----------------------------------------------------------------------------------------------


corner = st.tuples(st.floats(-3, 24, width=32), st.floats(-3, 33, width=32))


@settings(max_examples=80, deadline=None)
@given(ring=st.lists(corner, min_size=3, max_size=8, unique=True))
def test_a_polygon_is_what_gdal_burns(ring: list[tuple[float, float]]) -> None:
    """GDAL decides by pixel centres too; corner pixels of an edge that passes exactly through a centre may differ."""
    grid = (3, 21, 30)
    shape = Shape("a", "polygon", 1, tuple((1.0, r, c) for r, c in ring))
    ours = spans_of(shape, grid).to_mask((1, 0, 0), (2, 21, 30))[0]
    # GDAL's pixel (0, 0) reaches from 0 to 1; our voxel centre 0 is at its middle.
    closed = [(c + 0.5, r + 0.5) for r, c in [*ring, ring[0]]]
    geometry = {"type": "Polygon", "coordinates": [closed]}
    theirs = rasterize([geometry], out_shape=(21, 30), transform=RasterAffine.identity()).astype(bool)
    for r, c in np.argwhere(ours != theirs):
        assert _distance(ring, float(r), float(c)) < 1e-5


def _distance(ring: list[tuple[float, float]], r: float, c: float) -> float:
    near = math.inf
    for (r0, c0), (r1, c1) in zip(ring, ring[1:] + ring[:1], strict=True):
        dr, dc = r1 - r0, c1 - c0
        length = dr * dr + dc * dc
        t = 0.0 if length == 0 else min(1.0, max(0.0, ((r - r0) * dr + (c - c0) * dc) / length))
        near = min(near, math.hypot(r - r0 - t * dr, c - c0 - t * dc))
    return near


def test_a_polygon_fills_the_plane_nearest_to_its_own() -> None:
    shape = Shape(
        "a", "polygon", 1, tuple((z + 0.4, y, x) for z, y, x in TRIANGLE), (tuple((z + 0.4, y, x) for z, y, x in HOLE),)
    )
    spans = spans_of(shape, (5, 10, 10))
    assert set(spans.runs[:, 0].tolist()) == {2}
    without = spans_of(Shape("a", "polygon", 1, TRIANGLE), (5, 10, 10))
    assert 0 < spans.count < without.count


def test_a_box_covers_the_voxels_whose_centres_it_holds() -> None:
    shape = Shape("a", "box", 1, ((0.5, 1.0, -7.0), (2.0, 3.5, 2.0)))
    mask = spans_of(shape, (4, 5, 6)).to_mask((0, 0, 0), (4, 5, 6))
    assert sorted(map(tuple, np.argwhere(mask).tolist())) == [(1, y, x) for y in (1, 2, 3) for x in (0, 1)]


def test_a_flat_box_covers_its_plane() -> None:
    shape = Shape("a", "box", 1, ((0.0, 1.0, 2.0), (0.0, 3.0, 4.0)))
    assert spans_of(shape, (1, 9, 9)).runs.tolist() == [[0, 1, 2, 2], [0, 2, 2, 2]]


def test_later_shapes_lie_over_earlier_and_lines_have_no_inside() -> None:
    voxels = np.zeros((1, 9, 9), np.uint16)
    shapes = [
        Shape("a", "box", 1, ((0, 0, 0), (0, 5, 5))),
        Shape("b", "box", 2, ((0, 4, 4), (0, 9, 9))),
        Shape("c", "polyline", 3, ((0, 0, 0), (0, 8, 8))),
        Shape("d", "point", 4, ((0, 1, 1),)),
    ]
    assert draw(shapes, voxels) == 2
    assert voxels[0, 4, 4] == 2
    assert np.count_nonzero(voxels == 1) == 25 - 1
    assert set(np.unique(voxels)) == {0, 1, 2}
