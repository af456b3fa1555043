"""Brush and polygon against the rule spelled out voxel by voxel, which the viewer's twin is held to as well."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import brush_rule
from specimg.errors import InvalidInput, TooLarge
from specimg.labels.brush import polygon, stroke
from specimg.labels.edit import Spans

GOLDEN = Path(__file__).parents[1] / "golden"
TABLE: dict[str, Any] = json.loads((GOLDEN / "brush.json").read_text())
SHAPE = tuple(TABLE["shape"])


def test_the_tables_on_disk_are_what_the_plain_rule_says() -> None:
    assert json.loads(json.dumps(brush_rule.brush_table())) == TABLE
    assert json.loads(json.dumps(brush_rule.spans_table())) == json.loads((GOLDEN / "spans.json").read_text())


@pytest.mark.parametrize("case", TABLE["strokes"], ids=lambda case: case["name"])
def test_stroke(case: dict[str, Any]) -> None:
    drawn = stroke(
        [tuple(p) for p in case["points"]],
        case["radius"],
        spacing=tuple(case["spacing"]),
        shape=SHAPE,
        axis=case["axis"],
    )
    assert drawn.runs.tolist() == case["runs"]


@pytest.mark.parametrize("case", TABLE["polygons"], ids=lambda case: case["name"])
def test_polygon(case: dict[str, Any]) -> None:
    drawn = polygon(case["rings"], axis=case["axis"], plane=case["plane"], shape=SHAPE)
    assert drawn.runs.tolist() == case["runs"]


def test_a_disc_covers_the_area_of_a_disc() -> None:
    drawn = stroke([(0, 500, 500)], 90, spacing=(1, 0.3, 0.5), shape=(1, 1000, 1000), axis="z")
    assert drawn.count * 0.3 * 0.5 == pytest.approx(math.pi * 90**2, rel=1e-3)


def test_a_ball_has_the_volume_of_a_ball() -> None:
    drawn = stroke([(40, 60, 70)], 20, spacing=(0.9, 0.5, 0.6), shape=(90, 120, 140), axis=None)
    assert drawn.count * 0.9 * 0.5 * 0.6 == pytest.approx(4 / 3 * math.pi * 20**3, rel=2e-3)


def test_polygons_that_share_an_edge_neither_overlap_nor_leave_a_gap() -> None:
    corners = [(1.0, 2.0), (3.0, 21.0), (17.5, 18.0), (15.0, 1.0)]
    middle = (8.3, 9.7)
    whole = polygon([corners], axis="z", plane=0, shape=SHAPE).to_mask((0, 0, 0), SHAPE)
    parts = np.zeros(SHAPE, dtype=int)
    for a, b in zip(corners, corners[1:] + corners[:1], strict=True):
        parts += polygon([[a, b, middle]], axis="z", plane=0, shape=SHAPE).to_mask((0, 0, 0), SHAPE)
    assert np.array_equal(parts, whole)


finite = st.floats(-6, 26, allow_nan=False)
points = st.lists(st.tuples(finite, finite, finite), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(
    points=points,
    radius=st.floats(0.1, 9),
    spacing=st.tuples(*[st.floats(0.2, 4)] * 3),
    axis=st.sampled_from(["z", "y", "x", None]),
)
def test_any_stroke_is_what_the_plain_rule_says(
    points: list[tuple[float, float, float]], radius: float, spacing: tuple[float, float, float], axis: Any
) -> None:
    shape = (4, 9, 11)
    drawn = stroke(points, radius, spacing=spacing, shape=shape, axis=axis)
    case = {"points": points, "radius": radius, "spacing": spacing, "axis": axis}
    expected = [v for v in np.ndindex(*shape) if brush_rule.in_stroke(v, case)]
    assert drawn.runs.tolist() == brush_rule.runs_of(expected)


@settings(max_examples=60, deadline=None)
@given(rings=st.lists(st.lists(st.tuples(finite, finite), min_size=3, max_size=7), min_size=1, max_size=3))
def test_any_polygon_is_what_the_plain_rule_says(rings: list[list[tuple[float, float]]]) -> None:
    drawn = polygon(rings, axis="z", plane=1, shape=SHAPE)
    plain = [[list(p) for p in ring] for ring in rings]
    expected = [(1, r, c) for r in range(SHAPE[1]) for c in range(SHAPE[2]) if brush_rule.in_polygon(r, c, plain)]
    assert drawn.runs.tolist() == brush_rule.runs_of(expected)


@pytest.mark.parametrize("radius", [0, -1, math.nan, math.inf])
def test_a_radius_that_is_none_is_refused(radius: float) -> None:
    with pytest.raises(InvalidInput):
        stroke([(0, 0, 0)], radius, spacing=(1, 1, 1), shape=SHAPE, axis="z")


def test_a_gesture_over_a_whole_scene_is_refused_before_memory_is_spent() -> None:
    with pytest.raises(TooLarge):
        stroke([(0, 20_000, 20_000)], 30_000, spacing=(1, 1, 1), shape=(1, 40_000, 40_000), axis="z")
    with pytest.raises(TooLarge):
        polygon([[(0, 0), (0, 4e4), (4e4, 4e4)]], axis="z", plane=0, shape=(1, 40_000, 40_000))


def test_outside_is_empty() -> None:
    assert stroke([(9, 5, 5)], 2, spacing=(1, 1, 1), shape=SHAPE, axis="z") == Spans(np.empty((0, 4), np.int32))
