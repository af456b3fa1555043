"""Three-way merge of voxels: what an edit meant on its base, carried to the head.

An edit is judged on the version its author saw. There it *asserts* a value for some voxels: those its spans cover and its
``over`` rule admits. Carried to the head, an asserted voxel whose value is as it was at the base gets the new value; one
that somebody has meanwhile given that same value needs nothing; any other is a collision, and the whole edit is refused
with the places. Voxels that are not asserted are left alone, whatever happened to them. Nothing is ever overwritten
unseen, and two people who paint different voxels of one chunk never meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from specimg.errors import ConflictBox
from specimg.labels.edit import Box, Index, VoxelWrite

Labels = npt.NDArray[np.uint16]
Where = npt.NDArray[np.bool_]

MAX_BOXES = 32
"""Boxes in a conflict: enough to zoom to each, few enough to read."""


@dataclass(frozen=True, slots=True, eq=False)
class Assertion:
    """What an act says about one chunk: the value each voxel shall have, where ``where`` is true."""

    wanted: Labels
    where: Where


def assert_writes(base: Labels, writes: Sequence[tuple[VoxelWrite, Where]]) -> Assertion:
    """Apply writes in order to the chunk their author saw; each sees what the ones before it left."""
    wanted, where = base.copy(), np.zeros(base.shape, dtype=bool)
    for write, mask in writes:
        chosen = mask if write.over is None else mask & np.isin(wanted, sorted(write.over))
        wanted[chosen] = write.label
        where |= chosen
    return Assertion(wanted, where)


def assert_change(before: Labels, after: Labels) -> Assertion:
    """Say that every voxel which differs shall be as in ``after``: revert and restore."""
    return Assertion(after, before != after)


def carry(assertion: Assertion, base: Labels, head: Labels) -> tuple[Labels, Where | None]:
    """The head with the assertion carried to it, and the colliding voxels (``None``: there are none)."""
    result = np.where(assertion.where, assertion.wanted, head)
    if base is head:
        return result, None
    collides = assertion.where & (head != base) & (head != assertion.wanted)
    return result, collides if collides.any() else None


@dataclass(slots=True)
class Collisions:
    """Collects colliding voxels chunk by chunk into a bounded number of boxes."""

    voxels: int = 0
    _boxes: list[Box] = field(default_factory=list)

    def add(self, start: Index, where: Where) -> None:
        """Collisions of the chunk that begins at index ``start``."""
        self.voxels += int(np.count_nonzero(where))
        marks, count = ndimage.label(where, np.ones((3, 3, 3)))
        found = ndimage.find_objects(marks) if count <= MAX_BOXES else [bounds_of(where)]
        for part in found:
            a, b = (tuple(edge) for edge in zip(*((s.start, s.stop) for s in part), strict=True))
            self._boxes.append((_plus(start, a), _plus(start, b)))
        self._boxes = join(self._boxes)
        if len(self._boxes) > MAX_BOXES:
            self._boxes = _nearest(self._boxes)

    @property
    def boxes(self) -> tuple[ConflictBox, ...]:
        """Boxes around all of them; boxes that touch are one."""
        return tuple(ConflictBox(start, stop) for start, stop in sorted(self._boxes))


def bounds_of(where: Where) -> tuple[slice, slice, slice]:
    """The smallest box around the true voxels of an array that has some."""
    z = np.flatnonzero(np.any(where, axis=(1, 2)))
    plane = np.any(where, axis=0)
    y, x = np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
    return slice(int(z[0]), int(z[-1]) + 1), slice(int(y[0]), int(y[-1]) + 1), slice(int(x[0]), int(x[-1]) + 1)


def join(boxes: Sequence[Box]) -> list[Box]:
    """Unite boxes that overlap or touch until none do."""
    rest, joined = list(boxes), []
    while rest:
        box = rest.pop()
        near = [other for other in rest if _touch(box, other)]
        if near:
            rest = [other for other in rest if other not in near]
            for other in near:
                box = union(box, other)
            rest.append(box)
        else:
            joined.append(box)
    return joined


def union(a: Box, b: Box) -> Box:
    """The smallest box around both."""
    start = tuple(map(min, a[0], b[0]))
    stop = tuple(map(max, a[1], b[1]))
    return (start[0], start[1], start[2]), (stop[0], stop[1], stop[2])


def _touch(a: Box, b: Box) -> bool:
    return all(a[0][i] <= b[1][i] and b[0][i] <= a[1][i] for i in range(3))


def _nearest(boxes: Sequence[Box]) -> list[Box]:
    # Unite neighbours along the sorted order: crude, but each box stays true and the number halves.
    ordered = sorted(boxes)
    pairs = [union(*ordered[i : i + 2]) for i in range(0, len(ordered) - 1, 2)]
    return join(pairs + ordered[len(ordered) // 2 * 2 :])


def _plus(a: Sequence[int], b: Sequence[int]) -> Index:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]
