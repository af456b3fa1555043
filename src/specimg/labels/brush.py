"""Brush and polygon in index space: which voxels a gesture covers. Twin: ``viewer/src/labels/brush.ts``.

Both sides obey the table ``tests/golden/brush.json``, so that the preview under the cursor is what the server keeps. To
agree to the last voxel they do the same double-precision operations in the same order:

**Brush.** A voxel belongs to a stroke if its centre is at most ``radius`` (world units) away from the polyline through
the gesture's points (a single point: a disc or ball). Let ``s`` be the spacing, ``p`` and ``q`` two successive points and
``v`` a voxel, as continuous indices. Per axis in the order z, y, x (axes not brushed are left out)::

    u = (q - p) * s        w = (v - p) * s
    uu = sum(u * u)        uw = sum(u * w)                        # summed in axis order, from the left
    t = 0 if uu == 0 else min(1, max(0, uw / uu))
    d = w - t * u          inside if sum(d * d) <= radius * radius

A disc brushes the two axes of a plane, on the one plane given; a ball brushes all three. Axes count as being at right
angles with the given spacing: in an acquired plane they are; across a sheared (gantry tilt) grid the ball is sheared too.

**Polygon.** In the two axes (row, column) of a plane. An edge from ``(r0, c0)`` to ``(r1, c1)``, turned so that ``r0 < r1``,
crosses row ``r`` if ``r0 <= r < r1``, at ``c = c0 + (r - r0) * (c1 - c0) / (r1 - r0)``. Crossings of a row are sorted and
paired (even-odd rule over all rings), and a pair ``(a, b)`` covers the columns ``a <= column < b``. So voxel centres decide,
and polygons that share an edge share no voxel and leave no gap.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from specimg.errors import InvalidInput, TooLarge
from specimg.labels.edit import Box, Index, Spans

Axis: TypeAlias = Literal["z", "y", "x"]
Point: TypeAlias = tuple[float, float, float]

MAX_BOX = 1 << 28
"""Voxels of a gesture's box: 256 MiB of mask."""


def stroke(
    points: Sequence[Point],
    radius: float,
    *,
    spacing: Point,
    shape: Index,
    axis: Axis | None,
) -> Spans:
    """The voxels of a brush stroke.

    ``points`` are continuous indices (z, y, x), ``radius`` and ``spacing`` (z, y, x) world units, ``shape`` the grid's.
    ``axis`` names the normal of the brushed plane, which is the one nearest to the first point; ``None`` is a ball.
    """
    if not points or not radius > 0 or not math.isfinite(radius):
        raise InvalidInput("a stroke needs points and a radius above 0", field="points")
    if not all(math.isfinite(v) for p in points for v in p):
        raise InvalidInput("points are three finite numbers (z, y, x)", field="points")
    normal = None if axis is None else "zyx".index(axis)
    box = _stroke_box(points, radius, spacing, shape, normal)
    if box is None:
        return Spans(np.empty((0, 4), np.int32))
    mask = np.zeros(_size(box), dtype=bool)
    for p, q in itertools.pairwise(points if len(points) > 1 else [*points, *points]):
        part = _stroke_box((p, q), radius, spacing, shape, normal, plane=box[0])
        if part is not None:
            inner = tuple(slice(a - o, b - o) for a, b, o in zip(*part, box[0], strict=True))
            mask[inner] |= _capsule(p, q, radius, spacing, part, normal)
    return Spans.from_mask(mask, box[0])


def polygon(rings: Sequence[Sequence[tuple[float, float]]], *, axis: Axis, plane: int, shape: Index) -> Spans:
    """The voxels of one plane inside rings of (row, column), even-odd; rows and columns are the remaining axes in order."""
    normal = "zyx".index(axis)
    rows_axis, columns_axis = (i for i in range(3) if i != normal)
    if not 0 <= plane < shape[normal]:
        return Spans(np.empty((0, 4), np.int32))
    values = [r for ring in rings for r, _ in ring]
    columns = [c for ring in rings for _, c in ring]
    low, high = max(0, math.ceil(min(values))), min(shape[rows_axis] - 1, math.floor(max(values)))
    left, right = max(0, math.ceil(min(columns))), min(shape[columns_axis] - 1, math.floor(max(columns)))
    if low > high or left > right:
        return Spans(np.empty((0, 4), np.int32))
    inside = _fill(rings, low, high, left, right)
    start = [0, 0, 0]
    start[normal], start[rows_axis], start[columns_axis] = plane, low, left
    return Spans.from_mask(np.expand_dims(inside, normal), start)


def _fill(
    rings: Sequence[Sequence[tuple[float, float]]], low: int, high: int, left: int, right: int
) -> npt.NDArray[np.bool_]:
    """Rows ``low..high`` and columns ``left..right``, both included."""
    _require_size((high - low + 1) * (right - left + 2))
    # Pairing sorted crossings is counting parity: each crossing at c flips every column of its row from ceil(c) on.
    flips = np.zeros((high - low + 1, right - left + 2), dtype=np.uint8)
    for ring in rings:
        corners = np.asarray(ring, dtype=np.float64)
        for (r0, c0), (r1, c1) in zip(corners.tolist(), np.roll(corners, -1, axis=0).tolist(), strict=True):
            if r0 == r1:
                continue
            if r0 > r1:
                r0, c0, r1, c1 = r1, c1, r0, c0
            rows = np.arange(max(low, math.ceil(r0)), min(high, math.ceil(r1) - 1) + 1)
            crossing = np.ceil(c0 + (rows - r0) * (c1 - c0) / (r1 - r0))
            column = np.clip(crossing, left, right + 1).astype(np.int64) - left
            flips[rows - low, column] ^= 1
    return np.bitwise_xor.accumulate(flips, axis=1)[:, :-1].astype(bool)


def _capsule(p: Point, q: Point, radius: float, spacing: Point, box: Box, normal: int | None) -> npt.NDArray[np.bool_]:
    axes = [i for i in range(3) if i != normal]
    u = {i: (q[i] - p[i]) * spacing[i] for i in axes}
    uu = sum((u[i] * u[i] for i in axes), 0.0)
    w = {}
    for i in axes:
        along = (np.arange(box[0][i], box[1][i], dtype=np.float64) - p[i]) * spacing[i]
        w[i] = along.reshape([-1 if j == i else 1 for j in range(3)])
    if uu == 0:
        distance = sum((w[i] * w[i] for i in axes), np.zeros(()))
    else:
        uw = sum((u[i] * w[i] for i in axes), np.zeros(()))
        t = np.clip(uw / uu, 0.0, 1.0)
        distance = sum(((w[i] - t * u[i]) ** 2 for i in axes), np.zeros(()))
    return np.broadcast_to(distance <= radius * radius, _size(box))


def _stroke_box(
    points: Sequence[Point],
    radius: float,
    spacing: Point,
    shape: Index,
    normal: int | None,
    plane: Index | None = None,
) -> Box | None:
    """A box of voxels that holds the stroke inside the grid; one voxel of margin, so that rounding cuts nothing."""
    start, stop = [], []
    for i in range(3):
        if i == normal:
            at = math.floor(points[0][i] + 0.5) if plane is None else plane[i]
            low, high = at, at + 1
        else:
            reach = radius / spacing[i]
            low = math.floor(min(p[i] for p in points) - reach) - 1
            high = math.ceil(max(p[i] for p in points) + reach) + 2
        start.append(max(0, low))
        stop.append(min(shape[i], high))
    if any(a >= b for a, b in zip(start, stop, strict=True)):
        return None
    box = (start[0], start[1], start[2]), (stop[0], stop[1], stop[2])
    _require_size(math.prod(_size(box)))
    return box


def _size(box: Box) -> tuple[int, int, int]:
    (z0, y0, x0), (z1, y1, x1) = box
    return z1 - z0, y1 - y0, x1 - x0


def _require_size(voxels: int) -> None:
    if voxels > MAX_BOX:
        raise TooLarge("this gesture covers too much at once; use a smaller radius or a shape")
