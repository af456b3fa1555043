"""Versions of a segmentation: what people do to each other, and what another Zarr reader sees."""

from __future__ import annotations

import json
import sqlite3
from typing import Any, Literal

import numpy as np
import pytest
import zarr
from ome_zarr_models.v05.image_label import ImageLabel
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from label_world import OBLIQUE, PROJECT, World, actor, box_mask, paint
from specimg.digest import digest, digest_json
from specimg.errors import Conflict, InvalidInput, NotFound, StoreError, VersionConflict
from specimg.geometry.grid import Space
from specimg.labels import ontology, segmentation, versions
from specimg.labels.chunk_store import FILE_BYTES, chunk_index, owns_blob
from specimg.labels.edit import Edit, ShapeDelete, ShapePut, Spans, VoxelWrite, spans_by_label
from specimg.labels.shapes import Shape

SHAPE = (40, 70, 90)
LEFT = box_mask(SHAPE, (3, 10, 10), (6, 20, 30))
RIGHT = box_mask(SHAPE, (3, 10, 31), (6, 20, 60))  # shares chunks with LEFT, but no voxel


def polygon(shape_id: str, label: int = 1, x: float = 10.0) -> Shape:
    return Shape(shape_id, "polygon", label, ((4, 5, x), (4, 5.5, x + 8), (4, 14, x + 3)), attributes={"seen": True})


# --- two people -----------------------------------------------------------------------------------------------------


def test_two_people_in_one_chunk_but_not_in_one_voxel_never_meet(world: World) -> None:
    at = world.segmentation(SHAPE)
    world.apply(at, paint(LEFT, 1, base=0), "ada")
    second = world.apply(at, paint(RIGHT, 2, base=0), "ben")
    assert second.version == 2
    assert np.array_equal(world.read(at), LEFT + 2 * RIGHT)


def test_the_same_voxel_with_another_label_is_refused_with_its_box(world: World) -> None:
    at = world.segmentation(SHAPE)
    world.apply(at, paint(LEFT, 1, base=0), "ada")
    meets = box_mask(SHAPE, (4, 15, 25), (5, 40, 50))
    with pytest.raises(VersionConflict) as conflict:
        world.apply(at, paint(meets, 2, base=0), "ben")
    both = np.argwhere(LEFT & meets)
    assert conflict.value.voxels == len(both) == 1 * 5 * 5
    [box] = conflict.value.boxes
    assert box.start == tuple(both.min(axis=0))
    assert box.stop == tuple(both.max(axis=0) + 1)
    assert (conflict.value.base, conflict.value.current) == (0, 1)
    assert world.load(at).head == 1
    assert np.array_equal(world.read(at), LEFT)


def test_the_same_voxel_with_the_same_label_is_agreement(world: World) -> None:
    at = world.segmentation(SHAPE)
    world.apply(at, paint(LEFT, 1, base=0), "ada")
    again = world.apply(at, paint(LEFT, 1, base=0), "ben")
    assert (again.version, again.voxels, again.box) == (2, 0, None)
    assert again.chunks == {}


def test_drawing_over_what_one_has_seen_is_no_conflict(world: World) -> None:
    at = world.segmentation(SHAPE)
    world.apply(at, paint(LEFT, 1, base=0), "ada")
    world.apply(at, paint(LEFT, 2, base=1), "ben")
    assert np.array_equal(world.read(at), 2 * LEFT)


def test_a_voxel_erased_unseen_is_not_painted_again_unseen(world: World) -> None:
    at = world.segmentation(SHAPE)
    world.apply(at, paint(LEFT, 1, base=0), "ada")
    world.apply(at, paint(LEFT, 0, base=1), "ben")
    with pytest.raises(VersionConflict):  # on Ada's screen it still was 1
        world.apply(at, paint(LEFT, 1, base=1), "ada")


def test_over_means_what_it_meant_on_the_base(world: World) -> None:
    at = world.segmentation(SHAPE)
    world.apply(at, paint(LEFT, 1, base=0), "ada")
    everything = box_mask(SHAPE, (3, 10, 10), (6, 20, 60))
    # Ben sees version 1 and fills background only; meanwhile Ada erases hers. Ben's fill must not take that place.
    world.apply(at, paint(LEFT, 0, base=1), "ada")
    world.apply(at, paint(everything, 2, base=1, over=[0]), "ben")
    assert np.array_equal(world.read(at), 2 * (everything & ~LEFT))


def test_writes_of_one_edit_see_those_before(world: World) -> None:
    at = world.segmentation(SHAPE)
    one, two = VoxelWrite(1, Spans.from_mask(LEFT)), VoxelWrite(2, Spans.from_mask(LEFT), frozenset({1}))
    world.apply(at, Edit(0, "fill", voxels=(one, two)))
    assert np.array_equal(world.read(at), 2 * LEFT)


def test_far_apart_collisions_come_as_separate_boxes(world: World) -> None:
    at = world.segmentation(SHAPE)
    corners = box_mask(SHAPE, (0, 0, 0), (2, 2, 2)) | box_mask(SHAPE, (38, 60, 80), (40, 70, 90))
    across = box_mask(SHAPE, (10, 30, 30), (12, 34, 34))  # four chunks, one box
    world.apply(at, paint(corners | across, 1, base=0))
    with pytest.raises(VersionConflict) as conflict:
        world.apply(at, paint(np.ones(SHAPE, bool), 2, base=0))
    assert [(box.start, box.stop) for box in conflict.value.boxes] == [
        ((0, 0, 0), (2, 2, 2)),
        ((10, 30, 30), (12, 34, 34)),
        ((38, 60, 80), (40, 70, 90)),
    ]


def test_a_thousand_collisions_are_told_in_few_boxes(world: World) -> None:
    at = world.segmentation((64, 64, 64))
    dots = np.zeros((64, 64, 64), dtype=bool)
    dots[::6, ::6, ::6] = True
    world.apply(at, paint(dots, 1, base=0))
    with pytest.raises(VersionConflict) as conflict:
        world.apply(at, paint(dots, 2, base=0))
    assert conflict.value.voxels == np.count_nonzero(dots)
    covered = np.zeros_like(dots)
    assert len(conflict.value.boxes) <= 32
    for box in conflict.value.boxes:
        covered[tuple(slice(a, b) for a, b in zip(box.start, box.stop, strict=True))] = True
    assert covered[dots].all()


def test_one_shape_changed_by_two_is_refused_by_name(world: World) -> None:
    at = world.segmentation(SHAPE)
    world.apply(at, Edit(0, "polygon", shapes=(ShapePut(polygon("a")), ShapePut(polygon("b")))))
    world.apply(at, Edit(1, "polygon", shapes=(ShapePut(polygon("a", x=20)),)), "ben")
    with pytest.raises(VersionConflict) as conflict:
        world.apply(at, Edit(1, "polygon", shapes=(ShapeDelete("a"), ShapePut(polygon("b", x=30)))), "ada")
    assert conflict.value.shapes == ("a",)
    with world.database.reading() as connection:
        found = segmentation.load(connection, at)
        assert segmentation.shapes(connection, found, 2) == [polygon("a", x=20), polygon("b")]


# --- undo and time travel -------------------------------------------------------------------------------------------


def test_undo_and_redo_of_the_newest(world: World) -> None:
    at = world.segmentation(SHAPE)
    world.apply(at, paint(LEFT, 1, base=0, shapes=(ShapePut(polygon("a")),)))
    undone = world.revert(at, 1)
    assert (undone.version, undone.voxels) == (2, int(np.count_nonzero(LEFT)))
    assert undone.shapes == {"a": None}
    assert set(undone.chunks.values()) == {None}
    assert not world.read(at).any()
    world.revert(at, 2)
    assert np.array_equal(world.read(at), LEFT)


def test_one_old_edit_is_taken_back_from_under_others(world: World) -> None:
    at = world.segmentation(SHAPE)
    world.apply(at, paint(LEFT, 1, base=0))
    world.apply(at, paint(RIGHT, 2, base=1))
    world.revert(at, 1)
    assert np.array_equal(world.read(at), 2 * RIGHT)


def test_what_was_drawn_over_since_is_not_taken_back(world: World) -> None:
    at = world.segmentation(SHAPE)
    world.apply(at, paint(LEFT, 1, base=0))
    world.apply(at, paint(box_mask(SHAPE, (4, 12, 12), (5, 14, 15)), 2, base=1), "ben")
    with pytest.raises(VersionConflict) as conflict:
        world.revert(at, 1)
    assert conflict.value.voxels == 1 * 2 * 3


def test_restore_brings_back_voxels_and_shapes_of_a_version(world: World) -> None:
    at = world.segmentation(SHAPE)
    world.apply(at, paint(LEFT, 1, base=0, shapes=(ShapePut(polygon("a")),)))
    world.apply(at, paint(LEFT, 3, base=1, shapes=(ShapeDelete("a"), ShapePut(polygon("b")))))
    world.apply(at, paint(RIGHT, 2, base=2))
    restored = world.restore(at, 1)
    assert restored.version == 4
    assert np.array_equal(world.read(at), LEFT)
    with world.database.reading() as connection:
        found = segmentation.load(connection, at)
        assert segmentation.shapes(connection, found, 4) == [polygon("a")]
        assert segmentation.shapes(connection, found, 3) == [polygon("b")]
        assert chunk_index(connection, at, 4) == chunk_index(connection, at, 1)


def test_restore_keeps_what_came_after_the_version_that_was_seen(world: World) -> None:
    at = world.segmentation(SHAPE)
    world.apply(at, paint(LEFT, 1, base=0))
    world.apply(at, paint(RIGHT, 2, base=1), "ben")
    world.restore(at, 0, base=1)
    assert np.array_equal(world.read(at), 2 * RIGHT)


def test_history_tells_who_when_what(world: World) -> None:
    at = world.segmentation(SHAPE)
    first = world.apply(at, paint(LEFT, 1, base=0), "ada")
    world.apply(at, paint(RIGHT, 2, base=0), "ben")
    with world.database.reading() as connection:
        found = segmentation.load(connection, at)
        newest, oldest = segmentation.history(connection, found)
        assert [e.version for e in segmentation.history(connection, found, before=2)] == [1]
        assert [e.version for e in segmentation.history(connection, found, limit=1)] == [2]
    assert (newest.version, newest.base, newest.actor_id) == (2, 0, "account-ben")
    assert (oldest.digest, oldest.voxels, oldest.box) == (first.digest, 3 * 10 * 20, ((3, 10, 10), (6, 20, 30)))
    assert (oldest.tool, oldest.params) == ("brush", {"radius_mm": 4})


def test_a_client_follows_by_what_changed(world: World) -> None:
    at = world.segmentation(SHAPE)
    world.apply(at, paint(LEFT, 1, base=0, shapes=(ShapePut(polygon("a")), ShapePut(polygon("b")))))
    world.apply(at, paint(box_mask(SHAPE, (0, 0, 0), (40, 1, 1)), 2, base=1, shapes=(ShapeDelete("a"),)))
    world.apply(at, Edit(2, "polygon", shapes=(ShapePut(polygon("c")), ShapePut(polygon("b", x=30)))))
    world.revert(at, 2)
    with world.database.reading() as connection:
        found = segmentation.load(connection, at)
        changed = segmentation.changes(connection, found, 1)
        assert changed.version == 4
        assert changed.chunks == {"0/0/0": chunk_index(connection, at, 1)["0/0/0"], "1/0/0": None}
        assert changed.shapes == (polygon("a"), polygon("b", x=30), polygon("c"))
        assert changed.deleted_shapes == ()
        assert segmentation.changes(connection, found, 3).shapes == (polygon("a"),)
        nothing = segmentation.changes(connection, found, 4)
        assert (nothing.chunks, nothing.shapes, nothing.deleted_shapes) == ({}, (), ())
    with world.database.transaction() as connection:
        gone = segmentation.load(connection, at)
        versions.apply(
            connection,
            world.blobs,
            gone,
            Edit(4, "polygon", shapes=(ShapeDelete("c"),)),
            actor=actor("ada"),
            time="2026-11-21T10:15:00.000000Z",
            entry_id="entry-gone",
        )
    with world.database.reading() as connection:
        assert segmentation.changes(connection, segmentation.load(connection, at), 1).deleted_shapes == ("c",)


def test_shapes_are_found_by_box(world: World) -> None:
    at = world.segmentation(SHAPE)
    world.apply(at, Edit(0, "polygon", shapes=(ShapePut(polygon("a", x=5)), ShapePut(polygon("b", x=60)))))
    with world.database.reading() as connection:
        found = segmentation.load(connection, at)
        near = segmentation.shapes(connection, found, 1, ((0, 0, 13), (40, 70, 20)))
        assert [s.id for s in near] == ["a"]
        assert segmentation.shapes(connection, found, 1, ((5, 0, 0), (40, 70, 90))) == []


# --- requests that come twice, or wrong -----------------------------------------------------------------------------


def test_a_request_that_comes_twice_is_done_once(world: World) -> None:
    at = world.segmentation(SHAPE)
    edit = paint(LEFT, 1, base=0, request_id="r1", shapes=(ShapePut(polygon("a")),))
    first = world.apply(at, edit)
    world.apply(at, paint(RIGHT, 2, base=1))
    again = world.apply(at, edit)
    assert again.repeated
    for field in ("version", "base", "digest", "previous_digest", "entry_id", "voxels", "box", "chunks", "shapes"):
        assert getattr(again, field) == getattr(first, field)
    assert world.load(at).head == 2


def test_one_id_for_two_requests_is_refused(world: World) -> None:
    at = world.segmentation(SHAPE)
    world.apply(at, paint(LEFT, 1, base=0, request_id="r1"))
    with pytest.raises(Conflict):
        world.apply(at, paint(LEFT, 2, base=0, request_id="r1"))
    with pytest.raises(Conflict):
        world.apply(at, paint(LEFT, 1, base=0, request_id="r1"), "ben")


@pytest.mark.parametrize(
    "edit",
    [
        Edit(7, "brush", voxels=(VoxelWrite(1, Spans.from_mask(LEFT)),)),
        Edit(0, "brush"),
        Edit(0, "brush", voxels=(VoxelWrite(1, Spans(np.array([[0, 0, 89, 2]], np.int32))),)),
        Edit(0, "polygon", shapes=(ShapeDelete("never there"),)),
        Edit(0, "polygon", shapes=(ShapePut(polygon("outside", x=900)),)),
    ],
    ids=["base ahead of head", "nothing", "voxels outside", "shape not there", "shape outside"],
)
def test_an_edit_that_cannot_be_is_refused_and_leaves_nothing(world: World, edit: Edit) -> None:
    at = world.segmentation(SHAPE)
    with pytest.raises(InvalidInput):
        world.apply(at, edit)
    assert world.load(at).head == 0


def test_versions_that_are_not_there(world: World) -> None:
    at = world.segmentation(SHAPE)
    world.apply(at, paint(LEFT, 1, base=0))
    for version, base in ((0, 1), (2, 1), (1, 2), (1, 0)):
        with pytest.raises(InvalidInput):
            world.revert(at, version, base)
    for version, base in ((2, 1), (-1, 1), (0, 2)):
        with pytest.raises(InvalidInput):
            world.restore(at, version, base)
    with pytest.raises(NotFound):
        world.read(at, 2)
    with pytest.raises(NotFound):
        world.load("no such id")


def test_a_segmentation_loaded_before_the_lock_cannot_be_written(world: World) -> None:
    at = world.segmentation(SHAPE)
    stale = world.load(at)
    world.apply(at, paint(LEFT, 1, base=0))
    with pytest.raises(Conflict, match="loaded before"), world.database.transaction() as connection:
        versions.apply(
            connection,
            world.blobs,
            stale,
            paint(RIGHT, 1, base=0),
            actor=actor("ada"),
            time="2026-11-21T10:15:00.000000Z",
            entry_id="entry-stale",
        )
    assert world.load(at).head == 1


def test_history_cannot_be_rewritten_by_accident(world: World) -> None:
    at = world.segmentation(SHAPE)
    world.apply(at, paint(LEFT, 1, base=0))
    with sqlite3.connect(world.home / "specimg.db") as connection:
        for statement in ("UPDATE edit SET tool = 'x'", "DELETE FROM chunk_version", "UPDATE blob SET size = 1"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)
    connection.close()


# --- digests --------------------------------------------------------------------------------------------------------


def test_the_digest_of_an_edit_is_as_documented(world: World) -> None:
    at = world.segmentation(SHAPE)
    first = world.apply(at, paint(LEFT, 1, base=0, shapes=(ShapePut(polygon("a")), ShapePut(polygon("b")))))
    second = world.apply(at, paint(LEFT, 0, base=1, shapes=(ShapeDelete("b"), ShapePut(polygon("c")))))
    with world.database.reading() as connection:
        blobs = chunk_index(connection, at, 1)
    assert first.previous_digest == digest_json({"segmentation": at})
    assert second.previous_digest == first.digest
    assert second.digest == digest_json(
        {
            "segmentation": at,
            "version": 2,
            "base": 1,
            "previous": first.digest,
            "tool": "brush",
            "params": {"radius_mm": 4},
            "reason": None,
            "chunks": [["0/0/0", None]],
            "shapes": [["b", None], ["c", digest_json(polygon("c").to_json())]],
        }
    )
    assert first.chunks == blobs
    assert world.load(at).head_digest == second.digest


def test_a_blob_on_a_disk_that_lies_is_found(world: World) -> None:
    at = world.segmentation((1, 256, 256))
    noise = np.random.default_rng(3).integers(0, 512, (1, 256, 256)).astype(np.uint16)  # 9 of 16 bits do not compress
    wrote = world.apply(at, Edit(0, "import", voxels=_all_labels(noise)))
    [name] = wrote.chunks.values()
    assert name is not None
    path = world.blobs.path(name)
    data = bytearray(path.read_bytes())
    assert len(data) >= FILE_BYTES
    assert digest(bytes(data)) == name
    assert np.array_equal(world.read(at), noise)
    data[1000] ^= 1
    path.chmod(0o600)
    path.write_bytes(bytes(data))
    with pytest.raises(StoreError):
        world.read(at)


def test_a_blob_is_only_served_with_the_segmentation_that_has_it(world: World) -> None:
    mine, other = world.segmentation(SHAPE), world.segmentation(SHAPE)
    wrote = world.apply(mine, paint(LEFT, 77, base=0))
    world.apply(mine, paint(LEFT, 0, base=1))
    name = wrote.chunks["0/0/0"]
    assert name is not None
    with world.database.reading() as connection:
        assert owns_blob(connection, mine, name)
        assert not owns_blob(connection, other, name)
        assert digest(segmentation.blob_bytes(connection, world.blobs, name)) == name


# --- as Zarr --------------------------------------------------------------------------------------------------------


def as_zarr(world: World, at: str, version: int) -> MemoryStore:
    """Every key of a version, as the server sends it."""
    prototype = default_buffer_prototype().buffer
    with world.database.reading() as connection:
        found = segmentation.load(connection, at)
        files: dict[str, bytes] = {}
        for key in ("zarr.json", "0/zarr.json"):
            document = segmentation.zarr_json(
                key,
                grid=found.grid,
                segmentation_id=at,
                version=version,
                name=found.name,
                classes=ontology.latest(connection, found.ontology_id).classes,
            )
            assert document is not None
            files[key] = document
        for key, name in chunk_index(connection, at, version).items():
            files[f"0/c/{key}"] = segmentation.blob_bytes(connection, world.blobs, name)
    return MemoryStore({key: prototype.from_bytes(data) for key, data in files.items()})


@pytest.mark.parametrize("shape", [SHAPE, (1, 300, 520)])
def test_any_version_opens_in_zarr_python(world: World, shape: tuple[int, int, int]) -> None:
    at = world.segmentation(shape)
    world.apply(at, paint(box_mask(shape, (0, 10, 10), (1, 290, 400)), 5, base=0))
    world.apply(at, paint(box_mask(shape, (0, 0, 0), (1, 60, 60)), 0, base=1))
    world.apply(at, paint(np.ones(shape, bool), 65_535, base=2))
    for version in range(4):
        group = zarr.open_group(as_zarr(world, at, version), mode="r")
        array = group["0"]
        assert isinstance(array, zarr.Array)
        assert array.dtype == np.uint16
        assert np.array_equal(array[...], world.read(at, version))


def test_the_metadata_is_an_ome_zarr_label_image(world: World) -> None:
    at = world.segmentation(SHAPE)
    world.apply(at, paint(LEFT, 1, base=0))
    group = zarr.open_group(as_zarr(world, at, 1), mode="r")
    model = ImageLabel.from_zarr(group)
    [multiscale] = model.ome_attributes.multiscales
    assert [axis.name for axis in multiscale.axes] == ["z", "y", "x"]
    attributes: dict[str, Any] = json.loads(json.dumps(dict(group.attrs)))
    [liver, *_] = attributes["ome"]["image-label"]["colors"]
    assert liver == {"label-value": 1, "rgba": [0xDD, 0x82, 0x65, 255]}
    scale = attributes["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"]
    assert scale == pytest.approx(np.linalg.norm(OBLIQUE.matrix[:3, :3], axis=0))
    # z towards the head, y towards the back, x towards the left: RFC-4's words for S, P, L.
    orientation = [axis["orientation"]["value"] for axis in attributes["ome"]["multiscales"][0]["axes"]]
    assert orientation == ["inferior-to-superior", "anterior-to-posterior", "right-to-left"]
    assert np.array_equal(attributes["specimg"]["grid"]["affine"], OBLIQUE.matrix)


def test_a_raster_has_no_anatomy(world: World) -> None:
    at = world.segmentation((1, 30, 40), space=Space("map", "EPSG:32633"))
    group = zarr.open_group(as_zarr(world, at, 0), mode="r")
    attributes: dict[str, Any] = json.loads(json.dumps(dict(group.attrs)))
    assert all("orientation" not in axis for axis in attributes["ome"]["multiscales"][0]["axes"])


def test_planes_are_rows_and_columns_of_the_other_axes(world: World) -> None:
    at = world.segmentation(SHAPE)
    labels = np.random.default_rng(4).integers(0, 4, SHAPE).astype(np.uint16)
    world.apply(at, Edit(0, "import", voxels=_all_labels(labels)))
    with world.database.reading() as connection:
        found = segmentation.load(connection, at)
        planes: list[tuple[Literal["z", "y", "x"], int]] = [("z", 33), ("y", 0), ("x", 89)]
        for axis, index in planes:
            plane = segmentation.read_plane(connection, world.blobs, found, 1, axis, index)
            assert np.array_equal(plane, np.take(labels, index, axis="zyx".index(axis)))
        part = segmentation.read_box(connection, world.blobs, found, 1, (30, 31, 32), (35, 65, 65))
        assert np.array_equal(part, labels[30:35, 31:65, 32:65])
        with pytest.raises(InvalidInput):
            segmentation.read_box(connection, world.blobs, found, 1, (0, 0, 0), (41, 1, 1))


def test_segmentations_of_an_image_are_listed_by_project(world: World) -> None:
    at = world.segmentation(SHAPE)
    image = world.load(at).image_id
    with world.database.reading() as connection:
        assert [s.id for s in segmentation.of_image(connection, image, [PROJECT])] == [at]
        assert segmentation.of_image(connection, image, ["another project"]) == []


def _all_labels(labels: Any) -> tuple[VoxelWrite, ...]:
    return tuple(VoxelWrite(label, spans) for label, spans in spans_by_label(labels).items())
