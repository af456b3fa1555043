"""The label store against a model without any cleverness: one dense array and one dict for every version.

Whatever several people do on whatever bases: every version stays readable and right, an act is refused exactly where the
same voxel was changed to something else, and nothing is lost.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from label_world import World
from specimg.errors import VersionConflict
from specimg.labels import segmentation as segmentations
from specimg.labels.edit import Edit, ShapeDelete, ShapePut, Spans, VoxelWrite
from specimg.labels.shapes import Shape

SHAPE = (34, 36, 66)  # 2 x 2 x 3 chunks, all borders cut
Volume = npt.NDArray[np.uint16]

# Coordinates around chunk borders, so that runs cross them and people meet.
coordinate = st.tuples(st.integers(28, 33), st.integers(28, 35), st.integers(24, 65))
boxes = st.tuples(coordinate, st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 40)))
labels = st.integers(0, 3)
overs = st.none() | st.frozensets(st.integers(0, 3), max_size=3)
writes = st.lists(st.tuples(boxes, labels, overs, st.integers(0, 2**31)), min_size=1, max_size=3)
shape_acts = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.none() | st.integers(1, 3)),
    max_size=2,
    unique_by=lambda act: act[0],
)


def mask_of(box: tuple[Any, Any], seed: int) -> npt.NDArray[np.bool_]:
    """A ragged patch in a box."""
    (z, y, x), (dz, dy, dx) = box
    mask = np.zeros(SHAPE, dtype=bool)
    part = mask[z : z + dz, y : y + dy, x : x + dx]
    part[...] = np.random.default_rng(seed).random(part.shape) < 0.7
    return mask


class Labelling(RuleBasedStateMachine):
    """People at work. ``volumes[v]`` and ``drawn[v]`` are what version v must be."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.id = world.segmentation(SHAPE)
        self.volumes: list[Volume] = [np.zeros(SHAPE, np.uint16)]
        self.drawn: list[dict[str, Shape]] = [{}]

    @rule(data=st.data(), writes=writes, acts=shape_acts, who=st.sampled_from(["ada", "ben", "cho"]))
    def edit(self, data: st.DataObject, writes: list[Any], acts: list[Any], who: str) -> None:
        base = self._version(data)
        wanted, asserted = self.volumes[base].copy(), np.zeros(SHAPE, dtype=bool)
        voxels = []
        for box, label, over, seed in writes:
            mask = mask_of(box, seed)
            voxels.append(VoxelWrite(label, Spans.from_mask(mask), over))
            chosen = mask if over is None else mask & np.isin(wanted, list(over))
            wanted[chosen] = label
            asserted |= chosen
        shapes, drawn = self._shapes(acts, base)
        edit = Edit(base, "brush", {}, tuple(voxels), shapes)
        self._expect(base, base, wanted, asserted, drawn, lambda: self.world.apply(self.id, edit, who))

    @precondition(lambda self: len(self.volumes) > 1)
    @rule(data=st.data())
    def revert(self, data: st.DataObject) -> None:
        version = data.draw(st.integers(1, len(self.volumes) - 1), label="version")
        base = data.draw(st.integers(version, len(self.volumes) - 1), label="base")
        self._expect_change(base, version, version - 1, lambda: self.world.revert(self.id, version, base))

    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        base = self._version(data)
        version = data.draw(st.integers(0, base), label="version")
        self._expect_change(base, base, version, lambda: self.world.restore(self.id, version, base))

    @invariant()
    def head_is_right(self) -> None:
        self._check(len(self.volumes) - 1)

    def teardown(self) -> None:
        for version in range(len(self.volumes)):
            self._check(version)
        with self.world.database.reading() as connection:
            found = segmentations.load(connection, self.id)
            history = segmentations.history(connection, found, limit=1000)
        assert [edit.version for edit in history] == list(range(len(self.volumes) - 1, 0, -1))
        for edit in history:
            changed = self.volumes[edit.version] != self.volumes[edit.version - 1]
            assert edit.voxels == np.count_nonzero(changed)

    def _version(self, data: st.DataObject) -> int:
        # Mostly the newest, as people do, but any is allowed.
        newest = len(self.volumes) - 1
        return data.draw(st.just(newest) | st.integers(0, newest), label="base")

    def _shapes(self, acts: list[Any], base: int) -> tuple[tuple[ShapePut | ShapeDelete, ...], dict[str, Shape | None]]:
        made: list[ShapePut | ShapeDelete] = []
        drawn: dict[str, Shape | None] = {}
        for shape_id, label in acts:
            if label is not None:
                drawn[shape_id] = shape = Shape(shape_id, "point", label, ((5.0, 6.0, 7.0 + label),))
                made.append(ShapePut(shape))
            elif shape_id in self.drawn[base]:
                drawn[shape_id] = None
                made.append(ShapeDelete(shape_id))
        return tuple(made), drawn

    def _expect_change(self, base: int, now: int, then: int, act: Any) -> None:
        asserted = self.volumes[now] != self.volumes[then]
        ids = sorted(self.drawn[now].keys() | self.drawn[then].keys())
        drawn = {i: self.drawn[then].get(i) for i in ids if self.drawn[now].get(i) != self.drawn[then].get(i)}
        self._expect(base, now, self.volumes[then], asserted, drawn, act)

    def _expect(
        self,
        base: int,
        seen: int,
        wanted: Volume,
        asserted: npt.NDArray[np.bool_],
        drawn: dict[str, Shape | None],
        act: Any,
    ) -> None:
        head = self.volumes[-1]
        collides = asserted & (head != self.volumes[seen]) & (head != wanted)
        shapes = {i for i, s in drawn.items() if self.drawn[-1].get(i) not in (self.drawn[seen].get(i), s)}
        if collides.any() or shapes:
            self._expect_conflict(base, collides, shapes, act)
            return
        done = act()
        assert done.version == len(self.volumes)
        self.volumes.append(np.where(asserted, wanted, head))
        after = {**self.drawn[-1], **drawn}
        self.drawn.append({i: s for i, s in after.items() if s is not None})

    def _expect_conflict(self, base: int, collides: npt.NDArray[np.bool_], shapes: set[str], act: Any) -> None:
        with pytest.raises(VersionConflict) as refused:
            act()
        conflict = refused.value
        assert (conflict.base, conflict.current) == (base, len(self.volumes) - 1)
        assert conflict.voxels == np.count_nonzero(collides)
        assert set(conflict.shapes) == shapes
        covered = np.zeros(SHAPE, dtype=bool)
        for box in conflict.boxes:
            inside = tuple(slice(a, b) for a, b in zip(box.start, box.stop, strict=True))
            assert collides[inside].any()
            covered[inside] = True
        assert not (collides & ~covered).any()
        assert len(conflict.boxes) <= 32

    def _check(self, version: int) -> None:
        assert np.array_equal(self.world.read(self.id, version), self.volumes[version])
        with self.world.database.reading() as connection:
            found = segmentations.load(connection, self.id)
            shapes = segmentations.shapes(connection, found, version)
        assert {s.id: s for s in shapes} == self.drawn[version]


def test_every_version_is_what_a_dense_array_says(world: World) -> None:
    class Here(Labelling):
        def __init__(self) -> None:
            super().__init__(world)

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=80, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
