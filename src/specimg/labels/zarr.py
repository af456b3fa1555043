"""A version of a segmentation as a Zarr v3 group: the two ``zarr.json`` around chunks that already are Zarr chunks.

The group is an OME-Zarr 0.5 image with ``image-label`` metadata, one level, path ``0``; napari, neuroglancer and
zarr-python open it unchanged. Spacing is in the standard's ``scale``; orientation is in its ``orientation`` (RFC-4) where
world is a patient's, and the exact affine in our own namespace, because the standard's transforms cannot hold a rotation.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from specimg.geometry.grid import Grid
from specimg.labels.chunks import CODECS, ChunkGrid
from specimg.labels.ontology import LabelClass

ARRAY = "0"
_AXES = ("z", "y", "x")
_ORIENTATION = {
    "L": "right-to-left",
    "R": "left-to-right",
    "P": "anterior-to-posterior",
    "A": "posterior-to-anterior",
    "S": "inferior-to-superior",
    "I": "superior-to-inferior",
}


def zarr_json(
    key: str, *, grid: Grid, segmentation_id: str, version: int, name: str, classes: Sequence[LabelClass]
) -> bytes | None:
    """The document at ``zarr.json`` (group) or ``0/zarr.json`` (array); ``None`` for any other key."""
    if key == "zarr.json":
        return _dumps(_group(grid, segmentation_id, version, name, classes))
    if key == f"{ARRAY}/zarr.json":
        return _dumps(_array(ChunkGrid.of(grid.shape)))
    return None


def chunk_of(key: str) -> str | None:
    """The chunk (``z/y/x``) of a Zarr key ``0/c/z/y/x``; ``None`` for any other key."""
    prefix = f"{ARRAY}/c/"
    return key.removeprefix(prefix) if key.startswith(prefix) else None


def _array(chunks: ChunkGrid) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(chunks.shape),
        "data_type": "uint16",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunks.chunk)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": list(CODECS),
        "dimension_names": list(_AXES),
        "attributes": {},
    }


def _group(grid: Grid, segmentation_id: str, version: int, name: str, classes: Sequence[LabelClass]) -> dict[str, Any]:
    spacing = list(grid.affine.spacing)
    return {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {
            "ome": {
                "version": "0.5",
                "multiscales": [
                    {
                        "name": name,
                        "axes": _axes(grid),
                        "datasets": [
                            {
                                "path": ARRAY,
                                "coordinateTransformations": [
                                    {"type": "scale", "scale": spacing},
                                    {"type": "translation", "translation": _translation(grid)},
                                ],
                            }
                        ],
                    }
                ],
                "image-label": {
                    "version": "0.5",
                    "colors": [{"label-value": c.label, "rgba": [*c.rgb, 255]} for c in classes],
                    "properties": [{"label-value": c.label, "name": c.name} for c in classes],
                },
            },
            "specimg": {"segmentation": segmentation_id, "version": version, "grid": grid.to_json()},
        },
    }


def _axes(grid: Grid) -> list[dict[str, Any]]:
    axes: list[dict[str, Any]] = [{"name": name, "type": "space"} for name in _AXES]
    if grid.space.kind == "patient":
        for axis, towards in zip(axes, grid.affine.axis_codes(), strict=True):
            axis["unit"] = "millimeter"
            axis["orientation"] = {"type": "anatomical", "value": _ORIENTATION[towards]}
    return axes


def _translation(grid: Grid) -> list[float]:
    """Where the first voxel lies along the grid's own axes, as ``store.ngff`` places the image itself."""
    return [float(v) for v in np.linalg.solve(grid.affine.directions, grid.affine.matrix[:3, 3])]


def _dumps(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False).encode()
