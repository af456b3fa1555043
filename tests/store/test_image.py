"""Reading a stored image: planes, boxes, real values, and the files behind Zarr keys."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert

import image_phantoms as phantoms
from specimg.errors import InvalidInput, NotFound, StoreError
from specimg.formats.base import Rescale
from specimg.store import schema
from specimg.store.database import Database
from specimg.store.image import Image, Images


@pytest.fixture(scope="module")
def ct(tmp_path_factory: pytest.TempPathFactory) -> tuple[Image, phantoms.ArraySeries]:
    opened = phantoms.volume(phantoms.asymmetric((70, 90, 140)))
    return phantoms.stored(opened, tmp_path_factory.mktemp("ct")), opened


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Image, phantoms.ArraySeries]:
    opened = phantoms.raster(phantoms.asymmetric((2, 600, 700), "uint16"))
    return phantoms.stored(opened, tmp_path_factory.mktemp("scene")), opened


@pytest.mark.parametrize(("axis", "number"), [("z", 0), ("y", 1), ("x", 2)])
def test_planes_are_cut_along_any_axis(
    ct: tuple[Image, phantoms.ArraySeries], axis: Literal["z", "y", "x"], number: int
) -> None:
    image, opened = ct
    np.testing.assert_array_equal(image.read_plane(axis, 65), np.take(opened.array, 65, axis=number))


def test_a_raster_is_read_as_a_volume_of_one_plane(scene: tuple[Image, phantoms.ArraySeries]) -> None:
    image, opened = scene
    np.testing.assert_array_equal(image.read_plane("z", 0, c=1), opened.array[1])
    np.testing.assert_array_equal(
        image.read_box((0, 100, 500), (1, 520, 600), c=1)[0], opened.array[1, 100:520, 500:600]
    )


def test_every_level_agrees_with_zarr_python(ct: tuple[Image, phantoms.ArraySeries]) -> None:
    image, _ = ct
    assert len(image.levels) == 2
    for number, level in enumerate(image.levels):
        expected = zarr.open_array(image.root / level.path, mode="r")
        assert expected.chunks == level.chunks
        assert expected.shards == level.shards
        np.testing.assert_array_equal(image.read_box((0, 0, 0), image.shape(number), level=number), expected[:])


@given(data=st.data())
def test_any_box_is_the_part_of_the_array(ct: tuple[Image, phantoms.ArraySeries], data: st.DataObject) -> None:
    image, opened = ct
    ends = [
        sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))) for n in opened.array.shape
    ]
    start, stop = [a for a, _ in ends], [b for _, b in ends]
    np.testing.assert_array_equal(image.read_box(start, stop), opened.array[tuple(slice(a, b) for a, b in ends)])


@pytest.mark.parametrize(
    ("start", "stop"), [((0, 0, 0), (71, 90, 140)), ((-1, 0, 0), (1, 1, 1)), ((5, 5, 5), (5, 6, 6)), ((0, 0), (1, 1))]
)
def test_a_box_outside_is_refused(ct: tuple[Image, phantoms.ArraySeries], start: list[int], stop: list[int]) -> None:
    with pytest.raises(InvalidInput, match="box"):
        ct[0].read_box(start, stop)


@pytest.mark.parametrize(
    ("field", "choice"), [("c", {"c": 1}), ("t", {"t": 1}), (None, {"level": 2}), (None, {"level": -1})]
)
def test_a_channel_time_or_level_that_is_not_there_is_refused(
    ct: tuple[Image, phantoms.ArraySeries], field: str | None, choice: dict[str, int]
) -> None:
    with pytest.raises(InvalidInput) as caught:
        ct[0].read_box((0, 0, 0), (1, 1, 1), **choice)
    assert field is None or caught.value.field == field


def test_real_values_follow_the_modality_lut(ct: tuple[Image, phantoms.ArraySeries]) -> None:
    image = replace(ct[0], series=replace(ct[0].series, rescale=Rescale((0.5,), (-1024.0,))))
    # DICOM PS3.3 C.11.1.1.2: output = m * SV + b
    assert image.real(np.array([[[0, 1, 4096]]], np.uint16), z=3).ravel().tolist() == [-1024, -1023.5, 1024]


def test_planes_may_have_a_rescale_of_their_own(ct: tuple[Image, phantoms.ArraySeries]) -> None:
    slopes = tuple(float(k + 1) for k in range(70))
    image = replace(ct[0], series=replace(ct[0].series, rescale=Rescale(slopes, (10.0,))))
    stored = np.ones((3, 2, 2), np.int16)
    assert image.real(stored, z=range(4, 7))[:, 0, 0].tolist() == [15, 16, 17]
    assert image.real(stored, z=range(4, 10, 2))[:, 1, 1].tolist() == [15, 17, 19]
    assert image.real(stored[0], z=69)[0, 0] == 80
    with pytest.raises(InvalidInput, match="one index for each plane"):
        image.real(stored, z=range(2))


def test_a_chunk_that_was_never_measured_is_nodata(tmp_path: Path) -> None:
    array = np.zeros((1, 600, 1200), np.uint16)
    array[0, :, 1100:] = 5
    image = phantoms.stored(phantoms.raster(array, nodata=0.0), tmp_path)
    np.testing.assert_array_equal(image.read_plane("z", 0), array[0])
    empty = phantoms.stored(phantoms.raster(np.full((1, 40, 40), 7, np.uint16), nodata=7.0), tmp_path / "empty")
    assert empty.file("0/image/c/0/0/0") is None, "a chunk of the fill value is not written"
    assert (empty.read_plane("z", 0) == 7).all()


def test_many_threads_read_one_image(ct: tuple[Image, phantoms.ArraySeries]) -> None:
    image = replace(ct[0], _arrays={})  # nothing is open yet
    with ThreadPoolExecutor(8) as pool:
        planes = list(pool.map(lambda z: image.read_plane("z", z % 70), range(200)))
    for z, plane in enumerate(planes):
        np.testing.assert_array_equal(plane, ct[1].array[z % 70])


# --- files ----------------------------------------------------------------------------------------------------------


def test_keys_lead_to_files(ct: tuple[Image, phantoms.ArraySeries]) -> None:
    image = ct[0]
    assert image.file("zarr.json") == image.root / "zarr.json"
    assert image.file("0/c/0/0/1") == image.root / "0/c/0/0/1"
    assert image.file("0/c/9/9/9") is None
    assert image.file("0") is None


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/zarr.json",
        "../zarr.json",
        "0/../../secret",
        "0//zarr.json",
        "0/./zarr.json",
        "/etc/passwd",
        "0/c/..%2f",
        "a\0b",
        "\\..\\secret",
        "0/c/" + "1/" * 20,
        "zarr.json/",
        "~",
        "C:secret",
    ],
)
def test_nothing_else_is_a_key(ct: tuple[Image, phantoms.ArraySeries], key: str) -> None:
    (ct[0].root.parent / "secret").write_text("x")
    assert ct[0].file(key) is None


@given(key=st.text(alphabet="abc019./\\~%\0 zjson", max_size=30))
def test_no_key_leaves_the_image(ct: tuple[Image, phantoms.ArraySeries], key: str) -> None:
    found = ct[0].file(key)
    assert found is None or (found.resolve().is_relative_to(ct[0].root.resolve()) and re.fullmatch(r"[\w./]+", key))


def test_links_are_not_followed(tmp_path: Path) -> None:
    image = phantoms.stored(phantoms.volume(phantoms.asymmetric((5, 6, 7))), tmp_path)
    (tmp_path / "secret").write_text("x")
    (image.root / "link").symlink_to(tmp_path / "secret")
    (image.root / "folder").symlink_to(tmp_path)
    assert image.file("link") is None
    assert image.file("folder/secret") is None


def test_a_broken_image_is_our_error(tmp_path: Path) -> None:
    image = phantoms.stored(phantoms.volume(phantoms.asymmetric((5, 6, 7))), tmp_path)
    (image.root / "0" / "zarr.json").unlink()
    with pytest.raises(StoreError, match="level 0"):
        image.read_plane("z", 0)


# --- rows -----------------------------------------------------------------------------------------------------------


def test_images_are_found_through_their_rows(tmp_path: Path) -> None:
    image = phantoms.stored(phantoms.volume(phantoms.asymmetric((5, 6, 7))), tmp_path)
    database = Database.open(tmp_path, clock=lambda: "2026-01-02T03:04:05.000006Z")
    images = Images(database, tmp_path)
    with pytest.raises(NotFound):
        images.open(image.id)
    now = database.clock()
    with database.transaction() as connection:
        connection.execute(
            insert(schema.image).values(
                id=image.id,
                digest=image.digest,
                format="phantom",
                series=image.series.to_json(),
                levels=[level.to_json() for level in image.levels],
                bytes=1,
                created_at=now,
            )
        )
        for name in ("a", "b", "c"):
            connection.execute(insert(schema.project).values(id=name, name=name, created_at=now))
        for name in ("b", "a"):
            row = {"project_id": name, "image_id": image.id, "name": f"in {name}", "added_at": now, "added_by": "me"}
            connection.execute(insert(schema.project_image).values(**row))
    found = images.open(image.id)
    assert (found.series, found.levels, found.root) == (image.series, image.levels, image.root)
    np.testing.assert_array_equal(found.read_plane("x", 6), image.read_plane("x", 6))
    assert images.projects_of(image.id) == ["a", "b"]
    assert [(i.id, project, name) for i, project, name in images.in_projects(["b", "c"])] == [(image.id, "b", "in b")]
    assert images.in_projects([]) == []
    database.close()
