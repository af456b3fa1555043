"""Shapes and label voxels as COCO: one image a slice, polygons where they say all, run lengths where not.

COCO counts from the corner of the first pixel, so a sample index i is at i + 0.5 (pycocotools' polygon and mask functions
agree on that). Points and polylines have no area and are left out, with a warning. Format: cocodataset.org/#format-data.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from specimg.errors import TooLarge
from specimg.formats.base import Mask, MaskClass, Series, ShapeRecord

MAX_ANNOTATIONS = 1_000_000
MAX_EXTENT = 2**27
"""Pixels of the box around a label in a slice; finding its parts takes five bytes for each."""

_TOUCHING = np.ones((3, 3), bool)
"""Voxels that touch at a corner belong to one object."""

Point = tuple[float, float]


def write_shapes(
    shapes: Sequence[ShapeRecord],
    classes: Sequence[MaskClass],
    path: Path,
    reference: Series,
    *,
    mask: Mask | None = None,
) -> tuple[str, ...]:
    """Write one COCO file of shapes and, where given, label voxels; returns warnings.

    Every connected part of a label in a slice is one annotation. A slice is listed where something lies on it, a raster
    always. Category ids are labels. Raises ``TooLarge`` beyond a million annotations.
    """
    builder = _Builder(reference)
    for shape in shapes:
        builder.add_shape(shape)
    if mask is not None:
        for z in range(mask.voxels.shape[0]):
            builder.add_slice(z, mask.voxels[z])
    document = builder.document(classes)
    path.write_text(json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")), "utf-8")
    return builder.warnings()


class _Builder:
    """Images and annotations so far."""

    def __init__(self, reference: Series) -> None:
        self._reference = reference
        self._annotations: list[dict[str, Any]] = []
        self._slices: set[int] = {0} if reference.kind == "raster" else set()
        self._left_out = 0

    def document(self, classes: Sequence[MaskClass]) -> dict[str, Any]:
        """The file's content."""
        used = {a["category_id"] for a in self._annotations}
        names = {c.label: c for c in classes}
        return {
            "info": {"description": self._reference.name, "version": "1.0"},
            "licenses": [],
            "images": [self._image(z) for z in sorted(self._slices)],
            "categories": [
                {"id": label, "name": names[label].name if label in names else f"class {label}", "supercategory": ""}
                for label in sorted(used | set(names))
            ],
            "annotations": self._annotations,
        }

    def warnings(self) -> tuple[str, ...]:
        """What could not be said in COCO."""
        if not self._left_out:
            return ()
        return (f"{self._left_out} shapes without an area in a slice were left out: COCO has no place for them.",)

    def add_shape(self, shape: ShapeRecord) -> None:
        """A polygon or box that lies in one slice."""
        heights = {p[0] for p in shape.points}
        if shape.kind not in ("polygon", "box") or len(heights) != 1:
            self._left_out += 1
            return
        rings = [[_corner(p) for p in ring] for ring in (shape.points, *shape.holes)]
        if shape.kind == "box":
            (left, top), (right, bottom) = rings[0]
            rings[0] = [(left, top), (right, top), (right, bottom), (left, bottom)]
        area = _area(rings[0]) - sum(_area(hole) for hole in rings[1:])
        columns, rows = zip(*rings[0], strict=True)
        box = [min(columns), min(rows), max(columns) - min(columns), max(rows) - min(rows)]
        # A COCO polygon cannot have a hole; what is drawn with one goes as run lengths.
        segmentation: Any = [[v for point in rings[0] for v in point]]
        if len(rings) > 1:
            filled, top, left = self._filled(rings)
            if not filled.any():
                self._left_out += 1
                return
            segmentation, area = self._runs(filled, top, left), float(filled.sum())
        self._add(round(heights.pop()), shape.label, segmentation, box, area, {"shape_id": shape.id})

    def add_slice(self, z: int, labels: npt.NDArray[np.uint16]) -> None:
        """Every connected part of every label of one slice."""
        for label, place in enumerate(ndimage.find_objects(labels), start=1):
            if place is None:
                continue
            inside = labels[place] == label
            if inside.size > MAX_EXTENT:
                raise TooLarge(f"label {label} spreads over {inside.size} pixels; export a mask instead of COCO")
            parts = np.empty(inside.shape, np.int32)
            ndimage.label(inside, structure=_TOUCHING, output=parts)
            for number, (rows, columns) in enumerate(ndimage.find_objects(parts), start=1):
                part = parts[rows, columns] == number
                top, left = place[0].start + rows.start, place[1].start + columns.start
                box = [float(v) for v in (left, top, part.shape[1], part.shape[0])]
                self._add(z, label, self._runs(part, top, left), box, float(part.sum()), {})

    def _add(
        self, z: int, label: int, segmentation: Any, box: list[float], area: float, attributes: dict[str, Any]
    ) -> None:
        if len(self._annotations) >= MAX_ANNOTATIONS:
            raise TooLarge(f"COCO of more than {MAX_ANNOTATIONS} annotations; export fewer labels at a time")
        self._slices.add(z)
        self._annotations.append(
            {
                "id": len(self._annotations) + 1,
                "image_id": z + 1,
                "category_id": label,
                "segmentation": segmentation,
                "bbox": box,
                "area": area,
                "iscrowd": 0,
                "attributes": attributes,
            }
        )

    def _image(self, z: int) -> dict[str, Any]:
        _, rows, columns = self._reference.grid.shape
        name = self._reference.name if self._reference.kind == "raster" else f"{self._reference.name}_z{z:04d}"
        return {"id": z + 1, "file_name": f"{name}.png", "width": columns, "height": rows, "z": z}

    def _filled(self, rings: Sequence[Sequence[Point]]) -> tuple[npt.NDArray[np.bool_], int, int]:
        """Samples whose centre lies inside by the even-odd rule, cut to the shape's box within the image."""
        _, height, width = self._reference.grid.shape
        columns, rows = zip(*rings[0], strict=True)
        top, left = max(0, int(np.floor(min(rows)))), max(0, int(np.floor(min(columns))))
        bottom, right = min(height, int(np.ceil(max(rows)))), min(width, int(np.ceil(max(columns))))
        inside = np.zeros((max(0, bottom - top), max(0, right - left)), bool)
        centers = np.arange(left, right) + 0.5
        for ring in rings:
            for (x1, y1), (x2, y2) in pairwise([*ring, ring[0]]):
                if y1 == y2:
                    continue
                low, high = sorted((y1, y2))
                for row in range(max(top, int(np.ceil(low - 0.5))), min(bottom, int(np.ceil(high - 0.5)))):
                    crossing = x1 + (row + 0.5 - y1) * (x2 - x1) / (y2 - y1)
                    inside[row - top] ^= centers > crossing
        return inside, top, left

    def _runs(self, part: npt.NDArray[np.bool_], top: int, left: int) -> dict[str, Any]:
        """Uncompressed run lengths: column by column, background first, of the whole image."""
        _, height, width = self._reference.grid.shape
        rows, columns = np.nonzero(part)
        places = np.sort((columns + left) * height + rows + top)
        starts = places[np.flatnonzero(np.diff(places, prepend=-2) != 1)]
        stops = places[np.flatnonzero(np.diff(places, append=-2) != 1)] + 1
        edges = np.stack([starts, stops], axis=1).ravel()
        marks = [0, *edges.tolist(), height * width]
        counts = [stop - start for start, stop in pairwise(marks)]
        if counts[-1] == 0:
            counts.pop()
        return {"size": [height, width], "counts": counts}


def _corner(point: tuple[float, float, float]) -> Point:
    """(x, y) as COCO counts."""
    return point[2] + 0.5, point[1] + 0.5


def _area(ring: Sequence[Point]) -> float:
    x0, y0 = ring[0]
    return abs(sum((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0) for (x1, y1), (x2, y2) in pairwise(ring))) / 2
