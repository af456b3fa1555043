"""Labels from one grid onto another whose samples coincide: axes are swapped and turned, values never invented."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from specimg.errors import UnreadableFile
from specimg.geometry.affine import Affine
from specimg.geometry.grid import Grid


def reindexed(voxels: npt.NDArray[Any], source: Grid, target: Grid, *, file: str) -> npt.NDArray[Any]:
    """``voxels`` of ``source`` as (z, y, x) of ``target``.

    Raises ``UnreadableFile`` naming what differs unless the samples of both grids lie at the same places.
    """
    wanted = [
        int(np.argmax(np.abs(np.linalg.solve(source.affine.matrix[:3, :3], column))))
        for column in target.affine.matrix[:3, :3].T
    ]
    candidates = [tuple(wanted)] if sorted(wanted) == [0, 1, 2] else list(itertools.permutations(range(3)))
    difference = ""
    for order in candidates:
        for flips in itertools.product((False, True), repeat=3):
            turned = _turned(source, (order[0], order[1], order[2]), flips)
            problem = turned.matches(target)
            if problem is None:
                moved = voxels.transpose(order)
                return np.ascontiguousarray(moved[tuple(slice(None, None, -1 if f else 1) for f in flips)])
            difference = difference if difference.startswith("affine") else problem
    raise UnreadableFile(
        file=file,
        field="geometry",
        problem=f"its voxels do not lie on those of the image ({difference})",
        remedy="Resample the labels onto the image's grid before importing them.",
    )


def _turned(grid: Grid, order: tuple[int, int, int], flips: Sequence[bool]) -> Grid:
    matrix = grid.affine.matrix.copy()
    matrix[:, :3] = grid.affine.matrix[:, list(order)]
    shape = (grid.shape[order[0]], grid.shape[order[1]], grid.shape[order[2]])
    for axis, flip in enumerate(flips):
        if flip:
            matrix[:, 3] += matrix[:, axis] * (shape[axis] - 1)
            matrix[:, axis] *= -1
    return Grid(shape, Affine(matrix), grid.space)
