"""COCO, read by a reader of the test's own (the format page alone), with areas and fills by scikit-image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import polygon2mask

from specimg.errors import TooLarge
from specimg.formats import coco
from specimg.formats.base import Channel, Mask, MaskClass, Series, ShapeRecord
from specimg.formats.coco import write_shapes
from specimg.geometry.affine import Affine
from specimg.geometry.grid import Grid, Space

CLASSES = (MaskClass(1, "Ship", "#ff0000"), MaskClass(300, "Iceberg", "#00ff00"))


def series(shape: tuple[int, int, int] = (1, 30, 47)) -> Series:
    """A raster, or a volume where it has slices."""
    is_raster = shape[0] == 1
    return Series(
        key="scene",
        name="scene",
        kind="raster" if is_raster else "volume",
        modality="SAR" if is_raster else "CT",
        axes=("c", "y", "x") if is_raster else ("z", "y", "x"),
        shape=shape,
        dtype="uint16",
        grid=Grid(shape, Affine.identity(), Space("pixel")),
        channels=(Channel("VV", "DN"),),
    )


class Coco:
    """A reader from the format's description: images, categories, annotations, polygons and run lengths."""

    def __init__(self, path: Path) -> None:
        document = json.loads(path.read_text("utf-8"))
        self.images: dict[int, Any] = {image["id"]: image for image in document["images"]}
        self.categories = {category["id"]: category["name"] for category in document["categories"]}
        self.annotations: list[dict[str, Any]] = document["annotations"]
        assert len({a["id"] for a in self.annotations}) == len(self.annotations)
        for annotation in self.annotations:
            assert annotation["image_id"] in self.images
            assert annotation["category_id"] in self.categories
            assert annotation["iscrowd"] == 0
            assert len(annotation["bbox"]) == 4

    def mask(self, annotation: dict[str, Any]) -> npt.NDArray[np.bool_]:
        """(rows, columns) of one annotation."""
        image = self.images[annotation["image_id"]]
        shape = image["height"], image["width"]
        segmentation = annotation["segmentation"]
        if isinstance(segmentation, dict):
            assert segmentation["size"] == list(shape)
            counts = segmentation["counts"]
            assert sum(counts) == shape[0] * shape[1]
            values = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
            return values.reshape(shape[::-1]).T  # column by column
        filled = np.zeros(shape, bool)
        for flat in segmentation:
            x, y = np.array(flat).reshape(-1, 2).T
            filled |= polygon2mask(shape, np.stack([y - 0.5, x - 0.5], axis=-1))  # scikit-image counts centres
        return filled


def export(folder: Path, reference: Series, **labels: Any) -> tuple[Coco, tuple[str, ...]]:
    """Write and read."""
    warnings = write_shapes(labels.get("shapes", ()), CLASSES, folder / "c.json", reference, mask=labels.get("mask"))
    return Coco(folder / "c.json"), warnings


def ring(points: list[tuple[float, float]], z: float = 0.0) -> tuple[tuple[float, float, float], ...]:
    """(line, pixel) to (z, y, x)."""
    return tuple((z, y, x) for y, x in points)


def test_a_polygon_has_its_area_its_box_and_corners_from_the_pixel_edge(tmp_path: Path) -> None:
    shape = ShapeRecord("s", "polygon", 300, ring([(2.0, 3.0), (2.0, 13.0), (9.0, 3.0)]))
    read, warnings = export(tmp_path, series(), shapes=[shape])
    (annotation,) = read.annotations
    assert annotation["segmentation"] == [[3.5, 2.5, 13.5, 2.5, 3.5, 9.5]]
    assert annotation["bbox"] == [3.5, 2.5, 10.0, 7.0]
    assert annotation["area"] == 35.0
    assert read.categories[annotation["category_id"]] == "Iceberg"
    assert annotation["attributes"]["shape_id"] == "s"
    assert (read.images[annotation["image_id"]]["width"], read.images[annotation["image_id"]]["height"]) == (47, 30)
    assert warnings == ()


def test_a_box_over_whole_pixels_is_those_pixels(tmp_path: Path) -> None:
    """A box from -0.5 to 4.5 covers samples 0 to 4: five, not four or six."""
    shape = ShapeRecord("b", "box", 1, ((0.0, -0.5, 9.5), (0.0, 4.5, 12.5)))
    read, _ = export(tmp_path, series(), shapes=[shape])
    (annotation,) = read.annotations
    assert annotation["bbox"] == [10.0, 0.0, 3.0, 5.0]
    assert annotation["area"] == 15.0
    expected = np.zeros((30, 47), bool)
    expected[0:5, 10:13] = True
    np.testing.assert_array_equal(read.mask(annotation), expected)


def test_a_hole_stays_a_hole(tmp_path: Path) -> None:
    outer, hole = [(1.0, 1.0), (1.0, 40.0), (25.0, 40.0), (25.0, 1.0)], [(5.0, 6.0), (5.0, 20.0), (18.0, 9.0)]
    shape = ShapeRecord("s", "polygon", 1, ring(outer), (ring(hole),))
    read, _ = export(tmp_path, series(), shapes=[shape])
    (annotation,) = read.annotations
    found = read.mask(annotation)
    inner = polygon2mask((30, 47), np.array(hole))
    whole = polygon2mask((30, 47), np.array(outer))
    edges = 2 * (24 + 39) + 60  # samples whose centre lies on an outline may fall either way
    assert abs(int(found.sum()) - int((whole & ~inner).sum())) <= edges
    assert not found[8:12, 9:12].any()
    assert found[20, 30]
    assert annotation["area"] == found.sum()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-6, 35), st.integers(-6, 52)), min_size=3, max_size=9, unique=True))
def test_any_outline_fills_as_scikit_image_fills_it(whole: list[tuple[int, int]]) -> None:
    points = [(y + 0.37, x + 0.19) for y, x in whole]  # off the centres, where the two may decide otherwise
    builder = coco._Builder(series())
    corners = [(x + 0.5, y + 0.5) for y, x in points]
    filled, top, left = builder._filled([corners])
    ours = np.zeros((30, 47), bool)
    ours[top : top + filled.shape[0], left : left + filled.shape[1]] = filled
    theirs = polygon2mask((30, 47), np.array(points))
    assert (ours ^ theirs).sum() <= 2  # an edge may still run through a centre


def test_every_part_of_every_label_in_every_slice_is_one_annotation(tmp_path: Path) -> None:
    voxels = np.zeros((4, 30, 47), np.uint16)
    voxels[1, 3:9, 5:7] = 1
    voxels[1, 9, 7] = 1  # touches at a corner: the same object
    voxels[1, 20:22, 40:47] = 1
    voxels[3, 0, 0] = 300
    voxels[3, 29, 46] = 300
    reference = series((4, 30, 47))
    read, _ = export(tmp_path, reference, mask=Mask(voxels, reference.grid, CLASSES))
    assert sorted(image["z"] for image in read.images.values()) == [1, 3]
    assert len({image["file_name"] for image in read.images.values()}) == 2
    assert len(read.annotations) == 4
    back = np.zeros_like(voxels)
    for annotation in read.annotations:
        found = read.mask(annotation)
        assert found.sum() == annotation["area"]
        rows, columns = np.nonzero(found)
        x, y, width, height = annotation["bbox"]
        assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (x, y, x + width, y + height)
        back[read.images[annotation["image_id"]]["z"]][found] = annotation["category_id"]
    np.testing.assert_array_equal(back, voxels)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.02, 0.98))
def test_run_lengths_say_any_mask(tmp_path_factory: pytest.TempPathFactory, seed: int, share: float) -> None:
    chance = np.random.default_rng(seed)
    voxels = (chance.random((1, 13, 17)) < share).astype(np.uint16) * chance.integers(
        1, 4, (1, 13, 17), dtype=np.uint16
    )
    reference = series((1, 13, 17))
    read, _ = export(tmp_path_factory.mktemp("rle"), reference, mask=Mask(voxels, reference.grid, CLASSES))
    back = np.zeros((13, 17), np.uint16)
    for annotation in read.annotations:
        back[read.mask(annotation)] = annotation["category_id"]
    np.testing.assert_array_equal(back, voxels[0])


def test_points_and_lines_are_left_out_aloud(tmp_path: Path) -> None:
    shapes = [
        ShapeRecord("p", "point", 1, ring([(1.0, 1.0)])),
        ShapeRecord("l", "polyline", 1, ring([(1.0, 1.0), (5.0, 5.0)])),
        ShapeRecord("across", "box", 1, ((0.0, 1.0, 1.0), (3.0, 5.0, 5.0))),
    ]
    read, warnings = export(tmp_path, series((4, 30, 47)), shapes=shapes)
    assert read.annotations == []
    assert warnings == ("3 shapes without an area in a slice were left out: COCO has no place for them.",)


def test_an_empty_raster_is_still_listed_for_training(tmp_path: Path) -> None:
    read, _ = export(tmp_path, series())
    assert [image["file_name"] for image in read.images.values()] == ["scene.png"]
    assert list(read.categories.values()) == ["Ship", "Iceberg"]


def test_speckle_is_not_a_million_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco, "MAX_ANNOTATIONS", 5)
    voxels = np.zeros((1, 30, 47), np.uint16)
    voxels[0, ::2, ::2] = 1
    with pytest.raises(TooLarge):
        export(tmp_path, series(), mask=Mask(voxels, series().grid, CLASSES))
