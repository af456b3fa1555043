"""The brush rule one voxel at a time, and the tables made with it: what both languages must do to the last voxel.

Run it after a deliberate change of the rule: ``python tests/brush_rule.py`` writes ``golden/brush.json`` and
``golden/spans.json``. The voxels come from the rule in the docstring of ``specimg.labels.brush`` spelled out in plain
Python floats, never from that module.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from itertools import groupby, product
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent / "golden"
Voxel = tuple[int, int, int]

STROKES: list[dict[str, Any]] = [
    {"name": "one voxel", "axis": "z", "radius": 0.4, "spacing": [1, 1, 1], "points": [[2, 5, 7]]},
    {"name": "disc with ties on its border", "axis": "z", "radius": 5, "spacing": [1, 1, 1], "points": [[2, 10, 12]]},
    {"name": "disc between voxels", "axis": "z", "radius": 3.3, "spacing": [1, 1, 1], "points": [[2.4, 9.25, 11.6]]},
    {"name": "anisotropic plane", "axis": "z", "radius": 4, "spacing": [5, 0.7, 1.3], "points": [[1, 10, 8]]},
    {"name": "coronal plane", "axis": "y", "radius": 6, "spacing": [2.5, 0.8, 0.8], "points": [[3, 9, 10]]},
    {"name": "sagittal plane", "axis": "x", "radius": 6, "spacing": [2.5, 0.8, 0.8], "points": [[3.5, 9.5, 10.49]]},
    {"name": "stroke that turns", "axis": "z", "radius": 2, "spacing": [3, 1, 1],
     "points": [[4, 3, 3], [4, 3.5, 15.25], [4, 14, 18], [4, 14, 18], [4, 15.75, 6]]},
    {"name": "stroke over the border", "axis": "z", "radius": 3, "spacing": [1, 0.5, 0.75],
     "points": [[0, -2, 4], [0, 8, -6]]},
    {"name": "stroke quite outside", "axis": "z", "radius": 2, "spacing": [1, 1, 1], "points": [[2, -20, -20]]},
    {"name": "plane outside", "axis": "z", "radius": 2, "spacing": [1, 1, 1], "points": [[9, 5, 5]]},
    {"name": "ball", "axis": None, "radius": 3, "spacing": [1, 1, 1], "points": [[4, 8, 9]]},
    {"name": "ball, thick slices", "axis": None, "radius": 4.2, "spacing": [2.5, 0.9, 0.9], "points": [[3.2, 8.1, 9.7]]},
    {"name": "capsule through slices", "axis": None, "radius": 2.5, "spacing": [2, 1, 1],
     "points": [[1, 4, 4], [6, 14, 17]]},
]  # fmt: skip
SHAPE = (8, 20, 24)

POLYGONS: list[dict[str, Any]] = [
    {"name": "triangle", "axis": "z", "plane": 3, "rings": [[[2, 2], [16, 5], [7, 20]]]},
    {"name": "square on voxel centres", "axis": "z", "plane": 3, "rings": [[[4, 4], [4, 10], [9, 10], [9, 4]]]},
    {"name": "its neighbour", "axis": "z", "plane": 3, "rings": [[[4, 10], [4, 15], [9, 15], [9, 10]]]},
    {"name": "hole", "axis": "z", "plane": 0,
     "rings": [[[1, 1], [1, 22], [18, 22], [18, 1]], [[5.5, 6.5], [12.5, 6.5], [12.5, 15.5], [5.5, 15.5]]]},
    {"name": "crosses itself", "axis": "z", "plane": 0, "rings": [[[2, 2], [16, 20], [2, 20], [16, 2]]]},
    {"name": "coronal", "axis": "y", "plane": 11, "rings": [[[0.3, 3.2], [6.8, 8.1], [1.5, 19.9]]]},
    {"name": "sagittal", "axis": "x", "plane": 5, "rings": [[[0, 0], [7, 0], [7, 19], [0, 19]]]},
    {"name": "past the border", "axis": "z", "plane": 7, "rings": [[[-5, -5], [-5, 12.5], [25, 40], [12, -9]]]},
    {"name": "thinner than a voxel", "axis": "z", "plane": 2, "rings": [[[2.2, 3], [2.8, 3], [2.5, 18]]]},
]  # fmt: skip


def in_stroke(v: Voxel, case: dict[str, Any]) -> bool:
    """The brush rule for one voxel."""
    points = [[float(value) for value in p] for p in case["points"]]
    spacing = [float(s) for s in case["spacing"]]
    axes = [i for i, name in enumerate("zyx") if name != case["axis"]]
    if case["axis"] is not None:
        normal = "zyx".index(case["axis"])
        if v[normal] != math.floor(points[0][normal] + 0.5):
            return False
    for p, q in zip(points, points[1:] or points, strict=False):
        u = [(q[i] - p[i]) * spacing[i] for i in axes]
        w = [(v[i] - p[i]) * spacing[i] for i in axes]
        uu = uw = 0.0
        for a, b in zip(u, w, strict=True):
            uu += a * a
            uw += a * b
        t = 0.0 if uu == 0 else min(1.0, max(0.0, uw / uu))
        dd = 0.0
        for a, b in zip(u, w, strict=True):
            d = b - t * a
            dd += d * d
        if dd <= case["radius"] * case["radius"]:
            return True
    return False


def in_polygon(row: int, column: int, rings: list[list[list[float]]]) -> bool:
    """The polygon rule for one voxel: an odd number of crossings at or before it."""
    odd = False
    for ring in rings:
        for (r0, c0), (r1, c1) in zip(ring, ring[1:] + ring[:1], strict=True):
            if r0 > r1:
                r0, c0, r1, c1 = r1, c1, r0, c0
            if r0 <= row < r1:
                crossing = c0 + (row - r0) * (c1 - c0) / (r1 - r0)
                odd ^= crossing <= column
    return odd


def runs_of(voxels: list[Voxel]) -> list[list[int]]:
    """Voxels, sorted, as rows z, y, x, length."""
    runs = []
    for _, group in groupby(enumerate(voxels), key=lambda item: (item[1][0], item[1][1], item[1][2] - item[0])):
        part = [v for _, v in group]
        runs.append([*part[0], len(part)])
    return runs


def brush_table() -> dict[str, Any]:
    """``brush.json``."""
    everywhere: list[Voxel] = list(product(range(SHAPE[0]), range(SHAPE[1]), range(SHAPE[2])))
    strokes = [{**case, "runs": runs_of([v for v in everywhere if in_stroke(v, case)])} for case in STROKES]
    polygons = []
    for case in POLYGONS:
        normal = "zyx".index(case["axis"])
        rows, columns = (i for i in range(3) if i != normal)
        inside = [
            v for v in everywhere if v[normal] == case["plane"] and in_polygon(v[rows], v[columns], case["rings"])
        ]
        polygons.append({**case, "runs": runs_of(inside)})
    return {"rule": "src/specimg/labels/brush.py", "shape": list(SHAPE), "strokes": strokes, "polygons": polygons}


def spans_table() -> dict[str, Any]:
    """``spans.json``."""
    good = {
        "empty": [],
        "one voxel": [[0, 0, 0, 1]],
        "two rows": [[0, 1, 2, 3], [0, 2, 1, 4]],
        "two runs in a row": [[1, 1, 0, 2], [1, 1, 5, 1]],
        "runs that touch": [[1, 1, 0, 2], [1, 1, 2, 3]],
        "large indices": [[300, 511, 500, 12], [301, 0, 0, 65536]],
    }
    bad = {
        "length 0": [[0, 0, 0, 0]],
        "negative": [[0, 0, -1, 3]],
        "overlap": [[0, 0, 0, 3], [0, 0, 2, 2]],
        "x not sorted": [[0, 0, 5, 1], [0, 0, 0, 1]],
        "y not sorted": [[0, 1, 0, 1], [0, 0, 0, 1]],
        "z not sorted": [[1, 0, 0, 1], [0, 5, 0, 1]],
        "the same twice": [[0, 0, 0, 1], [0, 0, 0, 1]],
    }
    return {
        "form": "rows of z, y, x, length as little-endian int32; base64",
        "good": [
            {"name": name, "runs": runs, "count": sum(r[3] for r in runs), "base64": _base64(runs)}
            for name, runs in good.items()
        ],
        "bad": [{"name": name, "runs": runs, "base64": _base64(runs)} for name, runs in bad.items()],
    }


def _base64(runs: list[list[int]]) -> str:
    return base64.b64encode(b"".join(struct.pack("<4i", *run) for run in runs)).decode()


def _write(name: str, table: dict[str, Any]) -> None:
    lines = json.dumps(table, indent=1)
    (GOLDEN / name).write_text(lines + "\n")


if __name__ == "__main__":
    _write("brush.json", brush_table())
    _write("spans.json", spans_table())
