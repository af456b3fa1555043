"""Shapes to voxels, for exports that only know masks.

Voxel centres decide, as for the brush's polygon (``labels.brush``): a polygon fills the plane nearest to its own; a box the
voxels with ``low <= index < high``, and where it is flat along an axis, the nearest plane. Points and lines have no inside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from specimg.labels.brush import Axis, polygon
from specimg.labels.edit import Index, Spans
from specimg.labels.shapes import Shape

_NAMES: tuple[Axis, Axis, Axis] = ("z", "y", "x")


def spans_of(shape: Shape, grid: Index) -> Spans:
    """The voxels of a polygon or box inside a grid; none for a point or polyline."""
    if shape.kind == "polygon":
        plane = shape.plane
        assert plane is not None  # a polygon is flat: Shape checks it
        axis, at = plane
        rows, columns = (i for i in range(3) if i != axis)
        rings = [[(p[rows], p[columns]) for p in ring] for ring in shape.rings]
        return polygon(rings, axis=_NAMES[axis], plane=math.floor(at + 0.5), shape=grid)
    if shape.kind == "box":
        return _box(shape, grid)
    return Spans(np.empty((0, 4), np.int32))


def draw(shapes: Sequence[Shape], voxels: npt.NDArray[np.uint16]) -> int:
    """Write the labels of shapes into a (z, y, x) label array, later ones over earlier; how many had an inside."""
    drawn = 0
    for shape in shapes:
        size = voxels.shape
        spans = spans_of(shape, (size[0], size[1], size[2]))
        for z, y, x, length in spans.runs.tolist():
            voxels[z, y, x : x + length] = shape.label
        drawn += bool(len(spans))
    return drawn


def _box(shape: Shape, grid: Index) -> Spans:
    start, stop = [], []
    for low, high, n in zip(*shape.box, grid, strict=True):
        nearest = math.floor(low + 0.5)
        a, b = (nearest, nearest + 1) if low == high else (math.ceil(low), math.ceil(high))
        start.append(max(0, a))
        stop.append(min(n, b))
    if any(a >= b for a, b in zip(start, stop, strict=True)):
        return Spans(np.empty((0, 4), np.int32))
    z, y = np.meshgrid(np.arange(start[0], stop[0]), np.arange(start[1], stop[1]), indexing="ij")
    runs = np.empty((z.size, 4), np.int32)
    runs[:, 0], runs[:, 1], runs[:, 2], runs[:, 3] = z.ravel(), y.ravel(), start[2], stop[2] - start[2]
    return Spans(runs)
